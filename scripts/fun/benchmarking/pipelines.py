"""diffusers' pipelines of a cascade, called as their users would call them: what our loop is timed against."""

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline
from torch import Tensor


def draw_with(
    pipeline: DiffusionPipeline, prompt: Tensor, negative: Tensor, seeds: Sequence[int], steps: int, **options
) -> Tensor:
    """A picture for each seed in one call: (N, 3, H, W) in [-1, 1].

    Args:
        pipeline: IFPipeline, or IFSuperResolutionPipeline with `image` and `noise_level` among the options.
        prompt: the prompt's embedding (L, D); `negative`: that of the empty prompt.
        options: other arguments of the pipeline, such as guidance_scale.
    """
    pipeline.set_progress_bar_config(disable=True)
    dtype, device = pipeline.unet.dtype, pipeline.unet.device
    return pipeline(
        prompt_embeds=prompt.to(device, dtype).expand(len(seeds), -1, -1),
        negative_prompt_embeds=negative.to(device, dtype).expand(len(seeds), -1, -1),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        num_inference_steps=steps,
        output_type="pt",
        **options,
    ).images
