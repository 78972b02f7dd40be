"""How good a miniature cascade is, measured on samples: every rate with its number of trials and its interval.

Samples are drawn as in diffusers' pipelines: DDPM with the learned variance, 30 steps, spacing "leading", thresholding.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from fun.diffusion.cascade import Stage
from fun.diffusion.experiments import run
from fun.diffusion.sampler import Sampler
from fun.diffusion.similarity import psnr
from fun.diffusion.views import make_view
from fun.judging.scores import rate
from fun.miniature.judge import Judge, coloured_digits, compare, paint_digits, read_pictures
from fun.miniature.pictures import COLOURS, DIGITS, TEMPLATES

SAMPLING = {"sampler": "ddpm", "steps": 30, "spacing": "leading", "variance": "learned", "thresholding": True}

ANAGRAMS = {  # name: the view, and the digits seen without it and under it
    "six / nine, rotated by 180 degrees": ("rotate_180", "six", "nine"),
    "three / eight, rotated by 180 degrees": ("rotate_180", "three", "eight"),
    "two / five, flipped upside down": ("flip_vertical", "two", "five"),
}


def prompt_for(digit: int, foreground: int, background: int) -> str:
    """The prompt that names the digit and both colours."""
    template, *_ = TEMPLATES[0]
    return template.format(digit=DIGITS[digit], foreground=COLOURS[foreground], background=COLOURS[background])


def prompt_accuracy(
    stage_1: Stage, embeds: dict[str, Tensor], judge: Judge, guidance_scale: float, n: int, progress: Callable
) -> dict[str, dict]:
    """How often stage I draws what n random prompts ask for, one sample each, seeds 0 .. n - 1."""
    asked = coloured_digits(n, torch.Generator().manual_seed(0))
    samples = [
        {"prompt": prompt_for(*named), "seed": seed}
        for seed, named in enumerate(zip(*(column.tolist() for column in asked), strict=True))
    ]
    sampler = Sampler(stage_1, embeds, stage_1.size, **SAMPLING, guidance_scale=guidance_scale, progress=progress)
    x_0 = torch.cat([run("text_to_image", {}, sampler, chunk)["x_0"] for chunk in _chunks(samples)])
    return compare(read_pictures(judge, x_0), asked)


def anagram_accuracy(
    stage_1: Stage,
    embeds: dict[str, Tensor],
    judge: Judge,
    guidance_scale: float,
    view: str,
    digits: tuple[str, str],
    n: int,
    progress: Callable,
) -> dict[str, dict]:
    """How often an anagram, yellow on blue, reads as its first digit, as its second under the view, and as both."""
    prompts = [f"a yellow {digit} on a blue background" for digit in digits]
    views = [{"view": name, "prompt": p, "seed": 0} for name, p in zip(("identity", view), prompts, strict=True)]
    sampler = Sampler(stage_1, embeds, stage_1.size, **SAMPLING, guidance_scale=guidance_scale, progress=progress)
    x_0 = run("visual_anagram", {"views": views, "away": 0}, sampler, [{"seed": seed} for seed in range(n)])["x_0"]
    first = read_pictures(judge, x_0).digit == DIGITS.index(digits[0])
    seen = make_view(view, stage_1.size, 0).view(x_0)
    second = read_pictures(judge, seen).digit == DIGITS.index(digits[1])
    return {name: rate(int(a.sum()), n) for name, a in (("first", first), ("second", second), ("both", first & second))}


def enlargement(
    stage_2: Stage, embeds: dict[str, Tensor], judge: Judge, digits: Tensor, labels: Tensor, progress: Callable
) -> dict:
    """Stage II on real digits reduced to stage I's size, without guidance, each with its own prompt.

    Args: digits (N, 32, 32) uint8 and labels (N,), of the test set.
    Returns: mean PSNR per picture in dB, of stage II and of bilinear enlargement, and how often the digit and both
        colours are kept.
    """
    generator = torch.Generator().manual_seed(1)
    asked = coloured_digits(len(digits), generator)._replace(digit=labels)
    real = paint_digits(digits, asked, generator)
    low = F.avg_pool2d(real, 2)
    samples = [
        {"prompt": prompt_for(*named), "seed": seed}
        for seed, named in enumerate(zip(*(column.tolist() for column in asked), strict=True))
    ]
    sampler = Sampler(
        stage_2,
        embeds,
        low.shape[-1],
        **SAMPLING,
        guidance_scale=1.0,
        progress=progress,
    )
    chunks = zip(_chunks(samples), low.split(CHUNK), strict=True)
    x_0 = torch.cat([run("text_to_image", {}, sampler, chunk, small)["x_0"] for chunk, small in chunks])
    bilinear = F.interpolate(low, real.shape[-2:], mode="bilinear")
    seen = read_pictures(judge, x_0)
    colours = (seen.foreground == asked.foreground) & (seen.background == asked.background)
    return {
        "psnr": float(psnr(x_0, real).mean()),
        "psnr_bilinear": float(psnr(bilinear, real).mean()),
        "n": len(real),
        "noise_level": stage_2.network.noise_level,
        "digit kept": rate(int((seen.digit == labels).sum()), len(labels)),
        "colours kept": rate(int(colours.sum()), len(labels)),
    }


CHUNK = 250  # samples in a batch


def _chunks(samples: list[dict]) -> Iterable[list[dict]]:
    return [samples[i : i + CHUNK] for i in range(0, len(samples), CHUNK)]
