"""Which files of a model's folder are its weights. Not every folder of a repository has every variant, or safetensors."""

import re
from collections.abc import Iterable

FORMATS = ("safetensors", "bin")  # in order of preference; a .bin is read with weights_only


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
    return re.compile(rf"[a-z_]+{middle}\.{ending}")
