"""The stages of a cascade in the layout of DeepFloyd IF (diffusers' folders).

Each stage is loaded alone, from a folder or from the local hub cache, never over the network. What differs between cascades (sizes, noise schedules, what the network predicts,
thresholding) is read from the configs in the folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from fun.diffusion.sampling import dynamic_threshold, randn
from fun.diffusion.schedule import PREDICTION_TYPES, NoiseSchedule

BETA_SCHEDULES: dict[str, Callable[[dict], NoiseSchedule]] = {
    "squaredcos_cap_v2": lambda config: NoiseSchedule.cosine(config["num_train_timesteps"]),
    "linear": lambda config: NoiseSchedule.linear(
        config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    ),
}


@dataclass(frozen=True)
class Network:
    """A diffusers UNet as a function (x, t, cond) -> the noise, and the raw variance channels if it has any.

    It computes in its own dtype. Inputs and outputs are float32, because the sampling steps divide by sqrt(abar_t), which
    at t = 990 multiplies an error by 71. Raises ValueError if the output is not finite.
    """

    load: Callable[[], nn.Module]
    schedule: NoiseSchedule
    channels: int  # of a picture
    prediction_type: str  # one of PREDICTION_TYPES
    noise_level: int | None = None  # stage II: the timestep of its companion's noise

    @cached_property
    def unet(self) -> nn.Module:
        """Loaded on first use: a bad picture is found before gigabytes are read, and some tasks need no network."""
        return self.load()

    @torch.no_grad()
    def __call__(self, x: Tensor, t: int, cond: Tensor) -> tuple[Tensor, Tensor | None]:
        level = None if self.noise_level is None else torch.full((len(x),), self.noise_level, device=x.device)
        dtype = self.unet.dtype
        output = self.unet(x.to(dtype), t, cond.to(x.device, dtype), class_labels=level, return_dict=False)[0].float()
        if not output.isfinite().all():
            stage = "stage I" if self.noise_level is None else "stage II"
            raise ValueError(
                f"the network of {stage}, in {str(dtype).removeprefix('torch.')}, gave numbers that are not finite at timestep "
                f"{t}: try another dtype (bfloat16, float32), and look at prompt_embeds if the embeddings are your own"
            )
        prediction, v = output[:, : self.channels], output[:, self.channels :]
        noise = self.schedule.noise_from(self.prediction_type, x[:, : self.channels], t, prediction)
        return noise, v if v.shape[1] else None


@dataclass(frozen=True)
class Stage:
    """Stage I or II of a cascade: a network, and the settings for sampling that its configs give."""

    network: Callable[[Tensor, int, Tensor], tuple[Tensor, Tensor | None]]
    schedule: NoiseSchedule
    channels: int
    size: int  # pixels on a side
    threshold: Callable[[Tensor], Tensor] | None  # for the estimates of x_0
    learned_variance: bool
    device: torch.device
    noising: NoiseSchedule | None = None  # stage II: for the picture that it enlarges

    def companion(self, low: Tensor, noise_level: int, generators: Sequence[torch.Generator]) -> Tensor:
        """What stage II sees in addition to x_t: the pictures `low` (N, C, h, w), enlarged and noised to `noise_level`."""
        enlarged = F.interpolate(low.to(self.device), (self.size, self.size), mode="bilinear", align_corners=True)
        return self.noising.q_sample(enlarged, noise_level, randn(enlarged.shape[1:], generators, self.device))


def load_stage(
    folder: Path,
    noise_level: int | None,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    attention: str = "sdpa",
    offload: bool = False,
) -> Stage:
    """Load a stage from its folder: unet/ and scheduler/, and for stage II (which has a noise_level) also
    image_noising_scheduler/. The UNet is loaded on first use.

    Args:
        attention: "sdpa", or "sliced": a few heads at a time, which takes less memory.
        offload: keep the weights on the CPU, and each layer on the device only while it computes.

    Raises:
        ValueError: a config asks for something that this code does not support; the message names it.
    """
    config = _scheduler_config(folder, "scheduler")
    if config["prediction_type"] not in PREDICTION_TYPES:
        raise ValueError(f"{folder}: prediction_type {config['prediction_type']} is none of {PREDICTION_TYPES}")
    schedule = _noise_schedule(folder, config)
    noising = None
    if noise_level is not None:
        noising = _noise_schedule(folder, _scheduler_config(folder, "image_noising_scheduler"))

    unet_config = UNet2DConditionModel.load_config(folder, subfolder="unet", local_files_only=True)
    learned_variance = config["variance_type"] in ("learned", "learned_range")
    channels = unet_config["in_channels"] // (1 if noise_level is None else 2)

    def load():
        unet = UNet2DConditionModel.from_pretrained(
            folder, subfolder="unet", variant=variant, dtype=dtype, local_files_only=True, use_safetensors=True
        )
        if attention == "sliced":
            unet.set_attention_slice("auto")
        if offload:
            unet.enable_group_offload(device, torch.device("cpu"), offload_type="leaf_level")
        else:
            unet.to(device)
        return unet.eval().requires_grad_(False)

    return Stage(
        network=Network(load, schedule, channels, config["prediction_type"], noise_level),
        schedule=schedule,
        channels=channels,
        size=unet_config["sample_size"],
        threshold=_threshold(config),
        learned_variance=learned_variance,
        device=device,
        noising=noising,
    )


def sample_size(folder: Path) -> int:
    """The side length in pixels of a stage's pictures, without loading the stage."""
    return UNet2DConditionModel.load_config(folder, subfolder="unet", local_files_only=True)["sample_size"]


def _scheduler_config(folder, name):
    """A scheduler's config, with diffusers' defaults for missing entries."""
    return dict(DDPMScheduler.from_pretrained(folder, subfolder=name, local_files_only=True).config)


def _noise_schedule(folder, config):
    if config["trained_betas"] is not None:
        return NoiseSchedule(torch.tensor(config["trained_betas"]))
    if config["beta_schedule"] not in BETA_SCHEDULES:
        raise ValueError(f"{folder}: beta_schedule {config['beta_schedule']} is none of {tuple(BETA_SCHEDULES)}")
    return BETA_SCHEDULES[config["beta_schedule"]](config)


def _threshold(config):
    if config["thresholding"]:
        ratio, maximum = config["dynamic_thresholding_ratio"], config["sample_max_value"]
        return partial(dynamic_threshold, ratio=ratio, sample_max_value=maximum)
    if config["clip_sample"]:
        return partial(torch.clamp, min=-config["clip_sample_range"], max=config["clip_sample_range"])
    return None
