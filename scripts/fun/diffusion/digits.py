"""Digits from a network trained on MNIST, sampled with `denoise()`."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.guidance import Branch, is_guided, predict
from fun.diffusion.sampling import State, denoise, make_step, on_path, randn
from fun.diffusion.schedule import NoiseSchedule, path_of
from fun.networks.mnist_unets import NO_CLASS


def generate(
    network,
    labels: Tensor,
    seeds: Sequence[int],
    sampler: str,
    spacing: str,
    num_steps: int,
    guidance_scale: float,
    guidance_interval: Sequence[float] = (0, 1),
    guide=None,
    path: str | None = None,
    variance: str = "small",
    thresholding: bool = True,
    black: float = -1.0,
    x_t: Tensor | None = None,
    start: int | None = None,
) -> Iterator[State]:
    """Sample one digit per label; yields the states of `denoise()`.

    Args:
        network: one of fun.networks.mnist_unets; a flow map is told where each step goes, and is not guided.
        labels: (N,) int64, on the network's device; NO_CLASS stands for any digit.
        seeds: N seeds, one per sample.
        sampler, spacing, num_steps: see fun.diffusion.sampling, fun.data.timesteps.
        guidance_interval: guide at these timesteps only, as shares of T (see guidance.is_guided).
        guide: the network asked for no class in place of `network` (autoguidance, see `predict`); then a network without
            classes can be guided too.
        path: the schedule to walk along, by its name in SCHEDULES; None: the one that the network was trained on.
        variance: of the steps of the sampler "ddpm".
        thresholding: keep each estimate of the digit in the range of its pixels, which is [black, 1].
        x_t, start: images (N, 1, 28, 28) noised to the timestep `start`, to begin with; by default pure noise. Each seed's first
            draw is the noise to begin with, also where it is not used: what noised the images is not drawn again.

    Raises:
        ValueError: there are not as many seeds as labels, or a flow map is to walk along another path than its own.
    """
    if len(labels) != len(seeds):
        raise ValueError(f"there must be a seed for each of the {len(labels)} labels, not {len(seeds)}")
    own, T = network.schedule, network.schedule.num_train_timesteps
    schedule = path_of(own, path)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = randn((1, 28, 28), generators, labels.device)
    timesteps = spaced_timesteps(spacing, T, num_steps)
    pairs = timestep_pairs(timesteps, start)
    branches, unconditional = [Branch(labels)], torch.full_like(labels, NO_CLASS)
    if guide is None and (labels == NO_CLASS).all():
        guidance_scale = 1.0  # the network would be guided away from what it predicts itself
    if getattr(network, "is_map", False):
        if schedule is not own:
            raise ValueError("a flow map knows the way along its own schedule only: path must be null")
        going, guidance_scale = dict(pairs), 1.0  # guidance is in what it learned
        asked, asked_guide = (lambda x, t, cond: network(x, t, cond, going[t])), None
    else:
        asked, asked_guide = (which and on_path(which, schedule, channels=1) for which in (network, guide))

    def predict_digits(x, t):
        scale = guidance_scale if is_guided(own, schedule, t, guidance_interval) else 1.0
        return predict(asked, x, t, branches, scale, unconditional, guide=asked_guide)

    return denoise(
        schedule,
        predict_digits,
        noise if x_t is None else x_t,
        pairs,
        make_step(sampler, variance),
        generators,
        threshold=partial(torch.clamp, min=black, max=1) if thresholding else None,
    )


def without_noise(how: dict) -> dict:
    """The arguments of `generate` with a sampler that draws no noise on its way in place of one that does."""
    alike = {"ddpm": "ddim", "sde_dpm_solver": "dpm_solver"}
    return how | {"sampler": alike.get(how["sampler"], how["sampler"])}


def calls_made(
    schedule: NoiseSchedule, path: str | None, num_steps: int, guidance_scale: float, guidance_interval: Sequence[float]
) -> int:
    """How often `generate` asks a network of this schedule for each digit of a class, with the spacing "trailing": once a step, twice
    where it is guided."""
    if guidance_scale == 1:
        return num_steps
    T, walked = schedule.num_train_timesteps, path_of(schedule, path)
    steps = spaced_timesteps("trailing", T, num_steps)
    return num_steps + sum(is_guided(schedule, walked, t, guidance_interval) for t in steps)


def most_steps(
    schedule: NoiseSchedule, path: str | None, calls: int, guidance_scale: float, guidance_interval: Sequence[float]
) -> int:
    """The largest number of steps that takes no more than this many calls of the network; at least one."""
    how = (guidance_scale, guidance_interval)
    return max([1, *(n for n in range(1, calls + 1) if calls_made(schedule, path, n, *how) <= calls)])
