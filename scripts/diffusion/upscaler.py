"""Stage III: Stable Diffusion's x4 upscaler, as diffusers has it (https://huggingface.co/stabilityai/stable-diffusion-x4-upscaler).

It denoises in the space of an autoencoder, with a text encoder of its own: another model than the stages before, so not
through this project's loop. It knows nothing of views: it sees an anagram as its first view shows it.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionUpscalePipeline
from torch import Tensor


def load_upscaler(
    folder: Path, variant: str | None, dtype: torch.dtype, device: torch.device, offload: bool = False
) -> StableDiffusionUpscalePipeline:
    """The pipeline of a folder in diffusers' layout. offload: only the part in use is on the device."""
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(
        folder, variant=variant, dtype=dtype, local_files_only=True, use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    if offload and device.type != "cpu":
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline
    return pipeline.to(device)


def upscale(
    pipeline: StableDiffusionUpscalePipeline,
    picture: Tensor,
    prompt: str,
    seed: int,
    steps: int,
    guidance_scale: float,
    noise_level: int,
) -> Tensor:
    """A picture (3, H, W) in about [-1, 1] four times as large: (3, 4 H, 4 W) in [-1, 1], float32 on the CPU.

    noise_level: how much noise the picture gets first, 0 to the pipeline's max_noise_level (350).
    """
    (enlarged,) = pipeline(
        prompt,
        image=(picture[None] / 2 + 0.5).clamp(0, 1),
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        noise_level=noise_level,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    ).images
    return enlarged.float().cpu() * 2 - 1


def shown_prompt(sample: dict, experiment: dict) -> str:
    """What the upscaler is told that it sees: a sample's own prompt; an anagram's first; a hybrid's finest."""
    if "views" in experiment:
        return experiment["views"][0]["prompt"]
    return sample["prompt"] if "prompt" in sample else experiment["prompts"][-1]
