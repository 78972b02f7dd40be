"""The stages of a cascade in the layout of DeepFloyd IF (diffusers' folders).

Each stage is loaded alone, from a folder or from the local hub cache, never over the network. What differs between cascades (sizes, noise schedules, what the network predicts,
thresholding) is read from the configs in the folder.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fun.data.layout import files_in, files_of
from fun.diffusion.sampling import Prediction, dynamic_threshold, randn
from fun.diffusion.schedule import PREDICTION_TYPES, NoiseSchedule
from fun.networks.if_unet import IFUNet, not_understood

SCHEDULER = {  # diffusers' values for entries that a scheduler's config leaves out
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "variance_type": "fixed_small",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "prediction_type": "epsilon",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "rescale_betas_zero_snr": False,
}
KEPT = 8  # batches of prompts that a network remembers: a batch that is split by max_batch has several

BETA_SCHEDULES: dict[str, Callable[[dict], NoiseSchedule]] = {
    "squaredcos_cap_v2": lambda config: NoiseSchedule.cosine(config["num_train_timesteps"]),
    "linear": lambda config: NoiseSchedule.linear(
        config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    ),
}


@dataclass(frozen=True, eq=False)
class Network:
    """An IF U-Net as a function (x, t, cond) -> Prediction.

    It computes in its own dtype. Inputs and outputs are float32, because the sampling steps divide by sqrt(abar_t), which
    at t = 990 multiplies an error by 71. Raises ValueError if the output is not finite.
    """

    load: Callable[[], nn.Module]  # an IFUNet, or what is called like one
    schedule: NoiseSchedule
    channels: int  # of a picture
    prediction_type: str  # one of PREDICTION_TYPES
    noise_level: int | None = None  # stage II: the timestep of its companion's noise
    _read: list = field(default_factory=list)  # (prompts' embeddings, what the network computed of them)

    @cached_property
    def unet(self) -> nn.Module:
        """Loaded on first use: a bad picture is found before gigabytes are read, and some tasks need no network."""
        return self.load()

    @torch.no_grad()
    def __call__(self, x: Tensor, t: int, cond: Tensor) -> Prediction:
        dtype = self.unet.dtype
        output = self.unet(x.to(dtype), t, self._prompts(cond, x.device), self.noise_level).float()
        if not output.isfinite().all():
            stage = "stage I" if self.noise_level is None else "stage II"
            raise ValueError(
                f"the network of {stage}, in {str(dtype).removeprefix('torch.')}, gave numbers that are not finite at timestep "
                f"{t}: try another dtype (bfloat16, float32), and look at prompt_embeds if the embeddings are your own"
            )
        prediction, v = output[:, : self.channels], output[:, self.channels :]
        x_0, noise = self.schedule.x_start_and_noise(self.prediction_type, x[:, : self.channels], t, prediction)
        return Prediction(x_0, noise, v if v.shape[1] else None)

    def _prompts(self, cond, device):
        """What the network computes of the prompts (N, L, D) alone: once, not in every step, and of equal ones once."""
        for known, prompts in self._read:
            if torch.equal(known, cond):
                return prompts
        # On the processor: a GPU compares two equal prompts number by number, one after the other.
        different, rows = cond.cpu().unique(dim=0, return_inverse=True)
        prompts = self.unet.read_prompts(different.to(device, self.unet.dtype), rows.to(device))
        self._read.append((cond.clone(), prompts))
        del self._read[:-KEPT]
        return self._read[-1][1]


@dataclass(frozen=True)
class Stage:
    """Stage I or II of a cascade: a network, and the settings for sampling that its configs give."""

    network: Network
    size: int  # pixels on a side
    threshold: Callable[[Tensor], Tensor] | None  # for the estimates of x_0
    learned_variance: bool
    device: torch.device
    noising: NoiseSchedule | None = None  # stage II: for the picture that it enlarges

    @property
    def schedule(self) -> NoiseSchedule:
        """The one that the network was trained on."""
        return self.network.schedule

    @property
    def channels(self) -> int:
        """Of a picture."""
        return self.network.channels

    def companion(self, low: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """What stage II sees in addition to x_t: the pictures `low` (N, C, h, w), enlarged, and noised to the network's
        noise_level."""
        enlarged = F.interpolate(low.to(self.device), (self.size, self.size), mode="bilinear", align_corners=True)
        return self.noising.q_sample(
            enlarged, self.network.noise_level, randn(enlarged.shape[1:], generators, self.device)
        )


def load_stage(
    folder: str | Path,
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
        attention: "sdpa", or "sliced": one head at a time, which takes less memory.
        offload: keep the weights on the CPU, and each layer on the device only while it computes.

    Raises:
        ValueError: a config asks for something that this code does not support (the message names it), or, on first use, the
            weights are missing or are those of another network.
    """
    folder = Path(folder)
    config = _scheduler_config(folder, "scheduler")
    if config["prediction_type"] not in PREDICTION_TYPES:
        raise ValueError(f"{folder}: prediction_type {config['prediction_type']} is none of {PREDICTION_TYPES}")
    schedule = _noise_schedule(folder, config)
    noising = None
    if noise_level is not None:
        noising = _noise_schedule(folder, _scheduler_config(folder, "image_noising_scheduler"))

    unet_config = _config(folder, "unet/config.json")
    if config["variance_type"] == "learned":  # the variance itself, not its place between two bounds
        raise ValueError(f"{folder}: variance_type learned is not supported; IF's is learned_range")
    channels = unet_config["in_channels"] // (1 if noise_level is None else 2)

    def load():
        with torch.device("meta"):
            unet = make_unet(unet_config)
        weights = _weights(folder, "stage_1" if noise_level is None else "stage_2", variant, dtype)
        inside = unet.unet if isinstance(unet, OtherUNet) else unet
        expected, found = ({n: w.shape for n, w in of.items()} for of in (inside.state_dict(), weights))
        if wrong := sorted(name for name, _ in expected.items() ^ found.items()):
            raise ValueError(
                f"{folder}/unet: the weights are not those of config.json: {wrong[0]} is missing or does not fit"
            )
        inside.load_state_dict(weights, assign=True)
        if attention == "sliced":
            unet.slice_attention()
        if offload:
            from diffusers.hooks import apply_group_offloading  # takes seconds to import

            apply_group_offloading(unet, device, torch.device("cpu"), "leaf_level")
        else:
            unet.to(device)
        return unet.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    return Stage(
        network=Network(load, schedule, channels, config["prediction_type"], noise_level),
        size=unet_config["sample_size"],
        threshold=_threshold(config),
        learned_variance=config["variance_type"] == "learned_range",
        device=device,
        noising=noising,
    )


def sample_size(folder: Path) -> int:
    """The side length in pixels of a stage's pictures, without loading the stage."""
    return _config(folder, "unet/config.json")["sample_size"]


def make_unet(config: dict) -> nn.Module:
    """The U-Net of this config with random weights: an IFUNet, or diffusers' class (said on standard output) if the config asks
    for anything that IF's does not have."""
    if unknown := not_understood(config):
        print(f"diffusers' own class runs this U-Net, which differs from IF's in {', '.join(unknown)}")
        return OtherUNet(config)
    return IFUNet(config)


class OtherUNet(nn.Module):
    """diffusers' UNet2DConditionModel, called like an IFUNet."""

    def __init__(self, config: dict):
        super().__init__()
        from diffusers import UNet2DConditionModel  # takes seconds to import, and IF does not need it

        self.unet = UNet2DConditionModel.from_config(config)

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    def read_prompts(self, prompt_embeds: Tensor, rows: Tensor) -> Tensor:
        return prompt_embeds[rows]

    def forward(self, x: Tensor, t: int, prompts: Tensor, noise_level: int | None = None) -> Tensor:
        level = None if noise_level is None else torch.full((len(x),), noise_level, device=x.device)
        return self.unet(x, t, prompts, class_labels=level, return_dict=False)[0]

    def slice_attention(self) -> None:
        self.unet.set_attention_slice("auto")


def _weights(folder, part, variant, dtype):
    """The U-Net's weights in this dtype, on the CPU."""
    files = [name for name in files_of(part, variant, files_in(folder, part)) if name.startswith("unet/")]
    shards = [load_file(folder / name) for name in files if name.endswith(".safetensors")]
    return {name: tensor.to(dtype) for shard in shards for name, tensor in shard.items()}


def _config(folder, path):
    return json.loads((Path(folder) / path).read_text(encoding="utf-8"))


def _scheduler_config(folder, name):
    """A scheduler's config, with diffusers' defaults for missing entries."""
    return SCHEDULER | _config(folder, f"{name}/scheduler_config.json")


def _noise_schedule(folder, config):
    if config["rescale_betas_zero_snr"]:
        raise ValueError(f"{folder}: rescale_betas_zero_snr is not supported")
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
