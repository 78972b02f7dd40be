"""Where a part of a cascade is loaded to, and whether it fits into memory: the GPU's, or the machine's without one.

Torch is imported only when it is asked for.
"""

import json
from pathlib import Path

from fun.data.layout import FORMATS, files_in, files_of

UNETS = ("stage_1", "stage_2")
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# How many feature maps of full size and width a UNet holds at its peak: the skips of its upper levels, and about eight in
# a block (input, norm, activation, convolution and its workspace). An estimate, rather too low than too high, so that
# nothing is refused that would run.
LIVE_PICTURES = 14
IN_8_BIT = 0.7  # of T5's size in float16: its embeddings, and what its feed-forward layers end with (float32), are not converted
LEFT_OUT = {  # parts that a run can do without, or have elsewhere: what to write in config.yaml
    "stage_3": "stage_3: null",
    "clip_judge": "clip_judge: null",
    "safety_checker": "device: cpu",
}
# The share of T5's weights that take memory on their way to a GPU: those that are converted. The others are mapped.
THROUGH_MACHINE = 0.5
SMALLER = {  # repository: {smaller repository: its number of parameters}
    "DeepFloyd/IF-I-XL-v1.0": {"DeepFloyd/IF-I-L-v1.0": 0.9e9, "DeepFloyd/IF-I-M-v1.0": 0.4e9},
    "DeepFloyd/IF-I-L-v1.0": {"DeepFloyd/IF-I-M-v1.0": 0.4e9},
    "DeepFloyd/IF-II-L-v1.0": {"DeepFloyd/IF-II-M-v1.0": 0.45e9},
}


def check_memory(part: str, model: dict, stored: int, unet: dict | None, free: int, where: str) -> None:
    """Raise ValueError if a part needs more memory than is free; the message lists smaller choices that would fit.

    Args:
        part: its name in the configuration.
        model: its entry there: model, variant, dtype, max_batch for a stage, and optionally offload or load_in_8bit.
        stored: bytes of its weights on disk.
        unet: the configuration of the UNet of stage I or II; None for another part, whose weights alone count.
        free: bytes of free memory.
        where: whose memory it is, in words.
    """
    weights, sample = weight_bytes(model, stored), sample_bytes(model, unet)
    held = _held(model, stored)
    batch = model["max_batch"] if unet else 1
    if held + batch * sample <= free:
        return
    detail = f" ({in_gb(weights)} of weights, {in_gb(batch * sample)} for max_batch {batch})" if unet else ""
    found = [LEFT_OUT[part]] if part in LEFT_OUT else smaller(model, stored, unet, free)
    found += ["offload: true"] if part == "stage_3" else []
    choices = " or ".join(found)
    raise ValueError(
        f"{part}: {model['model']} in {model['dtype']} needs about {in_gb(held + batch * sample)} of memory{detail}, and "
        f"{where} has {in_gb(free)} free: " + (f"{choices} would fit" if choices else "no smaller choice would fit")
    )


def weight_bytes(model: dict, stored: int) -> float:
    """Bytes that weights of `stored` bytes on disk take in memory."""
    in_file = 2 if model["variant"] in ("fp16", "bf16") else 4
    return stored / in_file * BYTES[model["dtype"]] * (IN_8_BIT if model.get("load_in_8bit") else 1)


def sample_bytes(model: dict, unet: dict | None) -> int:
    """Bytes that each sample of a batch takes in addition to the weights; negligible in a text encoder."""
    if unet is None:
        return 0
    return LIVE_PICTURES * unet["sample_size"] ** 2 * unet["block_out_channels"][0] * BYTES[model["dtype"]]


def smaller(model: dict, stored: int, unet: dict | None, free: int) -> list[str]:
    """The changes to a part's entry that would make it fit, each in words."""
    weights, sample = _held(model, stored), sample_bytes(model, unet)
    found = []
    if unet is None:
        if not model.get("load_in_8bit") and weights * IN_8_BIT <= free:
            found.append("load_in_8bit: true")
        found.append("prompt_embeds (embeddings made elsewhere)")
    elif (fitting := int((free - weights) // sample)) > 0:
        found.append(f"max_batch: {fitting}")
    if model["dtype"] == "float32" and weights / 2 + sample / 2 <= free:
        found.append("dtype: float16 (max_batch: 1)" if unet else "dtype: float16")
    if unet and weights + sample > free:
        parameters = SMALLER.get(model["model"], {})
        found += [f"model: {name}" for name, n in parameters.items() if n * BYTES[model["dtype"]] + sample <= free]
        found += ["offload: true (max_batch: 1)"] if weights and sample <= free else []
    return found


def _held(model, stored):
    """Bytes of weights that stay on the device: none with offload, where each layer is there only while it computes."""
    return 0 if model.get("offload") else weight_bytes(model, stored)


def stored_bytes(folder: Path, part: str, variant: str | None) -> int:
    """Bytes on disk of the weights of a part in its folder. Raises ValueError if the folder is not whole."""
    try:
        needed = files_of(part, variant, files_in(folder, part))
    except ValueError as error:
        raise ValueError(f"{folder} {error}") from error
    return sum((folder / path).stat().st_size for path in needed if path.endswith(FORMATS))


def check_fits(part: str, folder: Path, model: dict, device) -> None:
    """Like `check_memory`, for a part in its folder that is about to be loaded onto a torch device."""
    unet = json.loads((folder / "unet/config.json").read_text(encoding="utf-8")) if part in UNETS else None
    stored = stored_bytes(folder, part, model["variant"])
    for free, where, share in memories(part, model, device):
        check_memory(part, model, share * stored, unet, free, where)


def memories(part: str, model: dict, device) -> list[tuple[int, str, float]]:
    """(bytes free, whose memory that is, share of the weights that take some) of each memory that a part needs. On its way to
    a GPU a part goes through the machine's; only a text encoder is large enough for that to matter."""
    found = [(*free_memory(device), 1.0)]
    if part == "text_encoder" and device.type != "cpu" and not model["load_in_8bit"]:
        found.append((machine_memory(), "this machine, through which it goes to the GPU,", THROUGH_MACHINE))
    return [(free, where, share) for free, where, share in found if free is not None]


def free_memory(device) -> tuple[int | None, str]:
    """Bytes free on a torch device (None if unknown), and whose memory that is, in words."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0], f"the GPU ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), "the GPU"
    return machine_memory(), "this machine"


def machine_memory() -> int | None:
    """Bytes still free for a process on this machine or in its control group (container, cluster job); None if unknown."""
    limits = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
        group = (
            Path("/sys/fs/cgroup") / Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::/")[2]
        )
        for folder in (group, *group.parents):
            if (folder / "memory.max").is_file() and (
                most := (folder / "memory.max").read_text(encoding="utf-8").strip()
            ) != "max":
                used = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
                limits.append(int(most) - int(used["anon"]))
    except (OSError, ValueError, KeyError):  # not Linux, or these files have another format
        pass
    return min(limits) if limits else None


def in_gb(size: float) -> str:
    """A number of bytes as text, in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
