"""Prompt embeddings made elsewhere: a .pth file like the CS180 course's, or a folder written by this project."""

from pathlib import Path

import torch
from torch import Tensor

from fun.data.prompts import normalise
from fun.data.tensors import load_tensors


def read_embeds(path: str | Path) -> dict[str, Tensor]:
    """{normalised prompt: (tokens, D) float32}, read from a .pth file (a dict of prompt to (1, tokens, D) or (tokens, D))
    or from a folder of *.safetensors written by this project.

    Raises:
        ValueError: it is neither, is damaged, holds something other than tensors, or has two embeddings of one prompt.
    """
    path = Path(path)
    if path.is_dir():
        read = [(made["prompt"], tensors["prompt_embeds"]) for tensors, made in map(load_tensors, embeds_files(path))]
    else:
        try:
            read = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # torch raises various types, depending on the damage
            raise ValueError(f"{path} is damaged or holds something other than tensors, and was not loaded") from error
        read = list(read.items()) if isinstance(read, dict) else [(None, None)]
    if not all(isinstance(prompt, str) and isinstance(tensor, Tensor) for prompt, tensor in read):
        raise ValueError(f"{path} must hold a dict of prompt to tensor")
    embeds = {}
    for prompt, tensor in read:
        tensor = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
        if not torch.equal(embeds.setdefault(normalise(prompt), tensor), tensor):
            raise ValueError(f"{path} has two different embeddings of {normalise(prompt)!r} (case is ignored)")
    return {prompt: tensor.float() for prompt, tensor in embeds.items()}


def check_embeds(
    path: str | Path, embeds: dict[str, Tensor], prompts: list[str], tokens: int, width: int | None
) -> None:
    """Raise ValueError unless every prompt has a finite embedding (tokens, width), of any width if `width` is None."""
    missing = [prompt for prompt in prompts if prompt not in embeds]
    if missing:
        words = ", ".join(map(repr, missing))
        raise ValueError(f"{path} has no embedding of {words} (it has: {', '.join(map(repr, embeds)) or 'none'})")
    for prompt in prompts:
        shape = tuple(embeds[prompt].shape)
        if len(shape) != 2 or shape[0] != tokens or shape[1] != (width or shape[1]):
            expected = f"({tokens}, {width or 'any'})"
            raise ValueError(f"{path}: the embedding of {prompt!r} must be of shape {expected}, not {shape}")
        if not embeds[prompt].isfinite().all():
            raise ValueError(f"{path}: the embedding of {prompt!r} is not finite")


def embeds_files(path: str | Path) -> list[Path]:
    """The embedding files at `path`: its *.safetensors if it is a folder, else the file itself."""
    return sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else [Path(path)]


def embedding_width(unet: dict) -> int:
    """The width D of the embeddings that a UNet with this configuration takes."""
    return unet["encoder_hid_dim"] or unet["cross_attention_dim"]
