"""Which files of a model's folder are its weights. Not every folder of a repository has every variant, or safetensors."""

import re
from collections.abc import Iterable

FORMATS = ("safetensors", "bin")  # the better first; a .bin is read with weights_only


def stored_as(names: Iterable[str], variant: str | None) -> dict:
    """How the weights in a folder are stored, as the arguments of from_pretrained: safetensors if there are any, and of
    these the variant if there is one.

    Args:
        names: of the folder's files.
        variant: as "fp16" in model.fp16.safetensors, or None.

    Raises:
        ValueError: no file is one of weights in `variant` or without one.
    """
    names = list(names)
    for ending in FORMATS:
        for wanted in dict.fromkeys((variant, None)):
            if any(weights_pattern(wanted, ending).fullmatch(name) for name in names):
                return {"variant": wanted, "use_safetensors": ending == "safetensors"}
    raise ValueError(f"there are no weights among {', '.join(sorted(names)) or 'no files'}")


def weights_pattern(variant: str | None, ending: str) -> re.Pattern:
    """What the names of weights look like, whole or in shards (whose variant stood before the number once)."""
    middle = rf"(\.{variant}|\.{variant}-\d+-of-\d+|-\d+-of-\d+\.{variant})" if variant else r"(-\d+-of-\d+)?"
    return re.compile(rf"[a-z_]+{middle}\.{ending}")
