"""What a folder or repository of a part of a cascade consists of, in the layout of diffusers, transformers and DeepFloyd IF.

No torch, no network: the rules refuse a folder that is not whole before any work.
"""

import re
from collections.abc import Iterable
from pathlib import Path

MODEL, SCHEDULER, TOKENIZER = "config.json", "scheduler_config.json", "tokenizer_config.json"
PICTURES = "preprocessor_config.json"
BPE = (TOKENIZER, "vocab.json", "merges.txt")
# The folders of each part, with files that each must have; a folder with MODEL also has weights.
FOLDERS = {
    "text_encoder": {"text_encoder": (MODEL,), "tokenizer": (TOKENIZER, "spiece.model")},
    "stage_1": {"unet": (MODEL,), "scheduler": (SCHEDULER,)},
    "stage_2": {"unet": (MODEL,), "scheduler": (SCHEDULER,), "image_noising_scheduler": (SCHEDULER,)},
    "stage_3": {
        "": ("model_index.json",),
        "unet": (MODEL,),
        "vae": (MODEL,),
        "text_encoder": (MODEL,),
        "tokenizer": BPE,
    }
    | {"scheduler": (SCHEDULER,), "low_res_scheduler": (SCHEDULER,)},
    "safety_checker": {"safety_checker": (MODEL,), "feature_extractor": (PICTURES,)},
    "watermark": {"watermarker": (MODEL,)},
    "clip_judge": {"": (MODEL, PICTURES, *BPE)},
}
VOCABULARIES = ("spiece.model", "vocab.json", "merges.txt")  # which may be in tokenizer.json
EXACTLY = ("text_encoder", "stage_1", "stage_2")  # parts that are loaded in the requested variant or not at all
SMALL = (".json", ".txt", ".model")  # configurations and vocabularies
NAMES = "(diffusion_pytorch_model|pytorch_model|model)"  # of weight files that diffusers and transformers open
INDEX = re.compile(r"[a-z_]+\.(safetensors|bin)\.index(\.(?P<variant>[a-z0-9]+))?\.json")
SHARD = re.compile(r"-(\d+)-of-(\d+)")
FORMATS = ("safetensors", "bin")  # in order of preference; a .bin is read with weights_only


def files_of(part: str, variant: str | None, paths: Iterable[str]) -> list[str]:
    """Those of the files `paths` that a part (a key of FOLDERS) needs, sorted.

    Raises:
        ValueError: a file is missing, or weights are missing or incomplete in the requested variant. The message goes on
            after the name of the folder or repository: "has no unet/config.json".
    """
    found, paths = [], set(paths)
    for folder, needed in FOLDERS[part].items():
        inside = {path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] == folder}
        for name in needed:
            if name not in inside and not (name in VOCABULARIES and "tokenizer.json" in inside):
                raise ValueError(f"has no {folder}/{name}".replace(" /", " "))
        chosen = [name for name in inside if name.endswith(SMALL) and not INDEX.fullmatch(name)]
        chosen += _weights(part, variant, folder, inside) if MODEL in needed else []
        found += [f"{folder}/{name}".lstrip("/") for name in chosen]
    return sorted(found)


def files_in(folder: Path, part: str) -> list[str]:
    """The files in the folders of a part, relative to `folder`."""
    found = [path for inside in FOLDERS[part] for path in (folder / inside).glob("*") if path.is_file()]
    return [path.relative_to(folder).as_posix() for path in found]


def _weights(part, variant, folder, inside):
    """The names of a folder's weight files: a single one, or shards with their index."""
    where = f"in {folder or 'its top-level folder'}"
    try:
        stored = stored_as(inside, variant)
    except ValueError as error:
        raise ValueError(f"has no weights {where}: {error}") from error
    if part == "stage_3" and not stored["use_safetensors"]:
        raise ValueError(f"has no safetensors {where}")
    if part in EXACTLY and stored != {"variant": variant, "use_safetensors": True}:
        raise ValueError(f"has no safetensors {f'of variant {variant}' if variant else 'without a variant'} {where}")
    ending = "safetensors" if stored["use_safetensors"] else "bin"
    chosen = [name for name in inside if weights_pattern(stored["variant"], ending).fullmatch(name)]
    whole = [name for name in chosen if "-of-" not in name]
    if whole:
        return whole
    shards = max(int(SHARD.search(name)[2]) for name in chosen)
    chosen = [name for name in chosen if int(SHARD.search(name)[2]) == shards]  # without what another split has left
    if {int(SHARD.search(name)[1]) for name in chosen} != set(range(1, shards + 1)):
        raise ValueError(f"has {len(chosen)} of the {shards} weight files {where}")
    indices = [name for name in inside if (match := INDEX.fullmatch(name)) and match["variant"] == stored["variant"]]
    indices = [name for name in indices if re.match(rf"{NAMES}\.{ending}\.", name)]
    if not indices:
        raise ValueError(f"has no index of its {shards} weight files {where}")
    return chosen + indices


def stored_as(names: Iterable[str], variant: str | None) -> dict:
    """How the weights in a folder are stored, as arguments of from_pretrained: safetensors if there are any, and of these
    the variant if it is there.

    Args:
        names: the names of the folder's files.
        variant: such as "fp16" in model.fp16.safetensors, or None.

    Raises:
        ValueError: there are no weights, neither in `variant` nor without one.
    """
    names = list(names)
    for ending in FORMATS:
        for wanted in dict.fromkeys((variant, None)):
            if any(weights_pattern(wanted, ending).fullmatch(name) for name in names):
                return {"variant": wanted, "use_safetensors": ending == "safetensors"}
    raise ValueError(f"there are no weights among {', '.join(sorted(names)) or 'its files'}")


def weights_pattern(variant: str | None, ending: str) -> re.Pattern:
    """The pattern of the names of weight files, whole or in shards (in older ones the variant precedes the number)."""
    middle = rf"(\.{variant}|\.{variant}-\d+-of-\d+|-\d+-of-\d+\.{variant})" if variant else r"(-\d+-of-\d+)?"
    return re.compile(rf"{NAMES}{middle}\.{ending}")
