"""How good a miniature cascade is, counted over samples: every rate with its number of trials and its interval.

Sampled as the experiments are: DDPM with the learned variance, 30 steps of the spacing "leading", thresholding.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.cascade import Stage
from diffusion.experiments import Sampler, run
from diffusion.judge import Judge, coloured_digits, compare, paint_readings, read_pictures
from diffusion.miniature import COLOURS, DIGITS, TEMPLATES
from diffusion.scores import rate
from diffusion.similarity import psnr
from diffusion.views import make_view

SAMPLING = {"sampler": "ddpm", "steps": 30, "spacing": "leading", "variance": "learned", "thresholding": True}

ANAGRAMS = {  # name: the view, and the digits seen without it and under it
    "six / nine, rotated by 180 degrees": ("rotate_180", "six", "nine"),
    "three / eight, rotated by 180 degrees": ("rotate_180", "three", "eight"),
    "two / five, flipped upside down": ("flip_vertical", "two", "five"),
}


def prompt_for(digit: int, foreground: int, background: int) -> str:
    """The prompt that names all three."""
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
    """How often an anagram, yellow on blue, reads as its first digit, under the view as its second, and as both."""
    prompts = [f"a yellow {digit} on a blue background" for digit in digits]
    views = [{"view": name, "prompt": p, "seed": 0} for name, p in zip(("identity", view), prompts, strict=True)]
    sampler = Sampler(stage_1, embeds, stage_1.size, **SAMPLING, guidance_scale=guidance_scale, progress=progress)
    x_0 = run("visual_anagram", {"views": views}, sampler, [{"seed": seed} for seed in range(n)])["x_0"]
    first = read_pictures(judge, x_0).digit == DIGITS.index(digits[0])
    seen = make_view(view, stage_1.size, 0).view(x_0)
    second = read_pictures(judge, seen).digit == DIGITS.index(digits[1])
    return {name: rate(int(a.sum()), n) for name, a in (("first", first), ("second", second), ("both", first & second))}


def enlargement(
    stage_2: Stage, embeds: dict[str, Tensor], judge: Judge, digits: Tensor, labels: Tensor, progress: Callable
) -> dict:
    """Stage II on real digits made as small as stage I's, without guidance, each with its own prompt.

    Args: digits (N, 32, 32) uint8 and labels (N,), of the test set.
    Returns: mean PSNR per picture in dB, of stage II and of bilinear enlargement, and how often the digit and both
        colours are still the real ones.
    """
    generator = torch.Generator().manual_seed(1)
    asked = coloured_digits(len(digits), generator)._replace(digit=labels)
    real = paint_readings(digits, asked, generator)
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
        noise_level=stage_2.network.noise_level,
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
