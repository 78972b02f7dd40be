"""Where the weights of a part of a cascade lie: in a folder, or in the hub's cache on this machine; never over the network."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import constants


def find_model(model: str | Path, part: str, fetched: Iterable[str | Path] = ()) -> Path:
    """The folder of a part of a cascade: what was fetched of it from the hub, else `model` itself. The name of a folder in
    the hub's cache is the commit.

    Args:
        part: its name, as "stage_1".
        fetched: the files that say what was fetched from the hub, if anything was.

    Raises:
        FileNotFoundError: there is no such folder, or the hub's cache no longer has what was fetched.
        ValueError: a file of the folder is not what SHA256SUMS, in it or beside it, says.
    """
    found = find_fetched(fetched, part)
    if found is not None:
        return found
    if not Path(model).is_dir():
        raise FileNotFoundError(f"there is no model folder {model}")
    check_sums(Path(model))
    return Path(model)


def check_sums(folder: Path) -> None:
    """Compare the folder's files with SHA256SUMS, as sha256sum writes it, where there is one in it or beside it."""
    for sums in (path for path in (folder / "SHA256SUMS", folder.parent / "SHA256SUMS") if path.is_file()):
        for expected, name in (line.split("  ", 1) for line in sums.read_text().splitlines()):
            path = sums.parent / name
            if not path.is_relative_to(folder):
                continue
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise ValueError(f"{path} is damaged: its SHA-256 is not the one in {sums}")


def revision_of(folder: Path, revision: str | None) -> str:
    """What exactly a stage was: the commit of a repository's snapshot, or a hash of a folder's UNet."""
    if revision is not None:
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.glob("unet/*")):
        with open(path, "rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def save_fetched(path: str | Path, parts: dict[str, dict]) -> None:
    """Write what was fetched of each part of a cascade, {name: {"model", "revision", "commit", "files": {path: bytes}}},
    whole or not at all."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(parts, indent=1, sort_keys=True) + "\n")
    os.replace(aside, path)


def find_fetched(fetched: Iterable[str | Path], name: str) -> Path | None:
    """The folder of the part called `name` in the hub's cache, whose own name is the commit; None if it was not fetched.

    fetched: files of `save_fetched`.

    Raises:
        FileNotFoundError: the cache has not, or no longer, what was fetched.
    """
    parts = {part: entry for path in fetched for part, entry in json.loads(Path(path).read_text()).items()}
    if name not in parts:
        return None
    part = parts[name]
    folder = repository(part["model"]) / "snapshots" / part["commit"]
    gone = [
        path
        for path, size in part["files"].items()
        if not (folder / path).is_file() or (folder / path).stat().st_size != size
    ]
    if gone:
        raise FileNotFoundError(
            f"{part['model']} was fetched, but the hub cache {constants.HF_HUB_CACHE} has not its {gone[0]}: let HF_HOME name "
            f"the folder it was fetched into, or fetch it again with `hf download {part['model']} {' '.join(gone)} --revision "
            f"{part['commit']} --force-download`"
        )
    return folder


def repository(model: str) -> Path:
    """The folder of a repository in the hub's cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
