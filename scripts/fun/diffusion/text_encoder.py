"""The text encoder of a cascade in the layout of DeepFloyd IF: T5 with its tokenizer.

A module of its own: it needs no diffusers, which takes seconds to import, and the stages do not need it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from fun.data.prompts import normalise


@dataclass(frozen=True)
class TextEncoder:
    """T5 with its tokenizer. Every prompt is padded or cut to `max_length` tokens, as in IF's training."""

    tokenizer: Callable
    model: nn.Module
    max_length: int

    def count_tokens(self, prompt: str) -> int:
        """The number of tokens of the normalised prompt, with its end token; `encode` drops those beyond max_length."""
        return len(self.tokenizer(normalise(prompt)).input_ids)

    @torch.no_grad()
    def encode(self, prompt: str) -> Tensor:
        """(max_length, D) in the encoder's dtype. One prompt at a time, so that no other prompt changes the result."""
        tokens = self.tokenizer(
            normalise(prompt), padding="max_length", max_length=self.max_length, truncation=True, return_tensors="pt"
        ).to(self.model.device)
        return self.model(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state[0]


def load_text_encoder(
    folder: Path,
    max_length: int,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    load_in_8bit: bool = False,
) -> TextEncoder:
    """Load the text encoder of a cascade's folder: tokenizer/ and text_encoder/ (variant "fp16": model.fp16.safetensors).

    Raises:
        ValueError: load_in_8bit (LLM.int8, https://arxiv.org/abs/2208.07339) is set, but bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig, T5EncoderModel, T5Tokenizer  # takes seconds to import

    tokenizer = T5Tokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
    eight_bit = {}
    if load_in_8bit:
        if find_spec("bitsandbytes") is None:
            raise ValueError("text_encoder/load_in_8bit needs the package bitsandbytes: pip install bitsandbytes")
        eight_bit = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": {"": device}}
    model = T5EncoderModel.from_pretrained(
        folder,
        subfolder="text_encoder",
        variant=variant,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        **eight_bit,
    )
    return TextEncoder(tokenizer, (model if load_in_8bit else model.to(device)).eval(), max_length)
