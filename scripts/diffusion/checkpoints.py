"""Tensors on disk, with what they were made with: checkpoints, samples, embeddings, the stages' images.

safetensors never runs code on loading. A file is written aside and moved into place, so that it is whole or absent, and
carries the SHA-256 of its tensors, so that a damaged one is refused. Equal contents give equal bytes.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(path: str | Path, tensors: dict[str, Tensor], made_with: dict) -> None:
    """Write `tensors` and `made_with` (anything JSON can hold) to `path`, replacing what was there."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One metadata entry only: safetensors writes several in random order.
    header = json.dumps({"made_with": made_with, "sha256": _digest(tensors)}, sort_keys=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, aside, metadata={"fun_with_diffusion": header})
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of `path` (on the CPU) and what they were made with.

    Raises:
        ValueError: the file is not one of `save_tensors`, is truncated or was altered; the message names it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["fun_with_diffusion"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or was not written by this project ({error}): delete it") from error
    if _digest(tensors) != header["sha256"]:
        raise ValueError(f"{path} is damaged (its SHA-256 does not match): delete it")
    return tensors, header["made_with"]


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
