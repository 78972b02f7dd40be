"""The generator reads: digits by the class under which the network removes noise best, without any classifier."""

import torch

from fun.data.mnist import pick
from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.guidance import Branch, predict
from fun.diffusion.sampling import denoise, make_step
from fun.ideas.lab import CHUNK, Lab
from fun.judging.itself import denoising_errors
from fun.judging.scores import rate

READ, DRAWS = 200, 5  # test digits, and pairs of timestep and noise for each
BOTH, BETWEEN, SHOWN = (3, 8), 60, 20  # what digits between two classes are, how many are drawn, how many are shown


def study(lab: Lab) -> dict:
    """How often test digits are read as what they are, and digits between a three and an eight from the one to the other."""
    images, labels = lab.test
    chosen = pick(labels, torch.arange(10).repeat(READ // 10))
    errors = _errors(lab, images[chosen], range(10), DRAWS)
    right = rate(int((errors.argmin(1) == labels[chosen]).sum()), READ)

    between = draw_between(lab, BOTH, BETWEEN)
    errors = _errors(lab, between, BOTH, 2 * DRAWS)
    order = (errors[:, 1] - errors[:, 0]).argsort(descending=True)  # from the first class to the second
    shown = order[[round(i * (BETWEEN - 1) / (SHOWN - 1)) for i in range(SHOWN)]]
    return {
        "right": right,
        "both": [lab.names[one] for one in BOTH],
        "rows": [lab.grey(between[half]) for half in shown.chunk(2)],
        "draws": DRAWS,
    }


def draw_between(lab: Lab, classes: tuple[int, ...], n: int):
    """Digits (n, 1, 28, 28) that are to be all of the classes at once: their predictions are averaged, as an anagram's."""
    schedule = lab.network.schedule
    seeds = range(lab.seed, lab.seed + n)
    branches = [Branch(torch.full((n,), one), part=lambda x: x / len(classes)) for one in classes]
    states = denoise(
        schedule,
        lambda x, t: predict(lab.network, x, t, branches, max_batch=CHUNK),
        lab.noise(seeds),
        timestep_pairs(spaced_timesteps("trailing", schedule.num_train_timesteps, lab.sampling["num_steps"])),
        make_step("ddim"),
        [torch.Generator().manual_seed(seed) for seed in seeds],
        threshold=lambda x_0: x_0.clamp(lab.black, 1),
    )
    *_, last = states
    return last.x_t


def _errors(lab, x_0, classes, draws):
    told = [torch.full((len(x_0),), one) for one in classes]
    return denoising_errors(lab.network.schedule, lab.network, x_0, told, draws, lab.seed, max_batch=CHUNK)
