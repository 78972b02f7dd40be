"""Tensors on disk, with what they were made with: checkpoints, samples, embeddings, the stages' images.

safetensors never runs code on loading. A file is written aside and moved into place, so that it is whole or absent, and
carries the SHA-256 of its tensors, so that a damaged one is refused. Equal contents give equal bytes. Torch is imported
only by who asks for tensors: jobs that draw figures read arrays.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save


def save_tensors(path: str | Path, tensors: dict, made_with: dict) -> None:
    """Write `tensors` (of torch) and `made_with` (anything JSON can hold) to `path`, replacing what was there.

    Raises:
        OSError: the file could not be written; the message names it, and what was there before is still there.
    """
    path = Path(path)
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    # One metadata entry only: safetensors writes several in random order.
    header = json.dumps({"made_with": made_with, "sha256": _digest(arrays)}, sort_keys=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(aside, "wb") as file:  # not by save_file, whose files nobody else may read
            file.write(save(arrays, {"fun_with_diffusion": header}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """The tensors of `path` as numpy arrays, and what they were made with.

    Raises:
        ValueError: the file is not one of `save_tensors`, is truncated or was altered; the message names it.
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
    """As `load_arrays`, with tensors of torch on the CPU."""
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
