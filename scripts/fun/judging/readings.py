"""How a picture is meant to be seen: an anagram under each view, a hybrid from each distance, any other unchanged. The judges
read it so."""

from typing import NamedTuple

from torch import Tensor

from fun.diffusion.filters import gaussian_blur, grey, motion_blur
from fun.diffusion.views import make_view


class Reading(NamedTuple):
    """One way of seeing N pictures."""

    name: str  # "under rotate_180", "from near", or "" for unchanged
    pictures: Tensor  # (N, 3, H, W)
    prompts: list[str]  # N: what each is meant to show


def readings_of(experiment: dict, x_0: Tensor, samples: list[dict], grid: int) -> list[Reading]:
    """The ways in which an experiment's pictures x_0 (N, 3, H, W) are meant to be seen. grid: side of stage I in pixels."""
    n = len(x_0)
    if "views" in experiment:  # laid out on stage I's grid, so that a permutation is the same in stage II's pictures
        views = [(make_view(v["view"], grid, v["seed"]), v["prompt"]) for v in experiment["views"]]
        return [Reading(f"under {view.name}", view.view(x_0), [prompt] * n) for view, prompt in views]
    if experiment["task"] == "prompt_pairs":
        view = make_view(experiment["view"], grid, experiment["view_seed"])
        first, second = zip(*(sample["pair"] for sample in samples), strict=True)
        return [
            Reading("as drawn", x_0, list(first)),
            Reading(f"under {view.name}", view.view(x_0), list(second)),
        ]
    factor = x_0.shape[-1] / grid
    match experiment["task"]:
        case "hybrid_image":
            blurs = [(f"from afar (σ = {s:g})", gaussian_blur(x_0, s * factor)) for s in experiment["sigmas"]]
            seen = [*blurs, ("from near", x_0)]
        case "colour_hybrid":
            seen = [("without its colours", grey(x_0)), ("with its colours", x_0)]
        case "motion_hybrid":
            moved = motion_blur(x_0, experiment["length"] * factor, experiment["angle"])
            seen = [("in motion", moved), ("at rest", x_0)]
        case _:
            return [Reading("", x_0, [sample["prompt"] for sample in samples])]
    seen = seen[-len(experiment["prompts"]) :]  # the first part of an inverse hybrid shows a picture, not a prompt
    return [Reading(*s, [prompt] * n) for s, prompt in zip(seen, experiment["prompts"], strict=True)]
