"""A stage of the cascade and how to sample from it: what every task of an experiment is made with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from fun.data.images import load_image
from fun.data.prompts import normalise
from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.cascade import Stage
from fun.diffusion.guidance import Branch, is_guided, predict
from fun.diffusion.inversion import ddim_inversion
from fun.diffusion.sampling import State, denoise, make_step, on_path, randn
from fun.diffusion.schedule import NoiseSchedule, path_of


@dataclass(frozen=True)
class Sampler:
    """A stage, and how to sample from it."""

    stage: Stage
    embeds: dict[str, Tensor]  # {normalised prompt: (L, D)}
    grid: int  # side length in pixels of stage I's pictures, also if `stage` is stage II
    sampler: str  # see sampling.make_step
    steps: int
    spacing: str  # see timesteps.spaced_timesteps
    variance: str  # for the sampler "ddpm": "learned", "small" or "large"
    thresholding: bool | str  # True: as the scheduler's config says; "clip": to [-1, 1]
    guidance_scale: float
    guidance_interval: Sequence[float] = (0, 1)  # shares of T: guided only there, see guidance.is_guided
    path: str | None = None  # from noise to image, by its name in SCHEDULES; None: the network's own
    negative_prompt: str = ""  # what guidance leads away from
    max_batch: int | None = None
    progress: Callable[..., Iterable] = lambda states, description, total: states

    def cond(self, samples: Sequence[dict], prompt: str | None = None) -> Tensor:
        """(N, L, D) on the stage's device: the embedding of `prompt` for all N samples, or of each sample's own prompt if None."""
        prompts = [sample["prompt"] if prompt is None else prompt for sample in samples]
        return torch.stack([self.embeds[normalise(prompt)] for prompt in prompts]).to(self.stage.device)

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The path from noise to image."""
        return path_of(self.stage.schedule, self.path)

    def image(self, path: str) -> Tensor:
        """The picture `path` at this stage's size: (1, 3, size, size)."""
        return torch.from_numpy(load_image(path, self.stage.size))[None].to(self.stage.device)

    def first_noise(self, samples: Sequence[dict]) -> tuple[Tensor, list[torch.Generator]]:
        """Each sample's first noise (N, 3, size, size), and the generators for later draws."""
        generators = [torch.Generator().manual_seed(sample["seed"]) for sample in samples]
        size = self.stage.size
        return randn((self.stage.channels, size, size), generators, self.stage.device), generators

    def walk(
        self,
        samples: Sequence[dict],
        branches: Sequence[Branch],
        low: Tensor | None = None,
        image: Tensor | None = None,
        start: int | None = None,
        inverted: bool = False,
        put_back: Callable[[Tensor, Tensor], Tensor] | None = None,
        from_start: bool = False,
        reshape: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[State]:
        """Run the reverse loop; yields its states.

        Args:
            samples: N samples, each with a "seed"; in stage I each may have a "guidance_scale" of its own.
            low: (N, 3, h, w), the pictures for stage II to enlarge.
            image, start: begin with `image` (1, 3, H, W) noised to the timestep `start`, instead of with pure noise.
            inverted: the noise that `image` gets is the one that it is drawn from, not the sample's (see `ddim_inversion`).
            image, put_back: after each step, put back what is known of `image`: put_back(x, known) is x with that part taken
                from known, which is `image` noised to the same timestep.
            from_start: put it back before the first step, too.
            reshape: applied to each estimate of x_0, after thresholding.
        """
        stage, schedule = self.stage, self.schedule
        x_t, generators = self.first_noise(samples)
        timesteps = spaced_timesteps(self.spacing, schedule.num_train_timesteps, self.steps)
        if start is not None and not inverted:
            x_t = schedule.q_sample(image, start, x_t)

        def with_known(x, t):
            known = image if t < 0 else schedule.q_sample(image, t, randn(x.shape[1:], generators, x.device))
            return put_back(x, known)

        network = on_path(stage.network, schedule, stage.channels)
        scale = self._guidance_scale(samples, low)
        unconditional = self.cond(samples, self.negative_prompt)
        companion = None if low is None else stage.companion(low, generators)
        if from_start:
            x_t = with_known(x_t, timesteps[0])

        def predict_all(x, t):
            guided = is_guided(stage.schedule, schedule, t, self.guidance_interval)
            return predict(network, x, t, branches, scale if guided else 1.0, unconditional, companion, self.max_batch)

        if inverted:
            unprompted = self.cond(samples, "")

            def predict_freely(x, t):
                return predict(network, x, t, [Branch(unprompted)], max_batch=self.max_batch)

            upwards = [start, *(t for t in timesteps if t < start)]
            x_t = ddim_inversion(schedule, predict_freely, image.expand_as(x_t), upwards, generators)
        keep_in_range = partial(torch.clamp, min=-1, max=1) if self.thresholding == "clip" else stage.threshold

        def threshold(x_0):
            x_0 = keep_in_range(x_0) if self.thresholding and keep_in_range else x_0
            return x_0 if reshape is None else reshape(x_0)

        states = denoise(
            schedule,
            predict_all,
            x_t,
            timestep_pairs(timesteps, start),
            self._step(),
            generators,
            threshold=threshold,
            constraint=None if put_back is None else with_known,
        )
        return self.progress(states, f"{len(samples)} samples", len(timesteps))

    def _guidance_scale(self, samples, low):
        """A number if all samples have the same scale, else (N,). Scales of single samples apply to stage I only."""
        if low is not None:
            return self.guidance_scale
        scales = [sample.get("guidance_scale", self.guidance_scale) for sample in samples]
        return scales[0] if len(set(scales)) == 1 else torch.tensor(scales)

    def _step(self):
        if (self.sampler, self.variance) == ("ddpm", "learned") and not self.stage.learned_variance:
            raise ValueError("this network predicts no variance: variance must be small or large, not learned")
        return make_step(self.sampler, self.variance)
