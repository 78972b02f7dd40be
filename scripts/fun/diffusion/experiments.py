"""The tasks of experiments, each a few lines on top of `denoise()`.

An experiment makes one figure. Its samples are the product of its axes (prompts, guidance scales, timesteps, seeds) and
go through the network as one batch. A task's function makes stage I's pictures or, given those as `low`, stage II's.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from inspect import getfullargspec
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fun.data.images import MASKS, check_shape, load_image, load_mask, make_mask
from fun.data.timesteps import timestep_of
from fun.diffusion.filters import gaussian_blur, grey, motion_blur, parts
from fun.diffusion.guidance import Branch
from fun.diffusion.pieces import arrange, lay
from fun.diffusion.sampler import Sampler
from fun.diffusion.similarity import best_blur, psnr, ssim
from fun.diffusion.views import make_view

STATES_KEPT = 12  # of a text-to-image walk, for its figure

# Tasks: (sampler, samples, low, entries of the experiment) -> {name: tensor}; "x_0" (N, 3, size, size) are the pictures.


def forward_process(sampler: Sampler, samples: list[dict], low: None, *, image: str) -> dict[str, Tensor]:
    """The picture (as x_0) and its x_t at each sample's timestep. Uses no network."""
    x_0, (noise, _) = sampler.image(image), sampler.first_noise(samples)
    t = _timesteps(samples)
    signal, sigma = sampler.schedule.levels(t)
    x_t = sampler.schedule.q_sample(x_0, t, noise)
    return {"x_0": x_0, "x_t": x_t, "signal": signal.float(), "sigma": sigma.float()}


def denoising(
    sampler: Sampler, samples: list[dict], low: None, *, image: str, prompt: str, keep_every: int
) -> dict[str, Tensor]:
    """Noise a picture, and denoise it in four ways: blur, fair blur (of x_t / signal_t, or of x_t where there is no signal), one
    step, all steps.

    Returns each with its PSNR and SSIM (N,) against the picture, and every k-th state (k is `keep_every`) of the first
    sample with the highest timestep.
    """
    original, (noise, _) = sampler.image(image), sampler.first_noise(samples)
    t = _timesteps(samples)
    x_t = sampler.schedule.q_sample(original, t, noise)
    ways = {"noisy": x_t, "one_step": torch.empty_like(x_t), "x_0": torch.empty_like(x_t)}
    ways["blur"], sigma_blur = best_blur(x_t, original)
    signal = sampler.schedule.levels(t)[0].view(-1, 1, 1, 1).to(x_t)
    ways["fair_blur"], sigma_fair_blur = best_blur(x_t / signal.where(signal > 0, 1), original)
    for start, rows, group in _groups(samples, lambda sample: timestep_of(sample["timestep"])):
        branch = Branch(sampler.cond(group, prompt))
        states = list(sampler.walk(group, [branch], image=original, start=start))
        ways["one_step"][rows] = states[0].x_0  # the loop's first estimate
        ways["x_0"][rows] = states[-1].x_t
    kept = sorted({*range(0, len(states), keep_every), len(states) - 1})
    return (
        ways
        | {f"psnr_{way}": psnr(x, original) for way, x in ways.items()}
        | {f"ssim_{way}": ssim(x, original) for way, x in ways.items()}
        | {"original": original, "sigma_blur": sigma_blur, "sigma_fair_blur": sigma_fair_blur}
        | _kept_states([(states[i].t, states[i].x_t[0], states[i].x_0[0]) for i in kept])
    )


def text_to_image(sampler: Sampler, samples: list[dict], low: Tensor | None) -> dict[str, Tensor]:
    """Turn pure noise into a picture of the prompt. Samplers and numbers of steps that are compared are stage I's; if none are, it
    also returns some of the first sample's states."""
    kept = []

    def compared(sample):
        return tuple((name, sample[name]) for name in ("sampler", "steps") if name in sample and low is None)

    def drawn(how, group):
        for state in replace(sampler, **dict(how)).walk(group, [Branch(sampler.cond(group))], low):
            if not how and low is None:
                kept.append((state.t, state.x_t[0].clone(), state.x_0[0].clone()))
        return state.x_t

    x_0 = _in_groups(samples, compared, drawn)
    shown = sorted({round(k * (len(kept) - 1) / (STATES_KEPT - 1)) for k in range(STATES_KEPT)}) if kept else []
    return {"x_0": x_0} | (_kept_states([kept[i] for i in shown]) if shown else {})


def _kept_states(states):
    """States (t, x_t, x_0) of one sample as tensors."""
    timesteps, x_t, x_0 = zip(*states, strict=True)
    return {"states": torch.stack(x_t), "estimates": torch.stack(x_0), "timesteps": torch.tensor(timesteps)}


def image_to_image(
    sampler: Sampler, samples: list[dict], low: Tensor | None, *, image: str, invert: bool
) -> dict[str, Tensor]:
    """SDEdit (https://arxiv.org/abs/2108.01073): noise the picture to each sample's start timestep, and denoise it from
    there. invert: not with the sample's noise, but with the one that the picture is drawn from without a prompt."""
    if low is not None:
        return text_to_image(sampler, samples, low)
    original = sampler.image(image)

    def edited(start, group):
        return _last(sampler.walk(group, [Branch(sampler.cond(group))], image=original, start=start, inverted=invert))

    x_0 = _in_groups(samples, lambda sample: timestep_of(sample["start"]), edited)
    return {"x_0": x_0, "original": original}


def inpainting(
    sampler: Sampler, samples: list[dict], low: Tensor | None, *, image: str, mask: str, invert: bool
) -> dict[str, Tensor]:
    """Repaint the picture where the mask is True, or where it is False if `invert`; elsewhere put the known picture back
    after each step (the method of the CS180 assignment, after RePaint, https://arxiv.org/abs/2201.09865). What is
    repainted is decided on stage I's grid, so that it is the same in both stages."""
    original, factor = sampler.image(image), sampler.stage.size // sampler.grid
    if mask in MASKS:
        chosen = make_mask(mask, sampler.grid)
    else:
        check_shape(mask, image)
        chosen = load_mask(mask, sampler.grid)
    unknown = torch.from_numpy((chosen != invert).repeat(factor, 0).repeat(factor, 1)).to(original.device)
    put_back = partial(torch.where, unknown)
    states = sampler.walk(samples, [Branch(sampler.cond(samples))], low, image=original, put_back=put_back)
    return {"x_0": _last(states), "original": original, "mask": unknown}


def visual_anagram(
    sampler: Sampler, samples: list[dict], low: Tensor | None, *, views: list[dict], away: float
) -> dict[str, Tensor]:
    """One picture that shows each prompt under its view: the noise is the mean over the views.

    In stage I, each view can also be led `away` from the others' prompts, which costs more calls and keeps one from dominating
    (docs/illusions.md): u + g (c - u) - away (o - u), where o is their mean.
    """
    seen = [(make_view(view["view"], sampler.grid, view["seed"]), view["prompt"]) for view in views]
    away, g = (away if low is None else 0), sampler.guidance_scale
    if not away:
        asked = [(view, prompt, 1) for view, prompt in seen]
    else:
        # With g - away as the scale of all, the weights of own and other prompts give the formula.
        sampler = replace(sampler, guidance_scale=g - away)
        own, other = g / (g - away), -away / (g - away) / (len(views) - 1)
        each = range(len(seen))
        asked = [(seen[i][0], seen[j][1], own if i == j else other) for i in each for j in each]
    branches = [
        Branch(sampler.cond(samples, prompt), view, partial(torch.mul, other=weight / len(views)))
        for view, prompt, weight in asked
    ]
    return {"x_0": _last(sampler.walk(samples, branches, low))}


def hybrid_image(
    sampler: Sampler,
    samples: list[dict],
    low: Tensor | None,
    *,
    prompts: list[str],
    sigmas: list[float],
    kernel_size: int | None,
    image: str | None,
) -> dict[str, Tensor]:
    """One picture whose coarse structure shows the first prompt, and whose finest structure shows the last. sigmas and
    kernel_size are in pixels of stage I."""
    factor = sampler.stage.size // sampler.grid
    reach = None if kernel_size is None else (kernel_size - 1) * factor + 1
    blurs = [partial(gaussian_blur, sigma=sigma * factor, kernel_size=reach) for sigma in sigmas]
    return _factorized(sampler, samples, low, blurs, prompts, image)


def colour_hybrid(
    sampler: Sampler, samples: list[dict], low: Tensor | None, *, prompts: list[str], image: str | None
) -> dict[str, Tensor]:
    """One picture that shows the first prompt without its colours, and the second one with them."""
    return _factorized(sampler, samples, low, [grey], prompts, image)


def motion_hybrid(
    sampler: Sampler,
    samples: list[dict],
    low: Tensor | None,
    *,
    prompts: list[str],
    length: float,
    angle: float,
    image: str | None,
) -> dict[str, Tensor]:
    """One picture that shows the first prompt when it moves, and the second one when it rests. length is in pixels of stage I."""
    blur = partial(motion_blur, length=length * sampler.stage.size / sampler.grid, angle=angle)
    return _factorized(sampler, samples, low, [blur], prompts, image)


def _factorized(sampler, samples, low, filters, prompts, image):
    """Factorized Diffusion (https://arxiv.org/abs/2404.11615): each part of the noise follows its own prompt. With an `image`
    (an inverse hybrid) its first part is put back before every step, and at the end, and the prompts tell the others."""
    of_prompts = parts(filters if image is None else filters[1:])
    branches = [Branch(sampler.cond(samples, p), part=part) for p, part in zip(prompts, of_prompts, strict=True)]
    if image is None:
        return {"x_0": _last(sampler.walk(samples, branches, low))}
    original, given = sampler.image(image), filters[0]

    def put_back(x, known):
        return x + given(known - x)

    states = sampler.walk(samples, branches, low, image=original, put_back=put_back, from_start=True)
    return {"x_0": _last(states), "original": original}


def prompt_pairs(sampler: Sampler, samples: list[dict], low: None, *, view: str, view_seed: int) -> dict[str, Tensor]:
    """Anagrams of many pairs of prompts: the first as drawn, the second under the view. Which go together is for the judge to
    say (ambigramability: https://arxiv.org/abs/2306.12049)."""
    views = ("identity", view)

    def drawn(_, group):
        halves = [[{"prompt": sample["pair"][which]} for sample in group] for which in (0, 1)]
        branches = [
            Branch(sampler.cond(half), make_view(name, sampler.grid, view_seed), partial(torch.mul, other=1 / 2))
            for half, name in zip(halves, views, strict=True)
        ]
        return _last(sampler.walk(group, branches))

    return {"x_0": _in_groups(samples, lambda sample: sample["seed"], drawn)}


def pieces(sampler: Sampler, samples: list[dict], low: None, *, image: str, turns: bool) -> dict[str, Tensor]:
    """The pieces of a picture, laid so that they show the prompt (https://arxiv.org/abs/2411.15925): each estimate of x_0 is
    replaced by the arrangement closest to it, and so the last is one.

    Returns also how the pieces lie: "order" and "quarters" (N, most pieces), see `pieces.arrange`, with -1 where a sample has
    fewer, and "source", the picture at four times the size (1, 3, 4 size, 4 size), since nothing of it was drawn.
    """
    source, size = sampler.image(image), sampler.stage.size
    whole = source[0].cpu().numpy()
    laid = {}

    def drawn(count, group):
        side = math.isqrt(count)

        def reshape(x_0):
            laid[count] = [arrange(whole, one, side, turns) for one in x_0.cpu().numpy()]
            return torch.from_numpy(np.stack([lay(whole, *one) for one in laid[count]])).to(x_0.device)

        return _last(sampler.walk(group, [Branch(sampler.cond(group))], reshape=reshape))

    x_0 = _in_groups(samples, lambda sample: sample["pieces"], drawn)
    lying = torch.full((2, len(samples), max(laid)), -1)
    for count, rows, _ in _groups(samples, lambda sample: sample["pieces"]):
        lying[:, rows, :count] = torch.from_numpy(np.array(laid[count])).transpose(0, 1)
    large = torch.from_numpy(load_image(image, 4 * size))[None]
    return {"x_0": x_0, "original": source, "source": large, "order": lying[0], "quarters": lying[1]}


def upsample(sampler: Sampler, samples: list[dict], low: None, *, image: str) -> dict[str, Tensor]:
    """Stage II alone, on the picture scaled down to stage I's size."""
    low = torch.from_numpy(load_image(image, sampler.grid)).expand(len(samples), -1, -1, -1)
    return text_to_image(sampler, samples, low) | {"low": low[:1]}


class Task(NamedTuple):
    """A task's function, and its axes: {entry of the experiment, a list: name of one of its values in a sample}."""

    run: Callable[..., dict[str, Tensor]]
    axes: dict[str, str]


SEEDS = {"seeds": "seed"}
TASKS = {
    "forward_process": Task(forward_process, {"timesteps": "timestep"} | SEEDS),
    "denoising": Task(denoising, {"timesteps": "timestep"} | SEEDS),
    "text_to_image": Task(
        text_to_image,
        {"prompts": "prompt", "guidance_scales": "guidance_scale", "samplers": "sampler", "steps": "steps"} | SEEDS,
    ),
    "image_to_image": Task(image_to_image, {"starts": "start"} | SEEDS),
    "inpainting": Task(inpainting, SEEDS),
    "visual_anagram": Task(visual_anagram, SEEDS),
    "hybrid_image": Task(hybrid_image, SEEDS),
    "colour_hybrid": Task(colour_hybrid, SEEDS),
    "motion_hybrid": Task(motion_hybrid, SEEDS),
    "prompt_pairs": Task(prompt_pairs, {"pairs": "pair"} | SEEDS),
    "pieces": Task(pieces, {"pieces": "pieces"} | SEEDS),
    "upsample": Task(upsample, SEEDS),
}


def make_samples(task: str, experiment: dict) -> list[dict]:
    """A dict per sample: its values on the axes (the last axis changes fastest), and the prompt if all share one."""
    axes = {name: experiment[entry] for entry, name in TASKS[task].axes.items() if entry in experiment}
    shared = {"prompt": experiment["prompt"]} if "prompt" in experiment else {}
    return [shared | dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def run(
    task: str, experiment: dict, sampler: Sampler, samples: list[dict], low: Tensor | None = None
) -> dict[str, Tensor]:
    """Run a task on these samples; returns its tensors. The keyword-only parameters of a task's function name the entries
    of the experiment that it takes."""
    function = TASKS[task].run
    entries = {entry: experiment[entry] for entry in getfullargspec(function).kwonlyargs}
    return function(sampler, samples, low, **entries)


def _groups(samples, value) -> Iterator[tuple]:
    """Group samples by value(sample), in ascending order: (the value, indices of the samples, the samples)."""
    values = [value(sample) for sample in samples]
    for one in sorted(set(values)):
        rows = [i for i, found in enumerate(values) if found == one]
        yield one, rows, [samples[i] for i in rows]


def _in_groups(samples, value, draw) -> Tensor:
    """The pictures of all samples, drawn in groups with the same value(sample): draw(value, group) -> (n, C, H, W)."""
    groups = [(rows, draw(one, group)) for one, rows, group in _groups(samples, value)]
    order = torch.tensor([row for rows, _ in groups for row in rows]).argsort()
    return torch.cat([drawn for _, drawn in groups])[order]


def _timesteps(samples) -> Tensor:
    """The timestep of each sample: (N,) int64."""
    return torch.tensor([timestep_of(sample["timestep"]) for sample in samples])


def _last(states):
    """The finished samples."""
    for state in states:
        x_t = state.x_t
    return x_t
