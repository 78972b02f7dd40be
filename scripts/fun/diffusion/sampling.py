"""The reverse process: `denoise()` is the one loop that makes every picture of this project.

MNIST digits, DeepFloyd's two stages, SDEdit, inpainting, anagrams and hybrids differ only in what they pass to it.
DDPM: https://arxiv.org/abs/2006.11239, DDIM: https://arxiv.org/abs/2010.02502, thresholding: https://arxiv.org/abs/2205.11487.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fun.diffusion.schedule import NoiseSchedule, look_up, unknown


class Prediction(NamedTuple):
    """What a network makes of x_t, whatever it was trained to predict: its two parts, x_t = signal x_0 + sigma noise, which are the
    same on every path from noise to image."""

    x_0: Tensor  # (N, C, H, W), the estimate of the clean image
    noise: Tensor  # (N, C, H, W)
    v: Tensor | None = None  # (N, C, H, W), the raw variance channels, about in [-1, 1], if the network has any


class State(NamedTuple):
    """The result of one step of the loop."""

    t: float  # the timestep reached; -1 is the finished sample
    x_t: Tensor  # (N, C, H, W) at that timestep
    x_0: Tensor  # (N, C, H, W), the estimate of the clean image used in this step


def denoise(
    schedule: NoiseSchedule,
    predict: Callable[[Tensor, float], Prediction],
    x_t: Tensor,
    pairs: Sequence[tuple[float, float]],
    step: Callable[..., Tensor],
    generators: Sequence[torch.Generator],
    threshold: Callable[[Tensor], Tensor] | None = None,
    constraint: Callable[[Tensor, float], Tensor] | None = None,
) -> Iterator[State]:
    """Walk from noise to image; yields a State after each step.

    Args:
        schedule: the path from noise to image, which need not be the one that the network was trained on (`on_path`).
        predict: (x_t, t) -> Prediction.
        x_t: (N, C, H, W) float32, at the first pair's t: pure noise, or a noised image (SDEdit).
        pairs: (t, t_prev) of each step, as made by `fun.data.timesteps.timestep_pairs`.
        step: from `make_step`.
        generators: on the CPU, one for each of the N samples, so that a sample does not depend on the others.
        threshold: applied to each estimate of x_0.
        constraint: (x, t_prev) -> x, applied after each step (inpainting).

    Raises:
        ValueError: there are not as many generators as samples, or a sample is no longer finite: it would end as a black picture,
            without an error.
    """
    if len(generators) != len(x_t):
        raise ValueError(f"there must be a generator for each of the {len(x_t)} samples, not {len(generators)}")
    draw = partial(randn, x_t.shape[1:], generators, device=x_t.device)
    for t, t_prev in pairs:
        # Entered for each step: held across the yield, it would switch off gradients in the caller.
        with torch.no_grad():
            x_0, _, v = predict(x_t, t)
            if threshold is not None:
                x_0 = threshold(x_0)
            x_t = step(schedule, t, t_prev, x_t, x_0, v, draw)
            if constraint is not None:
                x_t = constraint(x_t, t_prev)
            if not x_t.isfinite().all():
                raise ValueError(f"the samples are not finite after timestep {t}: try a smaller guidance_scale")
        yield State(t_prev, x_t, x_0)


def on_path(
    network: Callable[[Tensor, int, Tensor], Prediction], path: NoiseSchedule, channels: int
) -> Callable[[Tensor, float, Tensor], Prediction]:
    """The network as a function of x_t and t on another path than its own `schedule`: it is asked at the timestep with as much
    noise for its signal. What it predicts, x_0 and the noise, is the same on both.

    channels: of a picture; those after them (stage II's companion) are handed on as they are.
    """
    if path is network.schedule:
        return network

    def ask(x, t, cond):
        own, factor = network.schedule.along(path, t)
        return network(torch.cat([x[:, :channels] * factor, x[:, channels:]], 1), own, cond)

    return ask


def ddpm_step(
    schedule: NoiseSchedule,
    t: float,
    t_prev: float,
    x_t: Tensor,
    x_0: Tensor,
    v: Tensor | None,
    draw: Callable[[], Tensor],
    variance: str = "small",
) -> Tensor:
    """A sample of p(x_t_prev | x_t).

    Its variance is betatilde ("small"), beta ("large"), or between the two on a log scale, given by the network's v
    ("learned", Nichol and Dhariwal 2021, equation 15). The last step adds no noise.
    """
    mean, beta_tilde = schedule.q_posterior(x_0, x_t, t, t_prev)
    if t_prev < 0:
        return mean
    beta, _ = schedule.stride(t, t_prev)
    if variance == "learned":
        if v is None:
            raise ValueError("this network predicts no variance: variance must be small or large, not learned")
        sigma = torch.exp(learned_log_variance(v, beta.log(), beta_tilde.log()) / 2)
    elif variance == "small":
        sigma = beta_tilde.sqrt()
    elif variance == "large":
        sigma = beta.sqrt()
    else:
        raise unknown(variance, ("learned", "small", "large"), "variance")
    return mean + sigma * draw()


def learned_log_variance(v: Tensor, log_beta: Tensor, log_beta_tilde: Tensor) -> Tensor:
    """The log of a step's variance: the raw variance channels v in [-1, 1] interpolate between the logs of its two bounds
    (`NoiseSchedule.stride`; Nichol and Dhariwal 2021, equation 15)."""
    share = (v + 1) / 2
    return share * log_beta + (1 - share) * log_beta_tilde


def ddim_step(
    schedule: NoiseSchedule,
    t: float,
    t_prev: float,
    x_t: Tensor,
    x_0: Tensor,
    v: Tensor | None,
    draw: Callable[[], Tensor],
) -> Tensor:
    """The deterministic step (eta = 0): the same image and the same noise, at a lower noise level. On a flow, this is Euler's step
    along x_0 - noise.

    The noise is computed from x_t and x_0, as in guided-diffusion: the network's own does not match an x_0 that was
    thresholded, which spoils digits (docs/measurements.md).
    """
    return schedule.q_sample(x_0, t_prev, schedule.noise_from_x_start(x_t, t, x_0))


class DPMSolver:
    """The steps of one walk of DPM-Solver++(2M) (https://arxiv.org/abs/2211.01095): those of `step` from a better estimate,
    which continues the change since the step before over half of this one. So they are of second order. From `ddim_step`
    the walk is deterministic; from `ddpm_step` with the variance "small" it is the paper's SDE version. The first step has
    none before it, and in the last one the clean image is the estimate itself."""

    def __init__(self, step: Callable[..., Tensor]):
        self.step = step
        self.last = None  # (t_prev, log_snr at t, x_0) of the step before

    def __call__(
        self,
        schedule: NoiseSchedule,
        t: float,
        t_prev: float,
        x_t: Tensor,
        x_0: Tensor,
        v: Tensor | None,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        at, estimate = schedule.log_snr(t), x_0  # at is -inf at a flow's start: the next step is of first order, too
        if self.last is not None and self.last[0] == t and t_prev >= 0:
            _, before, x_0_before = self.last
            estimate = x_0 + (schedule.log_snr(t_prev) - at) / (at - before) / 2 * (x_0 - x_0_before)
        self.last = (t_prev, at, x_0)
        return self.step(schedule, t, t_prev, x_t, estimate, v, draw)


def make_step(sampler: str, variance: str = "small") -> Callable[..., Tensor]:
    """The `step` of one walk by the sampler of that name: "ddpm" (with `variance`, see `ddpm_step`), "ddim", "dpm_solver", or
    "sde_dpm_solver", which draws noise in each step as DDPM does."""
    steps = {
        "ddpm": partial(ddpm_step, variance=variance),
        "ddim": ddim_step,
        "dpm_solver": DPMSolver(ddim_step),
        "sde_dpm_solver": DPMSolver(ddpm_step),
    }
    return look_up(steps, sampler, "sampler")


def dynamic_threshold(x_0: Tensor, ratio: float = 0.95, sample_max_value: float = 1.0) -> Tensor:
    """Clip each image to its own `ratio` quantile s of |x_0|, limited to [1, sample_max_value], and divide by s (Imagen).
    With sample_max_value = 1 this is plain clipping to [-1, 1]."""
    if sample_max_value == 1:
        return x_0.clamp(-1, 1)
    s = torch.quantile(x_0.abs().flatten(1), ratio, dim=1).clamp(1, sample_max_value)
    s = s.view(-1, *[1] * (x_0.ndim - 1))
    return x_0.clamp(-s, s) / s


def randn(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise (N, *shape), one draw from each of the N generators. It is drawn on the CPU, so that a seed
    gives the same picture on every device."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(device)
