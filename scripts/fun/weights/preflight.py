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

from fun.data.devices import pick_device
from fun.data.layout import FORMATS, files_in
from fun.data.prompts import long_prompts
from fun.weights.folders import find_fetched, why_gone
from fun.weights.hub import OPTIONAL, Part, available, check_disk, missing_bytes
from fun.weights.hub_errors import explained, is_gone, one_line
from fun.weights.memory import UNETS, check_memory, memories, stored_bytes, weight_bytes

SLOW = 1e9  # bytes of weights above which a CPU takes minutes per step


def preflight(
    fetch: list[dict], fetched: list[str], load: dict, device: str, here: bool, embeds: dict | None, prompts: dict
) -> list[str]:
    """Check for what would stop a run. Returns warnings.

    Args:
        fetch: the parts that are still to be fetched from the hub, each as the arguments of hub.Part.
        fetched: files written by `save_fetched`, which record what was fetched before.
        load: {name: (its entry in the configuration, its folder, or None if from the hub)} of the parts to be loaded.
        device: the device to load them onto, as `pick_device` takes it.
        here: whether they are loaded on this machine.
        embeds: {"path", "prompts", "tokens"} if embeddings made elsewhere are used, else None.
        prompts: {experiment: its normalised prompts}, of which none may be too long for a text encoder that is loaded.

    Raises:
        OSError, ValueError: something is wrong; the message is one sentence.
    """
    parts, snapshots, warnings = {part["name"]: Part(**part) for part in fetch}, {}, []
    gone = set()
    for name, path in ((name, path) for name in load for path in fetched):
        if (why := why_gone([path], name)) is not None:
            warnings.append(f"{name} is left out: {why} (delete {path} to ask the hub again)")
            gone.add(name)
    for name, part in parts.items():
        try:
            snapshots[name] = available(part)
        except OSError as error:
            if name not in OPTIONAL or not is_gone(error):
                raise
            warnings.append(f"{name} is left out: {error}")
            gone.add(name)
    parts, load = ({name: part for name, part in of.items() if name not in gone} for of in (parts, load))
    check_disk(sum(missing_bytes(part, snapshots[name]) for name, part in parts.items()))
    folders = {
        name: Path(folder) if folder else find_fetched(fetched, name)
        for name, (_, folder) in load.items()
        if name not in parts
    }
    if "text_encoder" in load and load["text_encoder"][1] is None and not load["text_encoder"][0]["truncate"]:
        name, spiece = "text_encoder", "tokenizer/spiece.model"
        if spiece in (snapshots[name].files if name in parts else files_in(folders[name], name)):
            found = _file(folders, parts, snapshots, name, spiece)
            warnings += long_prompts(prompts, found, load[name][0]["max_length"])
    # Imported here: it takes seconds, and most problems have been found by now.
    from fun.data.embeds import check_embeds, embedding_width, read_embeds

    unets = {name: _unet(_file(folders, parts, snapshots, name, "unet/config.json")) for name in UNETS if name in load}
    if embeds is not None:
        found = read_embeds(embeds["path"])
        for unet in unets.values() or [None]:
            check_embeds(embeds["path"], found, embeds["prompts"], embeds["tokens"], unet and embedding_width(unet))
    if not here:
        return warnings

    device = pick_device(device)
    for name, (entry, _) in load.items():
        model = {"dtype": "float32"} | entry  # CLIP has no choice
        stored = _stored(snapshots[name]) if name in parts else stored_bytes(folders[name], name, model["variant"])
        for free, where, share in memories(name, model, device):
            check_memory(name, model, share * stored, unets.get(name), free, where)
        if device.type == "cpu" and name in UNETS and weight_bytes(model, stored) > SLOW:
            warnings.append(f"{name}: without a GPU {model['model']} takes minutes per step, hours per picture")
    return warnings


def _file(folders, parts, snapshots, name, path):
    """A small file of a part; if the part is not fetched yet, this file is fetched now."""
    if name in folders:
        return folders[name] / path
    with explained(parts[name].model, parts[name].revision):
        return Path(hf_hub_download(parts[name].model, path, revision=snapshots[name].commit))


def _unet(config):
    """The configuration of a stage's UNet."""
    return json.loads(config.read_text(encoding="utf-8"))


def _stored(snapshot):
    """The total bytes of the weights in a snapshot."""
    return sum(size for path, (size, _) in snapshot.files.items() if path.endswith(FORMATS))


if __name__ == "__main__":
    try:
        for warning in preflight(**json.load(sys.stdin)):
            print(warning)
    except Exception as error:  # whatever it is, report it in one sentence
        sys.exit(one_line(error))
