"""What was fetched from the hub, as the jobs that load find it again in this machine's cache, never over the network."""

import json
import os
from pathlib import Path

from huggingface_hub import constants


def save_fetched(path: str | Path, parts: dict[str, dict]) -> None:
    """Write what was fetched of each part of a cascade, {name: {"model", "revision", "commit", "files": {path: bytes}}},
    whole or not at all."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(parts, indent=1, sort_keys=True) + "\n")
    os.replace(aside, path)


def find_fetched(weights: str | Path, name: str) -> Path | None:
    """The folder of the part called `name` in the hub's cache, whose own name is the commit; None if it was not fetched.

    weights: a file of `save_fetched`.

    Raises:
        FileNotFoundError: the cache has not, or no longer, what was fetched.
    """
    parts = json.loads(Path(weights).read_text())
    if name not in parts:
        return None
    part = parts[name]
    folder = repository(part["model"]) / "snapshots" / part["commit"]
    for path, size in part["files"].items():
        if not (folder / path).is_file() or (folder / path).stat().st_size != size:
            raise FileNotFoundError(
                f"{part['model']} was fetched, but the hub cache {constants.HF_HUB_CACHE} has not its {path}: let HF_HOME "
                f"name the folder it was fetched into, or delete {weights} and start again, which fetches what is missing"
            )
    return folder


def repository(model: str) -> Path:
    """The folder of a repository in the hub's cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
