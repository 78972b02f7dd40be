"""MNIST (LeCun et al. 1998), and what has its format, as tensors."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# SHA-256 of the unpacked files, the same for every source.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


BLACK = {"signed": -1.0, "unit": 0.0}  # the value of a black pixel; a white one is 1
MNIST_FOLDER = "data"  # of results/mnist; the folders of other data sets have other names


def read_checked(path: str | Path, mnist: bool = True) -> bytes:
    """The bytes of a file that is called like one of FILES.

    mnist: whether it must be that file; otherwise any images of 28 x 28 grey levels and any labels from 0 to 9 will do, with
        ten images of each at least.

    Raises:
        ValueError: it is another; the message names the file.
    """
    path = Path(path)
    content = path.read_bytes()
    if mnist:
        if hashlib.sha256(content).hexdigest() != FILES[path.name]:
            raise ValueError(
                f"{path} is not MNIST's file of that name (its SHA-256 is wrong): delete it, or, if it is your own, keep it "
                f"in a folder that is not called {MNIST_FOLDER}"
            )
        return content
    header = np.frombuffer(content[:16].ljust(16, b"\0"), ">i4").tolist()
    if "images" in path.name:
        if (header[0], *header[2:]) != (2051, 28, 28) or len(content) != 16 + header[1] * 784:
            raise ValueError(f"{path} is not an idx file of images with 28 x 28 grey levels")
    elif header[0] != 2049 or len(content) != 8 + header[1]:
        raise ValueError(f"{path} is not an idx file of labels")
    elif {*content[8:]} != {*range(10)} or min(content[8:].count(label) for label in range(10)) < 10:
        raise ValueError(f"{path} must have each of the labels 0 to 9, ten times at least, and no others")
    return content


def _read(folder: str | Path, name: str) -> bytes:
    return read_checked(Path(folder) / name, mnist=Path(folder).name == MNIST_FOLDER)


def load_mnist(folder: str | Path, split: str, black: float = -1) -> tuple[Tensor, Tensor]:
    """The split "train" (60,000) or "t10k" (10,000): images (N, 1, 28, 28) float32 in [black, 1], labels (N,) int64.

    A folder called "data" is the workflow's, and must hold MNIST itself, file by file; any other may hold images of one's own.

    Raises:
        ValueError: a file is damaged, or not in idx format; the message names it.
    """
    images = np.frombuffer(_read(folder, f"{split}-images-idx3-ubyte"), np.uint8, offset=16)
    return to_float(torch.tensor(images).view(-1, 28, 28), black), load_labels(folder, split)


def load_labels(folder: str | Path, split: str) -> Tensor:
    """The labels of `load_mnist` alone, in a fraction of its time."""
    labels = np.frombuffer(_read(folder, f"{split}-labels-idx1-ubyte"), np.uint8, offset=8)
    return torch.tensor(labels).long()


def to_uint8(images: Tensor, black: float = -1) -> Tensor:
    """(N, 1, 28, 28) in [black, 1] -> grey levels (N, 28, 28) uint8, on the CPU."""
    return ((images[:, 0] - black) * (255 / (1 - black))).round().clamp(0, 255).to(torch.uint8).cpu()


def to_float(images: Tensor, black: float = -1) -> Tensor:
    """Grey levels (N, 28, 28) uint8 -> (N, 1, 28, 28) float32 in [black, 1]."""
    return images[:, None].float() / (255 / (1 - black)) + black


def pick(labels: Tensor, wanted: Tensor) -> Tensor:
    """Indices (n,) into `labels`: for each wanted label, the next image with that label that was not picked yet."""
    queues = [iter((labels == digit).nonzero()[:, 0].tolist()) for digit in range(10)]
    return torch.tensor([next(queues[digit]) for digit in wanted.tolist()])


def proportional_labels(labels: Tensor, n: int) -> Tensor:
    """(n,) int64, sorted, with the digits in the same proportions as in `labels` (rounded by largest remainder)."""
    shares = torch.bincount(labels, minlength=10) * n / len(labels)
    counts = shares.floor().long()
    counts[(shares - counts).argsort(descending=True)[: n - int(counts.sum())]] += 1
    return torch.arange(10).repeat_interleave(counts)
