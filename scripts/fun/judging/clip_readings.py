"""Does an experiment show what its prompts ask for? CLIP's answer, for any cascade (judge.py reads only digits).

A picture is read as its task means it to be seen (`readings_of`). A reading is right when it matches its own prompt better than any other prompt of the experiment.
The scores over several readings are those of Visual Anagrams (https://arxiv.org/abs/2311.17919).
"""

import torch
from torch import Tensor

from fun.judging.clip import Clip
from fun.judging.outcomes import outcomes
from fun.judging.readings import Reading, readings_of
from fun.judging.scores import rate

AXES = ("sampler", "steps", "guidance_scale", "pieces", "start", "timestep")  # what samples may differ in


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
    metrics = rates_of(readings, right) if len(prompts) > 1 else []
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
    scores = [f"{named(r, i)}: {between[i, j, j]:.3f}" for j, r in enumerate(readings)]
    return ", ".join([*scores, *([f"concealment: {concealed[i]:.3f}"] if len(readings) > 1 else [])])


def named(reading: Reading, i: int) -> str:
    """What picture i is to show in a reading, and how it is seen."""
    return f"“{reading.prompts[i]}” {reading.name}".rstrip()


def rates_of(readings: list[Reading], right: Tensor) -> list[dict]:
    """How often each reading is nearest to its own prompt, and how often all of them, one, or none are at once."""
    if len(readings) == 1:
        return [{"name": "nearest to its own prompt", "goal": "higher"} | rate(int(right.sum()), len(right))]
    names, short = [named(reading, 0) for reading in readings], [f"“{reading.prompts[0]}”" for reading in readings]
    return outcomes(names, right.T.tolist(), short)


def _means(name, samples, scores):
    """The mean score and the best seed, for each combination of values of AXES."""
    groups = {}
    for i, sample in enumerate(samples):
        which = "".join(f", {key.split('_')[0]} {sample[key]}" for key in AXES if key in sample)
        groups.setdefault(which, []).append(i)
    metrics = []
    for which, group in groups.items():
        best = max(group, key=lambda i: scores[i].item())
        note = f"best: {scores[best]:.3f}, seed {samples[best]['seed']}"
        value = scores[group].mean().item()
        metrics.append({"name": f"{name}{which}", "value": value, "n": len(group), "note": note, "goal": "higher"})
    return metrics
