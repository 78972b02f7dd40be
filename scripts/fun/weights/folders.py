"""Finds the weights of a part of a cascade, in a folder or in the local hub cache, never over the network."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import constants

from fun.data.files import read_json, write_json


def find_model(model: str | Path, part: str, fetched: Iterable[str | Path] = ()) -> Path:
    """The folder of a part of a cascade: in the hub cache if it was fetched from the hub, else `model` itself. The name of
    a folder in the hub cache is the commit.

    Args:
        part: its name, such as "stage_1".
        fetched: files written by `save_fetched`, if anything was fetched from the hub.

    Raises:
        FileNotFoundError: there is no such folder, or the hub cache does not have all that was fetched.
        ValueError: a file in the folder does not match SHA256SUMS.
    """
    found = find_fetched(fetched, part)
    if found is not None:
        return found
    if not Path(model).is_dir():
        raise FileNotFoundError(f"there is no model folder {model}")
    check_sums(Path(model))
    return Path(model)


def check_sums(folder: Path) -> None:
    """Raise ValueError if a file differs from SHA256SUMS (as sha256sum writes it) in the folder or in its parent."""
    for sums in (path for path in (folder / "SHA256SUMS", folder.parent / "SHA256SUMS") if path.is_file()):
        for line in filter(str.strip, sums.read_text(encoding="utf-8").splitlines()):
            expected, name = line.split(maxsplit=1)
            path = sums.parent / name.removeprefix("*")  # "*name": read as a binary file
            if not path.is_relative_to(folder):
                continue
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise ValueError(f"{path} is damaged: its SHA-256 is not the one in {sums}")


def revision_of(folder: Path, revision: str | None) -> str:
    """The exact version of a stage: the commit if it comes from the hub (has a revision), else a hash of its UNet."""
    if revision is not None:
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.glob("unet/*")):
        with open(path, "rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def save_fetched(path: str | Path, parts: dict[str, dict]) -> None:
    """Write to `path` what was fetched of each part of a cascade, completely or not at all:
    {name: {"model", "revision", "commit", "files": {path: bytes}}}, or {name: {"gone": why}}."""
    write_json(path, parts)


def find_fetched(fetched: Iterable[str | Path], name: str) -> Path | None:
    """The folder of the part called `name` in the hub cache, which is named after the commit; None if it was not fetched.

    fetched: files written by `save_fetched`.

    Raises:
        FileNotFoundError: the cache does not have all that was fetched.
    """
    parts = dict(_read_fetched(fetched))
    if name not in parts:
        return None
    part = parts[name]
    if "gone" in part:
        raise FileNotFoundError(part["gone"])
    folder = repository(part["model"]) / "snapshots" / part["commit"]
    gone = [
        path
        for path, size in part["files"].items()
        if not (folder / path).is_file() or (folder / path).stat().st_size != size
    ]
    if gone:
        raise FileNotFoundError(
            f"{part['model']} was fetched, but the hub cache {constants.HF_HUB_CACHE} has no {gone[0]}: set HF_HOME to "
            f"the folder it was fetched into, or fetch it again with `hf download {part['model']} {' '.join(gone)} --revision "
            f"{part['commit']} --force-download`"
        )
    return folder


def why_gone(fetched: Iterable[str | Path], name: str) -> str | None:
    """Why there is no part called `name`, if it could not be fetched because it is no longer on the hub; else None.

    fetched: files written by `save_fetched`.
    """
    return next((entry["gone"] for part, entry in _read_fetched(fetched) if part == name and "gone" in entry), None)


def _read_fetched(fetched):
    for path in fetched:
        yield from read_json(path).items()


def repository(model: str) -> Path:
    """The folder of a repository in the hub cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
