"""The tasks of an experiment, each a few lines on top of the one reverse loop.

An experiment is a whole figure. Its samples are the product of its axes (prompts, guidance scales, start timesteps,
seeds); they go through the network as one batch. A task's function makes stage I's pictures or, given the small
pictures `low`, stage II's. SDEdit: https://arxiv.org/abs/2108.01073; inpainting: https://arxiv.org/abs/2201.09865.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from diffusion.cascade import Stage
from diffusion.filters import frequency_bands, gaussian_blur
from diffusion.guidance import Branch, predict_noise
from diffusion.images import MASKS, load_image, load_mask, make_mask
from diffusion.prompts import normalise
from diffusion.sampling import STEPS, State, denoise, randn, spaced_timesteps, timestep_pairs
from diffusion.similarity import psnr, ssim
from diffusion.views import make_view


@dataclass(frozen=True)
class Sampler:
    """A stage, with how to sample from it."""

    stage: Stage
    embeds: dict[str, Tensor]  # of each normalised prompt: (L, D)
    grid: int  # stage I's pixels on a side, also where `stage` is stage II
    sampler: str  # a name of sampling.STEPS
    steps: int
    spacing: str  # see sampling.spaced_timesteps
    variance: str  # "learned", "small" or "large", of the sampler "ddpm"
    thresholding: bool
    guidance_scale: float
    max_batch: int | None = None
    noise_level: int | None = None  # of stage II's companion
    progress: Callable[..., Iterable] = lambda steps, description, total: steps

    def cond(self, prompts: Sequence[str]) -> Tensor:
        """(N, L, D) of N prompts."""
        return torch.stack([self.embeds[normalise(prompt)] for prompt in prompts])

    def image(self, path: str) -> Tensor:
        """The picture `path` at this stage's size: (1, 3, size, size)."""
        return torch.from_numpy(load_image(path, self.stage.size))[None].to(self.stage.device)

    def noise(self, samples: Sequence[dict]) -> tuple[Tensor, list[torch.Generator]]:
        """Each sample's first draw (N, 3, size, size), and the generators to go on with."""
        generators = [torch.Generator().manual_seed(sample["seed"]) for sample in samples]
        return randn((3, self.stage.size, self.stage.size), generators, self.stage.device), generators

    def walk(
        self,
        samples: Sequence[dict],
        branches: Sequence[Branch],
        low: Tensor | None = None,
        image: Tensor | None = None,
        start: int | None = None,
        unknown: Tensor | None = None,
    ) -> Iterator[State]:
        """The states of the reverse loop for these samples.

        Args:
            samples: N of them, each with its "seed", and with a "guidance_scale" where it has one of its own.
            low: (N, 3, h, w), the pictures that stage II enlarges.
            image, start: begin with `image` (1, 3, H, W) noised to the timestep `start`, instead of with pure noise.
            image, unknown: after each step put `image`, noised as far, back where `unknown` (H, W) is False.
        """
        stage = self.stage
        x_t, generators = self.noise(samples)
        timesteps = spaced_timesteps(self.spacing, stage.schedule.num_train_timesteps, self.steps)
        if start is not None:
            x_t = stage.schedule.q_sample(image, start, x_t)
            timesteps = [start, *(t for t in timesteps if t < start)]
        predict = partial(
            predict_noise,
            stage.network,
            branches=branches,
            guidance_scale=self._guidance(samples, low),
            unconditional=self.cond([""] * len(samples)),
            companion=None if low is None else stage.companion(low, self.noise_level, generators),
            max_batch=self.max_batch,
        )

        def keep_known(x, t):
            known = image if t < 0 else stage.schedule.q_sample(image, t, randn(x.shape[1:], generators, x.device))
            return torch.where(unknown, x, known)

        states = denoise(
            stage.schedule,
            predict,
            x_t,
            timestep_pairs(timesteps),
            self._step(),
            generators,
            stage.threshold if self.thresholding else None,
            None if unknown is None else keep_known,
        )
        return self.progress(states, f"{len(samples)} samples", len(timesteps))

    def _guidance(self, samples, low):
        """One number where all samples have the same; in stage II always the stage's own."""
        scales = [self.guidance_scale if low is not None else s.get("guidance_scale", self.guidance_scale) for s in samples]
        return scales[0] if len(set(scales)) == 1 else torch.tensor(scales)

    def _step(self):
        if self.sampler != "ddpm":
            return STEPS[self.sampler]
        if self.variance == "learned" and not self.stage.learned_variance:
            raise ValueError("variance is learned, but this network predicts none; use small or large")
        return partial(STEPS["ddpm"], variance=self.variance)


# --- tasks: (sampler, samples, low, entries of the experiment) -> tensors, x_0 (N, 3, size, size) among them ---


def forward_process(sampler: Sampler, samples: list[dict], low: None, image: str) -> dict[str, Tensor]:
    """The picture noised to each sample's timestep: x_t. No network is asked."""
    x_0 = sampler.image(image)
    noise, _ = sampler.noise(samples)
    schedule = sampler.stage.schedule
    t = torch.tensor([sample["timestep"] for sample in samples])
    return {"x_0": x_0, "x_t": schedule.q_sample(x_0, t, noise), "alpha_bar": schedule.alpha_bar(t).float()}


def denoising(
    sampler: Sampler, samples: list[dict], low: None, image: str, prompt: str, keep_every: int
) -> dict[str, Tensor]:
    """Noise the picture, and denoise it in four ways: blurred, blurred in proportion (x_t / sqrt(abar_t)), in one step
    of the network, in all its steps. Each with its PSNR (N,) and SSIM (N,) against the picture. Also every k-th state of
    the first sample on its longest way."""
    original = sampler.image(image)
    noise, _ = sampler.noise(samples)
    schedule = sampler.stage.schedule
    t = torch.tensor([sample["timestep"] for sample in samples])
    x_t = schedule.q_sample(original, t, noise)
    ways = {"noisy": x_t, "one_step": torch.empty_like(x_t), "x_0": torch.empty_like(x_t)}
    ways["blur"], sigma_blur = best_blur(x_t, original)
    ways["fair_blur"], sigma_fair = best_blur(x_t / schedule.alpha_bar(t).sqrt().view(-1, 1, 1, 1).to(x_t), original)
    for start in sorted({sample["timestep"] for sample in samples}):
        rows = [i for i, sample in enumerate(samples) if sample["timestep"] == start]
        group = [samples[i] for i in rows]
        branch = Branch(sampler.cond([prompt] * len(group)))
        states = list(sampler.walk(group, [branch], image=original, start=start))
        ways["one_step"][rows], ways["x_0"][rows] = states[0].x_0, states[-1].x_t  # the loop's first estimate is it
    kept = [i for i in range(len(states)) if i % keep_every == 0 or i == len(states) - 1]
    scores = {f"psnr_{way}": psnr(x, original) for way, x in ways.items()}
    scores |= {f"ssim_{way}": ssim(x, original) for way, x in ways.items()}
    return ways | scores | {
        "original": original,
        "sigma_blur": sigma_blur,
        "sigma_fair_blur": sigma_fair,
        "states": torch.stack([states[i].x_t[0] for i in kept]),
        "estimates": torch.stack([states[i].x_0[0] for i in kept]),
        "timesteps": torch.tensor([states[i].t for i in kept]),
    }


def best_blur(x: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture blurred with the Gaussian that brings it nearest to the original, and that Gaussian's sigma (N,):
    the best that blurring can do, as it would need to know the original."""
    sigmas = torch.arange(1, 33) / 64 * original.shape[-1] / 4  # up to an eighth of the picture
    blurred = torch.stack([x, *(gaussian_blur(x, sigma.item()) for sigma in sigmas)])  # (S, N, 3, H, W)
    best = torch.stack([psnr(candidate, original) for candidate in blurred]).argmax(0)
    return blurred[best, torch.arange(len(x))], torch.cat([torch.zeros(1), sigmas])[best.cpu()]


def text_to_image(sampler: Sampler, samples: list[dict], low: Tensor | None) -> dict[str, Tensor]:
    """From pure noise to a picture of the prompt."""
    return {"x_0": last(sampler.walk(samples, prompt_branch(sampler, samples), low))}


def image_to_image(sampler: Sampler, samples: list[dict], low: Tensor | None, image: str) -> dict[str, Tensor]:
    """SDEdit: the picture noised to each sample's start timestep, and denoised from there."""
    if low is not None:
        return text_to_image(sampler, samples, low)
    original = sampler.image(image)
    x_0 = torch.empty(len(samples), *original.shape[1:], device=original.device)
    for start in sorted({sample["start"] for sample in samples}):
        rows = [i for i, sample in enumerate(samples) if sample["start"] == start]
        group = [samples[i] for i in rows]
        x_0[rows] = last(sampler.walk(group, prompt_branch(sampler, group), image=original, start=start))
    return {"x_0": x_0, "original": original}


def inpainting(sampler: Sampler, samples: list[dict], low: Tensor | None, image: str, mask: str) -> dict[str, Tensor]:
    """Pure noise becomes a picture where the mask is; elsewhere the known picture is put back after each step."""
    original = sampler.image(image)
    size = sampler.stage.size
    unknown = torch.from_numpy(make_mask(mask, size) if mask in MASKS else load_mask(mask, size)).to(original.device)
    states = sampler.walk(samples, prompt_branch(sampler, samples), low, image=original, unknown=unknown)
    return {"x_0": last(states), "original": original, "mask": unknown}


def visual_anagram(sampler: Sampler, samples: list[dict], low: Tensor | None, views: list[dict]) -> dict[str, Tensor]:
    """One picture that shows each prompt under its view: the mean of what the views ask for."""
    branches = [
        Branch(sampler.cond([view["prompt"]] * len(samples)), make_view(view["view"], sampler.grid, view["seed"]), mean)
        for view in views
        for mean in [lambda x: x / len(views)]
    ]
    return {"x_0": last(sampler.walk(samples, branches, low))}


def hybrid_image(
    sampler: Sampler,
    samples: list[dict],
    low: Tensor | None,
    prompts: list[str],
    sigmas: list[float],
    kernel_size: int | None,
) -> dict[str, Tensor]:
    """One picture whose coarse structure shows the first prompt and whose fine structure shows the last."""
    factor = sampler.stage.size // sampler.grid
    kernel_size = None if kernel_size is None else (kernel_size - 1) * factor + 1
    bands = frequency_bands([sigma * factor for sigma in sigmas], kernel_size)
    branches = [
        Branch(sampler.cond([prompt] * len(samples)), part=band) for prompt, band in zip(prompts, bands, strict=True)
    ]
    return {"x_0": last(sampler.walk(samples, branches, low))}


def upsample(sampler: Sampler, samples: list[dict], low: None, image: str) -> dict[str, Tensor]:
    """Stage II alone, on the picture made as small as stage I's."""
    low = torch.from_numpy(load_image(image, sampler.grid))[None].expand(len(samples), -1, -1, -1)
    return {"x_0": last(sampler.walk(samples, prompt_branch(sampler, samples), low)), "low": low[:1]}


@dataclass(frozen=True)
class Task:
    """A task's function, which entries of an experiment span its samples (and what each is called there), and which
    are given to the function."""

    run: Callable[..., dict[str, Tensor]]
    axes: dict[str, str]
    entries: tuple[str, ...] = ()


TASKS = {
    "forward_process": Task(forward_process, {"timesteps": "timestep", "seeds": "seed"}, ("image",)),
    "denoising": Task(denoising, {"timesteps": "timestep", "seeds": "seed"}, ("image", "prompt", "keep_every")),
    "text_to_image": Task(
        text_to_image, {"prompts": "prompt", "guidance_scales": "guidance_scale", "seeds": "seed"}
    ),
    "image_to_image": Task(image_to_image, {"starts": "start", "seeds": "seed"}, ("image",)),
    "inpainting": Task(inpainting, {"seeds": "seed"}, ("image", "mask")),
    "visual_anagram": Task(visual_anagram, {"seeds": "seed"}, ("views",)),
    "hybrid_image": Task(hybrid_image, {"seeds": "seed"}, ("prompts", "sigmas", "kernel_size")),
    "upsample": Task(upsample, {"seeds": "seed"}, ("image",)),
}
