"""The hand behind a digit, and the same hand writing another one.

A digit is walked up to its noise (`fun.diffusion.inversion`) and down again as each of the ten.
"""

from functools import partial

import torch
from torch import Tensor

from fun.data.mnist import pick
from fun.data.timesteps import spaced_timesteps
from fun.diffusion.inversion import ddim_inversion, slerp
from fun.diffusion.sampling import Prediction
from fun.ideas.lab import Lab

SHOWN = 6  # digits whose hand writes the others
EACH = 4  # test digits of each class that are measured
STEPS = 25  # up, and down again
LOWEST = 0.07  # of T, where the walk up begins (docs/ideas.md)
STATES = 9  # between two noises


def slant(ink: Tensor) -> Tensor:
    """How far the strokes of digits lean, ink (N, 1, H, W) in [0, 1]: (N,), columns for each row downwards, by the second moments.
    Negative leans to the right."""
    ink = ink[:, 0]
    rows, columns = (torch.arange(n, dtype=ink.dtype) for n in ink.shape[1:])
    total = ink.sum((1, 2)).clamp(min=1e-6)
    down = rows[None, :, None] - (ink.sum(2) @ rows / total)[:, None, None]
    right = columns[None, None] - (ink.sum(1) @ columns / total)[:, None, None]
    return (ink * down * right).sum((1, 2)) / (ink * down**2).sum((1, 2)).clamp(min=1e-6)


def thickness(ink: Tensor) -> Tensor:
    """The width of the strokes of digits, ink (N, 1, H, W) in [0, 1], in pixels: (N,), twice the ink by the length of its edge."""
    ink = torch.nn.functional.pad(ink[:, 0], [1] * 4)
    down, right = ink.diff(dim=1)[:, :, :-1], ink.diff(dim=2)[:, :-1]
    return 2 * ink.sum((1, 2)) / torch.hypot(down, right).sum((1, 2)).clamp(min=1e-6)


def kept(of_sources: Tensor, of_drawn: Tensor, classes: Tensor) -> float:
    """How well a measure is kept by what was drawn as another digit: its correlation over the sources (N,) with each of the K digits (N, K)
    that they were drawn as, the mean over the K. Of each digit, sources of that class are left out."""
    found = []
    for digit, drawn in enumerate(of_drawn.T):
        others = classes != digit
        found.append(torch.corrcoef(torch.stack([of_sources[others], drawn[others]]))[0, 1])
    return float(torch.stack(found).mean())


def study(lab: Lab) -> dict:
    """Test digits as the other nine, how much of the hand is kept, and what lies between two noises."""
    images, labels = lab.test
    classes, n = torch.arange(10).repeat(EACH), 10 * EACH
    sources = images[pick(labels, classes)]
    noise = _inverted(lab, sources, classes)
    every = torch.arange(10).repeat(n)
    drawn = lab.draw(
        every, range(10 * n), x_t=noise.repeat_interleave(10, 0), sampler="ddim", spacing="trailing", num_steps=STEPS
    )
    again = lab.draw(
        classes, range(n), x_t=noise, sampler="ddim", spacing="trailing", num_steps=STEPS, guidance_scale=1.0
    )
    measures = {}
    train_images, train_labels = lab.train
    for name, measure in {"slant": slant, "thickness": thickness}.items():
        of_each = [measure(lab.ink(train_images[train_labels == digit][:1000])) for digit in range(10)]
        # A network that was trained on few images may have seen none of a digit.
        usual = torch.stack([one.mean() if len(one) else torch.cat(of_each).mean() for one in of_each])
        own = measure(lab.ink(sources)) - usual[classes]
        measures[name] = kept(own, measure(lab.ink(drawn)).view(n, 10), classes)
    seeds = [list(range(lab.seed, lab.seed + 10)), list(range(lab.seed + 10, lab.seed + 20))]
    ends = {
        "two seeds": [lab.noise(one) for one in seeds],
        "two written digits": [noise[:10], noise[10:20]],
    }
    between = {
        name: [
            lab.grey(lab.draw(torch.arange(10), range(10), x_t=slerp(*two, k / (STATES - 1)))) for k in range(STATES)
        ]
        for name, two in ends.items()
    }
    rows = [torch.cat([sources[i : i + 1], drawn[10 * i : 10 * i + 10]]) for i in _spread(10, SHOWN)]
    return {
        "rows": [lab.grey(row) for row in rows],
        "names": lab.names,
        "kept": measures,
        "reconstruction": float(
            10 * torch.log10(1 / (lab.ink(again) - lab.ink(sources)).square().mean((1, 2, 3))).mean()
        ),
        "between": between,
        "shares": [k / (STATES - 1) for k in range(STATES)],
        "steps": STEPS,
        "n": n,
    }


def _inverted(lab, x_0, labels):
    """The noise of digits, walked up with their own labels."""
    network, T = lab.network, lab.network.schedule.num_train_timesteps
    generators = [torch.Generator().manual_seed(lab.seed + i) for i in range(len(x_0))]

    def predict(x_t, t):
        return Prediction(*network(x_t, t, labels))

    timesteps = [t for t in spaced_timesteps("trailing", T, STEPS) if t >= LOWEST * T]
    return ddim_inversion(
        network.schedule, predict, x_0, timesteps, generators, partial(torch.clamp, min=lab.black, max=1)
    )


def _spread(n, count):
    """count of the numbers below n, evenly spread."""
    return [round(i * (n - 1) / (count - 1)) for i in range(count)]
