"""Prompt embeddings made elsewhere: a .pth file like the CS180 course's, or a folder written by this project."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor

from fun.data.prompts import normalise
from fun.data.tensors import load_tensors

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST = torch.finfo(torch.float16).max  # IF's networks compute in float16


def read_embeds(path: str | Path) -> dict[str, Tensor]:
    """{normalised prompt: (tokens, D) float32}, read from a .pth file (a dict of prompt to (1, tokens, D) or (tokens, D))
    or from a folder of *.safetensors written by this project.

    Raises:
        ValueError: it is neither, is damaged, holds something other than dense tensors of floats, or has two embeddings of
            one prompt; the message names the file and the prompt.
    """
    path, embeds = Path(path), {}
    for prompt, tensor in _entries(path):
        _check_entry(path, prompt, tensor)
        tensor = (tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor).float()
        known = embeds.setdefault(normalise(prompt), tensor)
        if known.shape != tensor.shape or not torch.allclose(known, tensor, rtol=0, atol=0, equal_nan=True):
            raise ValueError(f"{path} has two different embeddings of {_quoted(normalise(prompt))} (case is ignored)")
    return embeds


def _entries(path):
    """(prompt, embedding) of each entry, as it was stored."""
    if path.is_dir():
        own = [(file, *load_tensors(file)) for file in embeds_files(path)]
        return [_own_entry(file, tensors, made) for file, tensors, made in own if "problem" not in made]
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises various types, depending on the damage
        raise ValueError(f"{path} is damaged or holds something other than tensors, and was not loaded") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path} must hold a dict of prompt to tensor, not {type(read).__name__}")
    return read.items()


def _own_entry(file, tensors, made_with):
    if "prompt" not in made_with or "prompt_embeds" not in tensors:
        raise ValueError(f"{file} is not a prompt's embedding: the folder may only hold files of prompt_embeds")
    return made_with["prompt"], tensors["prompt_embeds"]


def _check_entry(path, prompt, tensor):
    if not isinstance(prompt, str):
        raise ValueError(f"{path} must hold a dict of prompt to tensor, but one key is {_quoted(prompt)}")
    if not isinstance(tensor, Tensor):
        given = f"{_quoted(prompt)} is of type {type(tensor).__name__}"
        raise ValueError(f"{path} must hold a dict of prompt to tensor, but {given}")
    given = [tensor.dtype] * (tensor.dtype not in FLOATS) + [tensor.layout] * (tensor.layout != torch.strided)
    given += [tensor.device] * tensor.is_meta
    if given:
        allowed = "a dense tensor of float16, bfloat16, float32 or float64"
        kind = str(given[0]).removeprefix("torch.")
        raise ValueError(f"{path}: the embedding of {_quoted(prompt)} must be {allowed}, not {kind}")


def check_embeds(
    path: str | Path, embeds: dict[str, Tensor], prompts: list[str], tokens: int | None = None, width: int | None = None
) -> None:
    """Raise ValueError unless every prompt has an embedding (tokens, width), of any size where that is None, that is finite
    in float16 and not all zeros."""
    missing = [prompt for prompt in prompts if prompt not in embeds]
    if missing:
        named = f"{_named(missing, embeds)} (prompts in the file: {len(embeds)})"
        raise ValueError(f"{path} has no embedding of {named}: spell prompts as the file does, or add them to it")
    for prompt in prompts:
        shape, which = tuple(embeds[prompt].shape), f"{path}: the embedding of {_quoted(prompt)}"
        if len(shape) != 2 or shape != (tokens or shape[0], width or shape[1]):
            raise ValueError(f"{which} must be of shape ({tokens or 'any'}, {width or 'any'}), not {shape}")
        if not (embeds[prompt].abs() <= LARGEST).all():
            raise ValueError(f"{which} is not finite in float16: it has NaN, infinity or a number beyond {LARGEST:.0f}")
        if not embeds[prompt].any():
            raise ValueError(f"{which} is all zeros")


def problem_with(prompt: str, path: str | Path, embeds: dict[str, Tensor]) -> dict[str, str]:
    """{"problem": the sentence of `check_embeds`} if the prompt has no embedding of any size that will do, else {}."""
    try:
        check_embeds(path, embeds, [prompt])
    except ValueError as error:
        return {"problem": str(error)}
    return {}


def load_embeds(files: Iterable[str | Path]) -> dict[str, Tensor]:
    """{normalised prompt: (tokens, D) float32} from this project's own files.

    Raises:
        ValueError: a file is damaged, or says that there was a problem with the embedding, which is then the message.
    """
    embeds = {}
    for tensors, made_with in map(load_tensors, files):
        if "problem" in made_with:
            raise ValueError(made_with["problem"])
        embeds[made_with["prompt"]] = tensors["prompt_embeds"]
    return embeds


def _named(missing, embeds):
    """The first missing prompts, each with the prompt of `embeds` that is spelt most alike, and how many more there are."""
    named = []
    for prompt in missing[:3]:
        nearest = get_close_matches(prompt, embeds, n=1)
        named.append(_quoted(prompt) + "".join(f" (nearest: {_quoted(known)})" for known in nearest))
    return ", ".join(named) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")


def _quoted(name):
    return repr(name if len(str(name)) <= 80 else f"{str(name)[:77]}...")


def embeds_files(path: str | Path) -> list[Path]:
    """The embedding files at `path`: its *.safetensors if it is a folder, else the file itself."""
    return sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else [Path(path)]


def embedding_width(unet: dict) -> int:
    """The width D of the embeddings that a UNet with this configuration takes."""
    return unet["encoder_hid_dim"] or unet["cross_attention_dim"]
