"""What was fetched from the hub, as the jobs that load find it again in this machine's cache, never over the network."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import constants


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
