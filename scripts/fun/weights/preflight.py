"""Checks, before a run's first job, for what would stop it later: weights that cannot be downloaded, a full disk, too
little memory, missing embeddings.

A program: `python -m fun.weights.preflight` reads a plan as JSON from standard input and prints warnings. If something is
wrong, it says so in one sentence on standard error and exits with status 1. It is a separate process because torch, and
the GPU memory it takes, would otherwise stay in the workflow's process until the end of the run.
"""

import json
import sys
from pathlib import Path

from huggingface_hub import hf_hub_download

from fun.weights.folders import find_fetched
from fun.weights.hub import Part, available, check_disk, missing_bytes
from fun.weights.hub_errors import explained, one_line
from fun.weights.memory import UNETS, check_memory, free_memory, pick_device, stored_bytes, weight_bytes

SLOW = 1e9  # bytes of weights above which a CPU takes minutes per step


def preflight(
    fetch: list[dict], fetched: list[str], load: dict, device: str, here: bool, embeds: dict | None
) -> list[str]:
    """Check for what would stop a run. Returns warnings.

    Args:
        fetch: the parts that are still to be fetched from the hub, each as the arguments of hub.Part.
        fetched: files written by `save_fetched`, which record what was fetched before.
        load: {name: (its entry in the configuration, its folder, or None if from the hub)} of the parts to be loaded.
        device: the device to load them onto, as `pick_device` takes it.
        here: whether they are loaded on this machine.
        embeds: {"path", "prompts", "tokens"} if embeddings made elsewhere are used, else None.

    Raises:
        OSError, ValueError: something is wrong; the message is one sentence.
    """
    parts = {part["name"]: Part(**part) for part in fetch}
    snapshots = {name: available(part) for name, part in parts.items()}
    check_disk(sum(missing_bytes(part, snapshots[name]) for name, part in parts.items()))
    folders = {
        name: Path(folder) if folder else find_fetched(fetched, name)
        for name, (_, folder) in load.items()
        if name not in parts
    }
    # Imported here: it takes seconds, and most problems have been found by now.
    from fun.data.embeds import check_embeds, embedding_width, read_embeds

    unets = {name: _unet(folders.get(name), parts.get(name), snapshots.get(name)) for name in UNETS if name in load}
    if embeds is not None:
        found = read_embeds(embeds["path"])
        for unet in unets.values() or [None]:
            check_embeds(embeds["path"], found, embeds["prompts"], embeds["tokens"], unet and embedding_width(unet))
    if not here:
        return []

    device, warnings = pick_device(device), []
    free, where = free_memory(device)
    for name, (model, _) in load.items():
        stored = _stored(snapshots[name]) if name in parts else stored_bytes(folders[name], name, model["variant"])
        if free is not None:
            check_memory(name, model, stored, unets.get(name), free, where)
        if device.type == "cpu" and name in UNETS and weight_bytes(model, stored) > SLOW:
            warnings.append(f"{name}: without a GPU {model['model']} takes minutes per step, hours per picture")
    return warnings


def _unet(folder, part, snapshot):
    """The configuration of a stage's UNet; if the part is not fetched yet, this small file is fetched now."""
    if folder is None:
        with explained(part.model, part.revision):
            folder = Path(hf_hub_download(part.model, "unet/config.json", revision=snapshot.commit)).parents[1]
    return json.loads((folder / "unet/config.json").read_text())


def _stored(snapshot):
    """The total bytes of the weights in a snapshot."""
    return sum(size for path, (size, _) in snapshot.files.items() if path.endswith(".safetensors"))


if __name__ == "__main__":
    try:
        for warning in preflight(**json.load(sys.stdin)):
            print(warning)
    except Exception as error:  # whatever it is, report it in one sentence
        sys.exit(one_line(error))
