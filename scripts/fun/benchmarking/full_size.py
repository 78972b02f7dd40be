"""DeepFloyd IF's networks at full size, without its weights: how fast are our loop and diffusers' on the same network?

Speed and memory do not depend on the values of the weights, so random ones will do. IF-I-XL has its published
configuration; the widths of the others are guesses that give about the published number of parameters.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import torch
from diffusers import DDPMScheduler, IFPipeline, IFSuperResolutionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from fun.benchmarking.pipelines import draw_with
from fun.benchmarking.rates import in_turn
from fun.benchmarking.sizes import IF_I_XL, TOKENS, parameters
from fun.diffusion.cascade import Network, Stage, make_unet
from fun.diffusion.experiments import text_to_image
from fun.diffusion.sampler import Sampler
from fun.diffusion.sampling import dynamic_threshold
from fun.diffusion.schedule import NoiseSchedule

NETWORKS = {
    "stage I, as IF-I-XL": IF_I_XL,
    "stage I, about IF-I-M": IF_I_XL | {"block_out_channels": (192, 384, 576, 768), "cross_attention_dim": 768},
    "stage II, about IF-II-L": IF_I_XL
    | {
        "sample_size": 256,
        "in_channels": 6,
        "class_embed_type": "timestep",
        "block_out_channels": (192, 384, 768, 1152, 1536),
        "cross_attention_dim": 1536,
        "down_block_types": (*["ResnetDownsampleBlock2D"] * 4, "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", *["ResnetUpsampleBlock2D"] * 4),
    },
}
NOISE_LEVEL = 250  # of stage II, IF's default
GUIDANCE_SCALE = 7.0
THRESHOLD = {"ratio": 0.95, "sample_max_value": 1.5}


@contextmanager
def created_in(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """What is created meanwhile is of this dtype and on this device from the start: a copy would not fit beside it."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(default)


def build(config: dict, dtype: torch.dtype, device: torch.device) -> tuple[nn.Module, UNet2DConditionModel]:
    """The network with random weights, created on the device in the dtype: ours and diffusers', which share their weights."""
    with created_in(dtype, device):
        unet = UNet2DConditionModel.from_config(config)
    unet.to(memory_format=torch.channels_last)  # as load_stage does; diffusers' gains, too
    with torch.no_grad():  # random weights amplify rounding from step to step; trained ones do not
        unet.conv_out.weight *= 0.1
    with torch.device("meta"):
        own = make_unet(config)
    own.load_state_dict(unet.state_dict(), assign=True)
    return tuple(one.eval().requires_grad_(False) for one in (own, unet))


def sampler_of(unet: nn.Module, embeds: dict[str, Tensor], steps: int, noise_level: int | None = None) -> Sampler:
    """This project's sampler on such a network; noise_level: of stage II."""
    schedule = NoiseSchedule.cosine(1000)
    stage = Stage(
        network=Network(lambda: unet, schedule, 3, "epsilon", noise_level),
        size=unet.config.sample_size,
        threshold=partial(dynamic_threshold, **THRESHOLD),
        learned_variance=True,
        device=unet.conv_in.weight.device,
        noising=schedule,
    )
    grid = stage.size if noise_level is None else stage.size // 4
    return Sampler(stage, embeds, grid, "ddpm", steps, "leading", "learned", True, GUIDANCE_SCALE)


def ours(unet: nn.Module, embeds: dict[str, Tensor], low: Tensor | None, batch: int, steps: int) -> Tensor:
    """Draw `batch` guided samples (N, 3, size, size) with this project's loop."""
    samples = [{"prompt": "a prompt", "seed": seed} for seed in range(batch)]
    sampler = sampler_of(unet, embeds, steps, None if low is None else NOISE_LEVEL)
    return text_to_image(sampler, samples, low)["x_0"]


def theirs(unet: UNet2DConditionModel, embeds: dict[str, Tensor], low: Tensor | None, batch: int, steps: int) -> Tensor:
    """Draw the same samples with diffusers' pipeline of the stage."""
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=THRESHOLD["ratio"],
        sample_max_value=THRESHOLD["sample_max_value"],
    )
    without = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor", "watermarker"))
    parts = without | {"unet": unet, "scheduler": scheduler, "requires_safety_checker": False}
    if low is None:
        pipeline, image = IFPipeline(**parts), {}
    else:
        pipeline = IFSuperResolutionPipeline(**parts, image_noising_scheduler=scheduler)
        image = {"image": low, "noise_level": NOISE_LEVEL}
    return draw_with(
        pipeline, embeds["a prompt"], embeds[""], range(batch), steps, guidance_scale=GUIDANCE_SCALE, **image
    )


LOOPS: dict[str, Callable[..., Tensor]] = {"this project": ours, "diffusers": theirs}


def measure(
    name: str, config: dict, dtype: torch.dtype, device: torch.device, batch: int, steps: int, rounds: int
) -> Iterator[dict]:
    """Time both loops in turn. Yields a table row for each: seconds per step and peak memory.

    Args:
        batch: samples drawn at once; with guidance the network sees twice as many.
        rounds: how often each loop draws them, after one round that is not counted.
    """
    own, unet = build(config, dtype, device)
    networks = {"this project": own, "diffusers": unet}
    width = unet.config.encoder_hid_dim
    embeds = {
        prompt: torch.randn(TOKENS, width, generator=torch.Generator().manual_seed(0)) for prompt in ("", "a prompt")
    }
    second = unet.config.in_channels == 6
    low = torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1 if second else None
    peaks = dict.fromkeys(LOOPS, 0)

    def draw(loop):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        LOOPS[loop](networks[loop], embeds, low, batch, steps).cpu()  # which waits for the GPU
        peaks[loop] = max(peaks[loop], torch.cuda.max_memory_allocated() if device.type == "cuda" else 0)

    seconds = in_turn({loop: partial(draw, loop) for loop in LOOPS}, rounds)
    for loop, values in seconds.items():
        yield {
            "network": name,
            "parameters (M)": round(parameters(unet) / 1e6),
            "batch": batch,
            "loop": loop,
            "seconds a step": median(values) / steps,
            "least": min(values) / steps,
            "most": max(values) / steps,
            "against diffusers": median(seconds["diffusers"]) / median(values),
            "peak memory (GB)": peaks[loop] / 1e9,
        }
