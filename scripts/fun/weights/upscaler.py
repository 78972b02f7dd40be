"""Stage III: Stable Diffusion's x4 upscaler, run by diffusers (https://huggingface.co/stabilityai/stable-diffusion-x4-upscaler).

It denoises in the latent space of an autoencoder and has its own text encoder, unlike the stages before, so it does not
go through this project's loop. It does not know about views: it sees an anagram under its first view.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionUpscalePipeline
from torch import Tensor


def load_upscaler(
    folder: Path, variant: str | None, dtype: torch.dtype, device: torch.device, offload: bool = False
) -> StableDiffusionUpscalePipeline:
    """Load the pipeline from a folder in diffusers' layout. offload: only the part in use is on the device."""
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
    """Enlarge a picture (3, H, W) in about [-1, 1] four times: (3, 4 H, 4 W) in [-1, 1], float32 on the CPU.

    noise_level: how much noise is added to the picture first, 0 to the pipeline's max_noise_level (350).
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
    """The prompt for the upscaler: the sample's own, an anagram's first, or a hybrid's last (its finest structure)."""
    if "views" in experiment:
        return experiment["views"][0]["prompt"]
    return sample["prompt"] if "prompt" in sample else experiment["prompts"][-1]
