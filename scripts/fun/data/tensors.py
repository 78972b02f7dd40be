"""Tensors on disk, with a record of what they were made with: checkpoints, samples, embeddings, the stages' images.

safetensors never runs code on loading. A file is written to a temporary file and moved into place, so that it is complete
or absent, and it holds the SHA-256 of its tensors, so that damage is detected. Equal contents give equal bytes. Torch is
imported only when tensors are asked for: jobs that draw figures read arrays.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fun.data.files import write_whole


def save_tensors(path: str | Path, tensors: dict, made_with: dict) -> None:
    """Write torch `tensors` and `made_with` (a dict that JSON can hold) to `path`, replacing an existing file.

    Raises:
        ValueError: a tensor is not finite; the message names it.
        OSError: the file could not be written; the message names it, and an existing file is left as it was.
    """
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path} was not written: {name} holds numbers that are not finite")
    # Only one metadata entry, because safetensors writes several in random order.
    header = json.dumps({"made_with": made_with, "sha256": _digest(arrays)}, sort_keys=True)
    # Not with save_file, whose files other users may not read.
    write_whole(path, save(arrays, {"fun_with_diffusion": header}))


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """The tensors of `path` as numpy arrays, and its `made_with`.

    Raises:
        ValueError: the file is missing, truncated, altered or not written by `save_tensors`; the message names it.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["fun_with_diffusion"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or was not written by this project ({error}): delete it") from error
    if _digest(arrays) != header["sha256"]:
        raise ValueError(f"{path} is damaged (its SHA-256 does not match): delete it")
    return arrays, header["made_with"]


def load_tensors(path: str | Path) -> tuple[dict, dict]:
    """Like `load_arrays`, but with torch tensors on the CPU."""
    import torch

    arrays, made_with = load_arrays(path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, made_with


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {list(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()
