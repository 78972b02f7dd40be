"""Does an experiment show what its prompts ask for? The judge reads every sample; the rates are over all of them.

A reading is right when everything that the prompt names (digit, foreground, background) is seen. What cannot be judged has no
rate, and is in none.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fun.data.prompts import normalise
from fun.diffusion.filters import grey
from fun.judging.outcomes import outcomes
from fun.judging.readings import readings_of
from fun.judging.scores import rate
from fun.miniature.judge import Judge, Shown, read_pictures
from fun.miniature.pictures import COLOURS, DIGITS, UNNAMED, VOCABULARY, Prompt

Read = Callable[[Tensor], Shown]
START = {"start": "from t = {:g}"}


def named(text: str) -> Prompt | None:
    """What a prompt names: a digit, the colour before "background", another colour. None if no judge can tell whether a picture
    shows the prompt: it has a word that the miniature does not know, names nothing, or two of a kind.

    Words are split as the miniature's tokenizer splits them: at spaces only, so that "seven," is not known.
    """
    words = normalise(text).split()
    digits = [DIGITS.index(word) for word in words if word in DIGITS]
    pairs = [(word, "".join(words[i + 1 : i + 2])) for i, word in enumerate(words)]
    background = [COLOURS.index(word) for word, after in pairs if word in COLOURS and after == "background"]
    foreground = [COLOURS.index(word) for word, after in pairs if word in COLOURS and after != "background"]
    found = (digits, foreground, background)
    if not any(found) or max(map(len, found)) > 1 or not set(words) <= set(VOCABULARY):
        return None
    return Prompt(text, *(kind[0] if kind else UNNAMED for kind in found))


def seen(reading: Shown, prompts: Sequence[str]) -> list[bool | None]:
    """N: whether each picture shows everything that its prompt names; None if no judge can tell."""
    rows = zip(*(column.tolist() for column in reading), strict=True)
    asked = [named(prompt) for prompt in prompts]
    return [
        None
        if prompt is None
        else all(wanted in (UNNAMED, found) for wanted, found in zip(prompt[1:], row, strict=True))
        for prompt, row in zip(asked, rows, strict=True)
    ]


def describe(reading: Shown) -> list[str]:
    """Each reading in words: "red seven on blue"."""
    rows = zip(*(column.tolist() for column in reading), strict=True)
    return [f"{COLOURS[foreground]} {DIGITS[digit]} on {COLOURS[background]}" for digit, foreground, background in rows]


def _both(*rights: list[bool | None]) -> list[bool | None]:
    """N: whether every reading of a sample is right; None if no judge can tell of one of them."""
    return [None if None in readings else all(readings) for readings in zip(*rights, strict=True)]


def _count(name: str, right: list[bool | None]) -> list[dict]:
    """The rate over the samples that can be judged; none if there are none."""
    judged = [one for one in right if one is not None]
    return [{"name": name, "goal": "higher"} | rate(sum(judged), len(judged))] if judged else []


def _by(axes: dict[str, str], samples: list[dict], name: str, right: list[bool | None]) -> list[dict]:
    """A rate for each combination of values that the samples have on the axes, {entry of a sample: its words}; of an axis on
    which they are alike nothing is said."""
    axes = {key: words for key, words in axes.items() if len({sample.get(key) for sample in samples}) > 1}
    groups = {}
    for one, sample in zip(right, samples, strict=True):
        groups.setdefault(", ".join([name, *(words.format(sample[key]) for key, words in axes.items())]), []).append(
            one
        )
    return [metric for group, rights in groups.items() for metric in _count(group, rights)]


# Tasks: (read, tensors of the stage, samples, experiment) -> (success, N of True, False or None, and metrics), and of pictures of
# several readings also each reading, in the order of the views or prompts: {"reads": N texts, "right": N of True, False or None}.
Judged = tuple[list[bool | None], list[dict]] | tuple[list[bool | None], list[dict], list[dict]]


def text_to_image(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    right = seen(read(tensors["x_0"]), [sample["prompt"] for sample in samples])
    axes = {"sampler": "{}", "steps": "{} steps", "guidance_scale": "guidance {:g}"}
    return right, _by(axes, samples, "prompt seen", right)


def image_to_image(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    reading = read(tensors["x_0"])
    right = seen(reading, [sample["prompt"] for sample in samples])
    metrics = _by(START, samples, "prompt seen", right)
    if "original" in tensors:
        kept = (reading.digit == read(tensors["original"]).digit).tolist()
        metrics += _by(START, samples, "digit of the source kept", kept)
    return right, metrics


def inpainting(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    right = seen(read(tensors["x_0"]), [sample["prompt"] for sample in samples])
    return right, _count("prompt seen", right)


def visual_anagram(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    readings = []
    for _, pictures, prompts in readings_of(experiment, tensors["x_0"], samples, tensors["grid"]):
        found = read(pictures)
        readings.append({"reads": describe(found), "right": seen(found, prompts)})
    rights = [reading["right"] for reading in readings]
    names = [f"“{view['prompt']}” under {view['view']}" for view in experiment["views"]]
    short = [f"“{view['prompt']}”" for view in experiment["views"]]
    return _both(*rights), outcomes(names, rights, short), readings


def hybrids(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    """Compares digits alone: a blur mixes the colours, and so do two pictures in one."""
    names, readings, metrics = [], [], []
    for name, pictures, prompts in readings_of(experiment, tensors["x_0"], samples, tensors["grid"]):
        prompt = named(prompts[0])
        asked = UNNAMED if prompt is None else prompt.digit
        found = read(pictures).digit.tolist()
        right = [None if asked == UNNAMED else digit == asked for digit in found]
        names.append(f"{DIGITS[asked]} {name}")
        readings.append({"reads": [DIGITS[digit] for digit in found], "right": right})
    if experiment["task"] == "colour_hybrid" and asked != UNNAMED:
        alone = read(tensors["x_0"] - grey(tensors["x_0"])).digit.tolist()
        metrics = _count(f"{DIGITS[asked]} in its colours alone", [digit == asked for digit in alone])
    rights = [reading["right"] for reading in readings]
    if len(rights) == 1:  # an inverse hybrid
        return rights[0], _count(names[0], rights[0]) + metrics, readings
    return _both(*rights), outcomes(names, rights) + metrics, readings


def prompt_pairs(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    readings = []
    for _, pictures, prompts in readings_of(experiment, tensors["x_0"], samples, tensors["grid"]):
        found = read(pictures)
        readings.append({"reads": describe(found), "right": seen(found, prompts)})
    both = _both(*(reading["right"] for reading in readings))
    pairs = [{"pair": " and ".join(sample["pair"])} for sample in samples]
    metrics = outcomes(["the first prompt", "the second prompt"], [reading["right"] for reading in readings])
    return both, metrics + sorted(_by({"pair": "{}"}, pairs, "both", both), key=lambda one: -one["value"]), readings


def pieces(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    right = seen(read(tensors["x_0"]), [sample["prompt"] for sample in samples])
    return right, _by({"pieces": "{} pieces"}, samples, "prompt seen", right)


def upsample(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    small, large = read(tensors["low"]), read(tensors["x_0"])
    right = torch.stack([a == b for a, b in zip(small, large, strict=True)]).all(0).tolist()
    return right, _count("digit and colours kept", right)


def denoising(read: Read, tensors: dict, samples: list[dict], experiment: dict) -> Judged:
    digit = read(tensors["original"]).digit
    ways = {"noisy": "noisy", "blur": "blurred", "one_step": "one step", "x_0": "all steps"}
    right = {way: (read(tensors[way]).digit == digit).tolist() for way in ways}
    metrics = [
        m for w, kept in right.items() for m in _by({"timestep": "t = {:g}"}, samples, f"digit kept, {ways[w]}", kept)
    ]
    return right["x_0"], metrics


READINGS = {
    "denoising": denoising,
    "text_to_image": text_to_image,
    "image_to_image": image_to_image,
    "inpainting": inpainting,
    "visual_anagram": visual_anagram,
    "hybrid_image": hybrids,
    "colour_hybrid": hybrids,
    "motion_hybrid": hybrids,
    "prompt_pairs": prompt_pairs,
    "pieces": pieces,
    "upsample": upsample,
}


def judge_digits(judge: Judge, experiment: dict, tensors: dict, samples: list[dict], grid: int) -> dict:
    """Score a stage's pictures with the judge.

    Args:
        tensors: of the stage's file: x_0 (N, 3, H, W) and whatever else the task made.
        grid: side of stage I's pictures in pixels.

    Returns: {"success": N of True or False, or None if no judge can tell (see `named`), "reads": N texts, "metrics": rates as
    a figure shows them}, and "readings" if there are several (see `Judged`).
    """
    task = experiment["task"]

    def read(pictures):
        return read_pictures(judge, pictures)

    success, metrics, *readings = READINGS[task](read, tensors | {"grid": grid}, samples, experiment)
    judged = {"success": success, "reads": describe(read(tensors["x_0"])), "metrics": metrics}
    return judged | ({"readings": readings[0]} if readings else {})
