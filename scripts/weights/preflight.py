"""What would stop a run later is looked for before its first job: weights that cannot be had, a full disk, too little
memory, embeddings that are not there.

A program: python -m weights.preflight reads a plan as JSON from its input, prints warnings, and says on its error
output in one sentence what is wrong (then its status is 1). A process of its own, because torch and what it takes of a
GPU would otherwise stay with the workflow's own process as long as that runs.
"""

import json
import sys
from pathlib import Path

from huggingface_hub import hf_hub_download

from weights.folders import find_fetched
from weights.hub import Part, available, check_disk, missing_bytes
from weights.hub_errors import explained, one_line
from weights.memory import UNETS, check_memory, free_memory, stored_bytes, weight_bytes

SLOW = 1e9  # bytes of weights from which on a processor takes minutes for each step


def preflight(
    fetch: list[dict], fetched: list[str], load: dict, device: str, here: bool, embeds: dict | None
) -> list[str]:
    """Look for what would stop a run. Returns warnings.

    Args:
        fetch: the parts that are still to be fetched from the hub, each as the arguments of hub.Part.
        fetched: the files of `save_fetched` that say what was fetched before.
        load: {name: (its entry in the configuration, its folder if it is one)} of the parts that will be loaded.
        device: where, as `pick_device` takes it.
        here: whether on this machine.
        embeds: {"path", "prompts", "tokens"} if embeddings made elsewhere are to be read.

    Raises:
        OSError, ValueError: what is wrong, in one sentence.
    """
    parts = {part["name"]: Part(**part) for part in fetch}
    snapshots = {name: available(part) for name, part in parts.items()}
    check_disk(sum(missing_bytes(part, snapshots[name]) for name, part in parts.items()))
    folders = {
        name: Path(folder) if folder else find_fetched(fetched, name)
        for name, (_, folder) in load.items()
        if name not in parts
    }
    # Imported here: it takes seconds, and most of what goes wrong is known by now.
    from diffusion.cascade import pick_device
    from diffusion.embeds import check_embeds, embedding_width, read_embeds

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
            warnings.append(f"{name}: without a GPU {model['model']} takes minutes for each step, hours for a picture")
    return warnings


def _unet(folder, part, snapshot):
    """The configuration of a stage's UNet, which is a first small file of a part that is still to be fetched."""
    if folder is None:
        with explained(part.model, part.revision):
            folder = Path(hf_hub_download(part.model, "unet/config.json", revision=snapshot.commit)).parents[1]
    return json.loads((folder / "unet/config.json").read_text())


def _stored(snapshot):
    """Bytes of the weights among a part's files."""
    return sum(size for path, (size, _) in snapshot.files.items() if path.endswith(".safetensors"))


if __name__ == "__main__":
    try:
        for warning in preflight(**json.load(sys.stdin)):
            print(warning)
    except Exception as error:  # whatever it is, a run that has not begun says it in one sentence
        sys.exit(one_line(error))
