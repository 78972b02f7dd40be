"""Part B's figures: what the MNIST networks learned and drew, as arguments of `write_figure`.

Needs no torch: pictures are numpy arrays of grey levels (N, 28, 28) uint8.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fun.data.files import read_json
from fun.data.tensors import load_arrays
from fun.reporting.numerals import number_text, percent_text

MNIST_SIZE = 60_000
STATES_SHOWN = 12  # between noise and digit
WAYS = {"noisy": "noisy", "one_step": "one step", "iterative": "iterative"}


class Epoch(NamedTuple):
    """What a model drew after an epoch, and how good it is."""

    number: int
    showcase: dict[str, np.ndarray]  # as sample_epoch writes it
    scores: dict  # as score_epoch writes them
    made_with: dict  # sampling, seed, and sampling_guided if it also drew guided by an earlier epoch


def read_epoch(showcase: str | Path, scores: str | Path) -> Epoch:
    """An epoch from the files that sample_epoch and score_epoch write."""
    arrays, made_with = load_arrays(showcase)
    return Epoch(made_with["trained_with"]["epoch"], arrays, read_json(scores), made_with)


class Model(NamedTuple):
    """A model and its sampled epochs, in order."""

    key: str  # its name in the configuration
    network: str
    class_conditioned: bool
    images_per_epoch: int
    epochs: list[Epoch]

    @property
    def name(self) -> str:
        """The name as written in a sentence."""
        return self.key.replace("_", "-")

    def drawn(self, epoch: Epoch, way: str = "sampling") -> dict:
        """The provenance of digits that it drew after an epoch. way: "sampling" or "sampling_guided"."""
        how = epoch.made_with[way]
        return {
            "model": self.key,
            "network": self.network,
            **how,
            "epoch": epoch.number,
            "seed": epoch.made_with["seed"],
        }


NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST", "own": "the data set"}


def in_words_of(figure: dict, dataset: dict) -> dict:
    """A figure that speaks of MNIST's digits, in words for another data set. dataset: its "name", one of NAMES, and its ten
    "classes"; if these are the digits, the figure stays as it is."""
    classes = dataset["classes"]
    if classes == [str(digit) for digit in range(10)]:
        return figure
    words = {
        r"Each column shows one requested digit\.": f"The columns show, as asked: {', '.join(classes)}.",
        r"[Aa] (handwritten )?seven\b": f"“{classes[7]}”",
        r"handwritten digit": "picture",
        r", 0 to 9\b": ", one of each class",
        r"\bDigit": "Picture",
        r"\bdigit": "picture",
        r"\bMNIST\b": NAMES[dataset["name"]],
    }

    def told(value):
        if isinstance(value, dict):
            return {key: inside if key in ("id", "provenance") else told(inside) for key, inside in value.items()}
        if isinstance(value, list):
            return [told(inside) for inside in value]
        if isinstance(value, str):
            for pattern, word in words.items():
                value = re.sub(pattern, word, value)
        return value

    return told(figure)


def sheet(images: np.ndarray, columns: int) -> Image.Image:
    """Images (N, 28, 28) as one picture of `columns` columns, each image with a border of one pixel."""
    rows = len(images) // columns
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=64)
    return Image.fromarray(padded.reshape(rows, columns, 30, 30).swapaxes(1, 2).reshape(rows * 30, columns * 30))


def samples_figure(model: Model) -> dict:
    """The forty digits that a model draws, epoch by epoch."""
    last = model.epochs[-1]
    passes = last.number * model.images_per_epoch / MNIST_SIZE
    what = "Each column shows one requested digit." if model.class_conditioned else "Nobody said which digits to draw."
    panels = [
        {
            "picture": sheet(epoch.showcase["grid"], 10),
            "label": f"epoch {epoch.number}: {summary(epoch.scores)}",
            "alt": f"Forty digits drawn by the {model.name} model after epoch {epoch.number}, in four rows of ten.",
            "state": f"epoch {epoch.number}",
            "provenance": model.drawn(epoch),
        }
        for epoch in model.epochs
    ]
    guided = []
    if "guided" in last.scores:
        by = f"epoch {last.number}, guided by epoch {last.made_with['sampling_guided']['guide_epoch']}"
        guided = [{"name": f"{by}: Fréchet distance", "goal": "lower", **last.scores["guided"]["frechet_distance"]}]
        panels.append(
            {
                "picture": sheet(last.showcase["grid_guided"], 10),
                "label": f"{by}: {summary(last.scores['guided'] | {'frechet_floor': last.scores['frechet_floor']})}",
                "alt": f"Forty digits drawn by the {model.name} model, guided by its earlier self, in four rows of ten.",
                "state": f"epoch {last.number}, guided",  # short: on a phone the slider has what it leaves
                "provenance": model.drawn(last, "sampling_guided"),
            }
        )
    accuracies = [
        {"name": f"epoch {epoch.number}: class accuracy"} | as_percent(epoch.scores["class_accuracy"])
        for epoch in model.epochs
        if model.class_conditioned
    ]
    distances = [
        {"name": f"epoch {epoch.number}: Fréchet distance", "goal": "lower", **epoch.scores["frechet_distance"]}
        for epoch in model.epochs
    ]
    floor = {key: last.scores["frechet_floor"][key] for key in ("value", "n")}
    return {
        "id": f"{model.key}_samples",
        "title": f"Digits of the {model.name} model, epoch by epoch",
        "caption": f"{last.number} epoch{'' if last.number == 1 else 's'} of {number_text(model.images_per_epoch)} images = "
        f"{number_text(passes)} pass{'' if passes == 1 else 'es'} over MNIST. "
        f"{what} "
        "The noise they start from is the same in every epoch, so you can watch a digit take shape."
        + (
            " At last guided by its own early self: away from what the network of that epoch would draw (autoguidance)."
            if guided
            else ""
        ),
        "section": "training",
        "blocks": [{"layout": "scrub", "panels": panels}],
        "metrics": [
            *accuracies,
            *distances,
            *guided,
            {"name": "Fréchet distance of real test digits (the floor)", "goal": "lower", **floor},
        ],
    }


def summary(scores):
    """An epoch's scores in one line."""
    accuracy, floor = scores.get("class_accuracy"), scores["frechet_floor"]
    distance = number_text(scores["frechet_distance"]["value"])
    words = f"Fréchet distance {distance} (real digits: {number_text(floor['value'])})"
    if not accuracy:
        return words
    return f"{percent_text(accuracy['value'])} of {number_text(accuracy['n'])} read as asked; {words}"


def as_percent(rate):
    """A rate as the entries of a figure's metric, in per cent."""
    shown = {key: 100 * rate[key] for key in ("value", "low", "high")}
    return {"unit": "%", "goal": "higher", "n": rate["n"]} | shown


def reverse_process_figure(model: Model) -> dict:
    """Ten digits on their way from noise, step by step."""
    last = model.epochs[-1]
    timesteps = last.showcase["timesteps"].tolist()
    way = "sampling_guided" if "guided" in last.scores else "sampling"
    shown = sorted({round(k * (len(timesteps) - 1) / (STATES_SHOWN - 1)) for k in range(STATES_SHOWN)})
    kinds = (
        ("x_t", "xₜ: what the loop holds", "Ten digits on their way from noise"),
        ("x_0", "x₀: the estimate of the finished digits", "The network's estimate of the ten finished digits"),
    )
    panels = [
        {
            "picture": sheet(last.showcase[kind][i], 10),
            "label": label,
            "alt": f"{what}, after the step to t = {timesteps[i]}.",
            "state": f"t = {timesteps[i]}" if timesteps[i] >= 0 else "finished",
            "provenance": {**model.drawn(last, way), "t": timesteps[i]},
        }
        for i in shown
        for kind, label, what in kinds
    ]
    return {
        "id": f"{model.key}_reverse_process",
        "title": f"From noise to digits, {model.name} model",
        "caption": "Above, what the loop holds after each step. Below, the estimate of the finished digits that the step "
        "was based on: first a blur of everything that it might become, then sharper and sharper.",
        "section": "training",
        "blocks": [{"layout": "scrub", "hero": model.class_conditioned, "panels": panels}],
    }


def denoising_figure(model: Model) -> dict:
    """Test digits, noised and then denoised in one step and in many."""
    last = model.epochs[-1]
    scored = {(row["t"], row["kind"]): row for row in last.scores["denoising"]}
    made = {**model.drawn(last), "guidance_scale": 1.0}
    clean = {
        "picture": sheet(last.showcase["clean"][:5], 5),
        "label": "test digits, never seen in training",
        "alt": "Five handwritten digits of MNIST's test set, 0 to 4.",
        "provenance": {"data": "MNIST test set"},
    }
    ways = [
        {
            "picture": sheet(last.showcase[f"{way}_{t}"][:5], 5),
            "label": f"{title}, t = {t}: {scored[t, way]['psnr']:.1f} dB, "
            f"{percent_text(scored[t, way]['class_accuracy']['value'])} read right",
            "alt": f"The five digits noised to t = {t}: {title}.",
            "provenance": {**made, "t": t, "way": title},
        }
        for t in last.showcase["noised_at"].tolist()
        for way, title in WAYS.items()
    ]
    panels = [panel for k in range(0, len(ways), len(WAYS)) for panel in (clean, *ways[k : k + len(WAYS)])]
    told = (
        " This network is told which digit it is, so it hardly takes it for another." if model.class_conditioned else ""
    )
    return {
        "id": f"{model.key}_denoising",
        "title": f"One step or many? The {model.name} model denoises real digits",
        "caption": "One step gives the mean of all digits that could be under the noise: the best guess in decibels, but "
        f"blurred. Many steps commit to one of them: sharp, but not the original.{told} Means over a hundred digits.",
        "section": "training",
        "blocks": [{"layout": "grid", "columns": 1 + len(WAYS), "panels": panels}],
        "metrics": [
            {"name": f"{WAYS[row['kind']]}, t = {row['t']}", "value": row["psnr"], "unit": "dB"}
            | {"goal": "higher", "n": 100}
            for row in last.scores["denoising"]
        ],
    }


def curves_figure(losses: dict, scores: dict, judge: dict) -> dict:
    """Loss, class accuracy and Fréchet distance over the epochs.

    Args:
        losses, scores: the tables that model_tables writes (pandas), by `Model.name`.
        judge: the classifier's accuracy on real test digits, a rate.
    """
    judged = {name: table for name, table in scores.items() if "class_accuracy.value" in table}
    floor = next(iter(scores.values()))
    of_loss = [
        {
            "name": name,
            "x": (table["images"] / table["images"].max() * table["epoch"].max()).round(3).tolist(),
            "y": table["loss"].tolist(),
        }
        for name, table in losses.items()
    ]
    of_accuracy = [
        {"name": name, "x": table["epoch"].tolist()}
        | {
            key: (100 * table[f"class_accuracy.{column}"]).tolist()
            for key, column in (("y", "value"), ("low", "low"), ("high", "high"))
        }
        for name, table in judged.items()
    ]
    of_distance = [{"name": name} | _of_one_n(table, "frechet_distance.value") for name, table in scores.items()]
    for name, table in scores.items():
        if "guided.frechet_distance.value" in table:
            drawn = table.dropna(subset=["guided.frechet_distance.value"])
            of_distance.append(
                {"name": f"{name}, guided", "x": drawn["epoch"].tolist()}
                | {"y": drawn["guided.frechet_distance.value"].tolist()}
            )
    of_floor = _of_one_n(floor, "frechet_floor.value")
    blocks = [
        _over_epochs(
            "Loss",
            "Mean squared error of what the network predicts, averaged over each tenth of an epoch. A flow’s is of another quantity: compare shapes, "
            "not heights.",
            {"label": "mean squared error", "log": True},
            of_loss,
        ),
        _over_epochs(
            "Class accuracy",
            f"How often a classifier ({percent_text(judge['value'])} right on real test digits) reads the digit that was asked for.",
            {"label": "read as asked", "unit": "%", "max": 100},
            of_accuracy,
        ),
        _over_epochs(
            "Fréchet distance",
            f"How far the drawn digits' features are from those of the {number_text(MNIST_SIZE)} training digits, "
            f"{_numbers_drawn(floor)}; the floor is that of as many real test digits. Lines end where the number changes.",
            {"label": "Fréchet distance", "log": True},
            [*of_distance, {"name": "real digits (floor)"} | of_floor],
        ),
    ]
    return {
        "id": "mnist_curves",
        "title": "Learning to draw digits, measured",
        "caption": "The loss soon hardly moves, while the digits keep getting better: the loss is an average over all noise levels, most of them "
        "easy.",
        "section": "training",
        "blocks": [block for block in blocks if block["chart"]["series"]],
        "metrics": [{"name": f"classifier's accuracy on {number_text(10_000)} real test digits"} | as_percent(judge)],
    }


def _of_one_n(table, column):
    """A column over the epochs, interrupted where the number of digits changes: distances of different numbers do not compare."""
    x, y, last = [], [], None
    for epoch, value, n in zip(
        table["epoch"].tolist(), table[column].tolist(), table["frechet_distance.n"], strict=True
    ):
        if last not in (None, n):
            x, y = [*x, epoch], [*y, None]
        x, y, last = [*x, epoch], [*y, value], n
    return {"x": x, "y": y}


def _numbers_drawn(scores):
    """How many digits the distances are of: "2,000 digits each time", or "500 digits, from epoch 20 on 2,000"."""
    n = scores["frechet_distance.n"].astype(int)
    if n.nunique() == 1:
        return f"{number_text(int(n.iloc[-1]))} digits each time"
    later = scores["epoch"][n == n.iloc[-1]].min()
    return f"{number_text(int(n.iloc[0]))} digits, from epoch {later} on {number_text(int(n.iloc[-1]))}"


def _over_epochs(title, caption, y, series):
    chart = {"kind": "line", "x": {"label": "epoch", "min": 0}, "y": y, "series": series}
    return {"layout": "chart", "title": title, "caption": caption, "panels": [], "chart": chart}


def schedules_figure(
    noised: dict[str, dict[int, np.ndarray]], signal: dict[str, Sequence[float]], trained_with: str, seed: int
) -> dict:
    """The forward process on a digit, under each schedule.

    Args:
        noised: {schedule: {t: the digit (28, 28) noised to t}}; t = -1 is the digit itself.
        signal: {schedule: sqrt(abar_t) at each of T timesteps}.
        trained_with: the schedule that the models were trained with.
        seed: of the noise.
    """
    T = len(next(iter(signal.values())))
    every = max(1, T // 100)
    panels = [
        {
            "picture": Image.fromarray(picture),
            "label": f"{name}, t = {t}" if t >= 0 else f"{name}, the digit itself",
            "alt": f"A handwritten seven with the noise of timestep {t} of the {name} schedule."
            if t >= 0
            else "A seven.",
            "provenance": {"schedule": name, "t": t, "T": T, "seed": seed},
        }
        for name, pictures in noised.items()
        for t, picture in pictures.items()
    ]
    chart = {
        "kind": "line",
        "x": {"label": "timestep t", "min": 0},
        "y": {"label": "share of the digit in xₜ", "min": 0, "max": 1},
        "series": [
            {"name": name, "x": list(range(0, T, every)), "y": list(curve[::every])} for name, curve in signal.items()
        ],
    }
    return {
        "id": "mnist_schedules",
        "title": "The forward process on a digit",
        "caption": f"The same digit and the same noise under {len(signal)} schedules. The linear one stops early: at its last timestep "
        f"xₜ still holds {number_text(signal['linear'][-1])} of the digit (the cosine schedule: "
        f"{number_text(signal['cosine'][-1])}), while sampling starts from pure noise, which the network never saw in training. The flow is the "
        "straight line of flow matching: what is not digit is noise. "
        f"The models here are trained with the {trained_with} schedule, unless they say otherwise.",
        "section": "forward_process",
        "blocks": [
            {"layout": "grid", "columns": len(panels) // len(noised), "panels": panels},
            {"layout": "chart", "title": "Signal left in xₜ", "panels": [], "chart": chart},
        ],
        "metrics": [
            {"name": f"signal left at t = T - 1, {name}", "value": curve[-1], "goal": "lower"}
            for name, curve in signal.items()
        ],
    }
