"""Does an experiment show what its prompts ask for? CLIP's answer, for any cascade (judge.py reads only digits).

A picture is read as its task means it to be seen: an anagram under each view, a hybrid from each distance, any other
unchanged. A reading is right when it matches its own prompt better than any other prompt of the experiment.
The scores over several readings are those of Visual Anagrams (https://arxiv.org/abs/2311.17919).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fun.diffusion.filters import gaussian_blur
from fun.diffusion.views import make_view
from fun.judging.clip import Clip
from fun.judging.outcomes import outcomes
from fun.judging.scores import rate

AXES = {"guidance_scale": "guidance", "start": "start", "timestep": "timestep"}  # what samples may differ in: labels


class Reading(NamedTuple):
    """One way of seeing N pictures."""

    name: str  # "under rotate_180", "from near", or "" for unchanged
    pictures: Tensor  # (N, 3, H, W)
    prompts: list[str]  # N: what each is meant to show


def readings_of(experiment: dict, x_0: Tensor, samples: list[dict], grid: int) -> list[Reading]:
    """The ways in which an experiment's pictures x_0 (N, 3, H, W) are meant to be seen. grid: side of stage I in pixels."""
    n = len(x_0)
    if "views" in experiment:
        views = [(make_view(v["view"], grid, v["seed"]), v["prompt"]) for v in experiment["views"]]
        return [Reading(f"under {view.name}", view.view(x_0), [prompt] * n) for view, prompt in views]
    if "sigmas" in experiment:
        sigmas = [sigma * x_0.shape[-1] / grid for sigma in experiment["sigmas"]]
        seen = [(f"blurred by {sigma:g} pixels", gaussian_blur(x_0, sigma)) for sigma in sigmas] + [("from near", x_0)]
        return [Reading(*s, [prompt] * n) for s, prompt in zip(seen, experiment["prompts"], strict=True)]
    return [Reading("", x_0, [sample["prompt"] for sample in samples])]


def alignment(cosines: Tensor) -> Tensor:
    """(N,): the lowest cosine of a reading with its own prompt, from (N, R, R) cosines of readings with their prompts."""
    return cosines.diagonal(dim1=1, dim2=2).min(1).values


def concealment(cosines: Tensor, temperature: float) -> Tensor:
    """(N,): how reliably the readings are told apart. The mean of two probabilities: of the right prompt given the
    reading, and of the right reading given the prompt."""
    logits = cosines / temperature
    right = [logits.softmax(dim).diagonal(dim1=1, dim2=2).mean(1) for dim in (1, 2)]
    return torch.stack(right).mean(0)


def judge_by_clip(clip: Clip, experiment: dict, x_0: Tensor, samples: list[dict], grid: int) -> dict:
    """Score a stage's pictures x_0 (N, 3, H, W) with CLIP. The other arguments are those of `readings_of`.

    Returns: {"success": N of True or False, or of None if the experiment has only one prompt; "reads": N texts;
    "ranks": N texts, None where there is nothing to compare with; "metrics": as a figure shows them}; and if there are several
    readings and prompts, "readings": for each {"reads": N texts, the nearest prompt; "right": N of True or False}.
    """
    readings = readings_of(experiment, x_0, samples, grid)
    prompts = sorted({prompt for reading in readings for prompt in reading.prompts})
    texts = clip.embed_texts(prompts)
    cosines = torch.stack([clip.embed_pictures(reading.pictures) @ texts.T for reading in readings], dim=1)  # (N, R, P)
    own = torch.tensor([[prompts.index(prompt) for prompt in reading.prompts] for reading in readings]).T  # (N, R)
    right = cosines.argmax(2) == own
    between = cosines.gather(2, own[:, None].expand(-1, len(readings), -1))  # (N, R, R)
    aligned, concealed = alignment(between), concealment(between, clip.temperature)
    metrics = _rates(readings, right) if len(prompts) > 1 else []
    if len(readings) == 1:
        metrics += _means("CLIP score", samples, aligned)
    else:
        metrics += _means("alignment (CLIP score of the worst reading)", samples, aligned)
        metrics += _means("concealment", samples, concealed)
    judged = {
        "success": right.all(1).tolist() if len(prompts) > 1 else [None] * len(samples),
        "reads": [_describe(readings, between, concealed, i) for i in range(len(samples))],
        "ranks": rank_seeds(samples, aligned),
        "metrics": metrics,
    }
    if len(readings) == 1 or len(prompts) == 1:
        return judged
    nearest = [[prompts[place] for place in places] for places in cosines.argmax(2).T.tolist()]
    pairs = zip(nearest, right.T.tolist(), strict=True)
    return judged | {"readings": [{"reads": reads, "right": seen} for reads, seen in pairs]}


def rank_seeds(samples: list[dict], scores: Tensor) -> list[str | None]:
    """'rank 1 of 4' for each sample, among those that differ only in their seed; the highest score ranks first."""
    groups = {}
    for i, sample in enumerate(samples):
        groups.setdefault(repr(sorted((k, v) for k, v in sample.items() if k != "seed")), []).append(i)
    ranks = [None] * len(samples)
    for group in groups.values():
        for place, i in enumerate(sorted(group, key=lambda i: -scores[i].item()), 1):
            ranks[i] = f"rank {place} of {len(group)}" if len(group) > 1 else None
    return ranks


def _describe(readings, between, concealed, i):
    """CLIP's scores of picture i in words: "“a skull” from near: 0.291, ..."."""
    scores = [f"{_named(r, i)}: {between[i, j, j]:.3f}" for j, r in enumerate(readings)]
    return ", ".join([*scores, *([f"concealment: {concealed[i]:.3f}"] if len(readings) > 1 else [])])


def _named(reading, i):
    return f"“{reading.prompts[i]}” {reading.name}".rstrip()


def _rates(readings, right):
    """How often each reading is nearest to its own prompt, and how often all of them, one, or none are at once."""
    if len(readings) == 1:
        return [{"name": "nearest to its own prompt", "goal": "higher"} | rate(int(right.sum()), len(right))]
    names, short = [_named(reading, 0) for reading in readings], [f"“{reading.prompts[0]}”" for reading in readings]
    return outcomes(names, right.T.tolist(), short)


def _means(name, samples, scores):
    """The mean score and the best seed, for each combination of values of AXES."""
    groups = {}
    for i, sample in enumerate(samples):
        which = "".join(f", {word} {sample[key]:g}" for key, word in AXES.items() if key in sample)
        groups.setdefault(which, []).append(i)
    metrics = []
    for which, group in groups.items():
        best = max(group, key=lambda i: scores[i].item())
        note = f"best: {scores[best]:.3f}, seed {samples[best]['seed']}"
        value = scores[group].mean().item()
        metrics.append({"name": f"{name}{which}", "value": value, "n": len(group), "note": note, "goal": "higher"})
    return metrics
