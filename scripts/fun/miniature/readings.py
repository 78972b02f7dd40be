"""Does an experiment show what its prompts ask for? The judge reads every sample; the rates are over all of them.

A reading is right when everything that the prompt names (digit, foreground, background) is seen.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fun.diffusion.filters import gaussian_blur
from fun.diffusion.views import make_view
from fun.judging.scores import rate
from fun.miniature.judge import Judge, Shown, read_pictures
from fun.miniature.pictures import COLOURS, DIGITS, UNNAMED, Prompt

Read = Callable[[Tensor], Shown]


def named(text: str) -> Prompt:
    """What a prompt names: its only digit word; the colour before "background"; the only other colour."""
    words = text.lower().split()
    digits = [DIGITS.index(word) for word in words if word in DIGITS]
    pairs = [(word, "".join(words[i + 1 : i + 2])) for i, word in enumerate(words)]
    background = [COLOURS.index(word) for word, after in pairs if word in COLOURS and after == "background"]
    foreground = [COLOURS.index(word) for word, after in pairs if word in COLOURS and after != "background"]
    return Prompt(text, *(found[0] if len(found) == 1 else UNNAMED for found in (digits, foreground, background)))


def seen(reading: Shown, prompts: Sequence[str]) -> Tensor:
    """(N,) bool: whether each picture shows everything that its prompt names. True where it names nothing."""
    asked = torch.tensor([named(prompt)[1:] for prompt in prompts])  # (N, 3)
    return ((torch.stack(list(reading), dim=1) == asked) | (asked == UNNAMED)).all(1)


def describe(reading: Shown) -> list[str]:
    """Each reading in words: "red seven on blue"."""
    rows = zip(*(column.tolist() for column in reading), strict=True)
    return [f"{COLOURS[foreground]} {DIGITS[digit]} on {COLOURS[background]}" for digit, foreground, background in rows]


def _ask(samples: list[dict]) -> bool:
    """Whether any sample's prompt names something: no picture can miss a prompt that names nothing."""
    return any(named(sample["prompt"])[1:] != (UNNAMED,) * 3 for sample in samples if "prompt" in sample)


def _count(name: str, right: Tensor) -> dict:
    return {"name": name, "goal": "higher"} | rate(int(right.sum()), len(right))


def _by(key: str, words: str, samples: list[dict], name: str, right: Tensor) -> list[dict]:
    """A rate for each value of `key` among the samples, or one rate if they all have the same value or none."""
    values = list(dict.fromkeys(sample.get(key) for sample in samples))
    if len(values) == 1:
        return [_count(name, right)]
    of = torch.tensor([values.index(sample.get(key)) for sample in samples])
    return [_count(f"{name}, {words} {value:g}", right[of == i]) for i, value in enumerate(values)]


# Tasks: (read, tensors of the stage, samples, experiment) -> (success (N,) bool, metrics).


def text_to_image(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    right = seen(read(tensors["x_0"]), [sample["prompt"] for sample in samples])
    return right, _by("guidance_scale", "guidance", samples, "prompt seen", right) if _ask(samples) else []


def image_to_image(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    reading = read(tensors["x_0"])
    right = seen(reading, [sample["prompt"] for sample in samples])
    metrics = _by("start", "from t =", samples, "prompt seen", right) if _ask(samples) else []
    if "original" in tensors:
        kept = reading.digit == read(tensors["original"]).digit
        metrics += _by("start", "from t =", samples, "digit of the source kept", kept)
    return right, metrics


def inpainting(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    right = seen(read(tensors["x_0"]), [sample["prompt"] for sample in samples])
    return right, [_count("prompt seen", right)] if _ask(samples) else []


def visual_anagram(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    x_0, metrics = tensors["x_0"], []
    every = torch.ones(len(x_0), dtype=torch.bool)
    for view in experiment["views"]:
        # The view has stage I's grid for all stages, so that its permutation is the same in stage II's pictures.
        turned = make_view(view["view"], tensors["grid"], view["seed"]).view(x_0)
        right = seen(read(turned), [view["prompt"]] * len(x_0))
        metrics.append(_count(f"“{view['prompt']}” under {view['view']}", right))
        every &= right
    return every, [*metrics, _count("all readings at once", every)]


def hybrid_image(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    x_0 = tensors["x_0"]
    near = read(x_0).digit == named(experiment["prompts"][-1]).digit
    sigma = experiment["sigmas"][0] * x_0.shape[-1] / tensors["grid"]
    far = read(gaussian_blur(x_0, sigma)).digit == named(experiment["prompts"][0]).digit
    metrics = [_count(f"“{experiment['prompts'][-1]}” from near", near)]
    metrics += [_count(f"“{experiment['prompts'][0]}” from afar (blurred)", far), _count("both", near & far)]
    return near & far, metrics


def upsample(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    small, large = read(tensors["low"]), read(tensors["x_0"])
    right = torch.stack([a == b for a, b in zip(small, large, strict=True)]).all(0)
    return right, [_count("digit and colours kept", right)]


def denoising(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> tuple[Tensor, list[dict]]:
    digit = read(tensors["original"]).digit
    ways = {"noisy": "noisy", "blur": "blurred", "one_step": "one step", "x_0": "all steps"}
    right = {way: read(tensors[way]).digit == digit for way in ways}
    metrics = [m for w, kept in right.items() for m in _by("timestep", "t =", samples, f"digit kept, {ways[w]}", kept)]
    return right["x_0"], metrics


READINGS = {
    "denoising": denoising,
    "text_to_image": text_to_image,
    "image_to_image": image_to_image,
    "inpainting": inpainting,
    "visual_anagram": visual_anagram,
    "hybrid_image": hybrid_image,
    "upsample": upsample,
}


def judge_digits(judge: Judge, experiment: dict, tensors: dict, samples: list[dict], grid: int) -> dict:
    """Score a stage's pictures with the judge.

    Args:
        tensors: of the stage's file: x_0 (N, 3, H, W) and whatever else the task made.
        grid: side of stage I's pictures in pixels.

    Returns: {"success": N of True or False (None if the prompts name nothing), "reads": N texts, "metrics": rates as a
    figure shows them}.
    """
    task = experiment["task"]

    def read(pictures):
        return read_pictures(judge, pictures)

    success, metrics = READINGS[task](read, tensors | {"grid": grid}, samples, experiment)
    if any("prompt" in sample for sample in samples) and not _ask(samples):
        success = [None] * len(samples)
    else:
        success = success.tolist()
    return {"success": success, "reads": describe(read(tensors["x_0"])), "metrics": metrics}
