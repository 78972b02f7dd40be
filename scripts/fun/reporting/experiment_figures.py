"""How an experiment's figure shows the pictures that its stages made: the blocks and metrics of a figure.json.

FIGURES has a function for each task. Needs no torch: pictures are numpy arrays (3, H, W) in about [-1, 1].
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from fun.data.images import heat_map, to_picture
from fun.data.timesteps import steps_made, time_text, timestep_of
from fun.diffusion.pieces import lay
from fun.diffusion.views import make_view

STAGES = {"stage_3": "Stage III", "stage_2": "Stage II", "stage_1": "Stage I"}  # the largest pictures first
TURNS = ("rotate_180", "rotate_90_cw", "rotate_90_ccw", "flip_vertical", "flip_horizontal", "negate")
FEW = 8  # only so many samples are shown in all their readings; a grid shows the others
LONGEST_ROW = 16
COMPARED = {"guidance_scale", "sampler", "steps"}  # of stage I, where an experiment compares some
FRAMES = 8  # of pieces on their way
BLACKED_OUT = "blacked out by the safety checker"
DISTANCES = (1, 2, 4)
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Drawn:
    """What one stage made of an experiment."""

    name: str  # "Stage I", "Stage II" or "Stage III"
    arrays: dict[str, np.ndarray]  # the pictures x_0 (N, 3, H, W), and whatever else the task made
    samples: list[dict]  # N of them: seed, prompt, guidance_scale, ...
    model: dict  # what made them: model, revision, ...
    sampling: dict  # how it made them: sampler, steps, ...
    judged: dict | None = None  # what the judge says, if there is one: see `judge_digits` and `judge_by_clip`
    blacked_out: np.ndarray | None = None  # if there is a safety checker: (N,) bool

    @property
    def title(self) -> str:
        """Like "Stage I, 64 × 64 pixels"."""
        return "{}, {} × {} pixels".format(self.name, *self.arrays["x_0"].shape[:1:-1])

    def label(self, i: int, among: Sequence[int] | None = None) -> str:
        """What distinguishes sample i from the samples `among`, by default from all."""
        words = {"prompt": "“{}”", "pair": "“{0[0]}” and “{0[1]}”", "sampler": "{}", "steps": "{} steps"}
        words |= {"guidance_scale": "guidance {:g}", "start": "from t = {}", "timestep": "t = {}"}
        words |= {"pieces": "{} pieces", "seed": "seed {}"}
        others = [self.samples[j] for j in among or range(len(self.samples))]
        varying = [key for key in words if len({str(sample.get(key)) for sample in others}) > 1]
        return ", ".join(words[key].format(self.samples[i][key]) for key in varying or ["seed"])

    def panel(self, i: int, what: str, **entries) -> dict:
        """Sample i as a panel. `what` it shows goes into the alt text; `entries` replace the panel's own."""
        sample = self.samples[i]
        made = {"stage": self.name} | self.model | self.sampling | sample
        if self.name != "Stage I":
            for key in COMPARED & sample.keys():
                made |= {key: self.sampling[key], f"stage_1_{key}": sample[key]}
        if "spacing" in self.sampling:  # stage III's are another library's
            start = sample.get("start", sample.get("timestep")) if self.name == "Stage I" else None
            made["steps"] = steps_made({key: made[key] for key in self.sampling}, start)
        if "pair" in made:  # one text, like the other entries
            made["prompts"] = " and ".join(f"“{prompt}”" for prompt in made.pop("pair"))
        panel = {"label": self.label(i), "alt": f"{what}: {self.label(i)}, {self.title}", "provenance": made}
        if "picture" not in entries:
            panel["picture"] = to_picture(self.arrays["x_0"][i])
        if self.judged is not None and "success" not in entries:
            panel["success"] = self.judged["success"][i]
            panel["provenance"] = made | {"judge_reads": self.judged["reads"][i]}
            if "ranks" in self.judged and self.judged["ranks"][i] is not None:
                panel["remark"] = self.judged["ranks"][i]
        panel |= entries
        if self.blacked_out is not None and self.blacked_out[i]:
            panel |= {"remark": BLACKED_OUT, "alt": f"{BLACKED_OUT.capitalize()}: {panel['alt']}"}
        return panel

    def plain_panel(self, picture: np.ndarray | Image.Image, label: str, alt: str) -> dict:
        """A panel of a picture that no network made."""
        picture = picture if isinstance(picture, Image.Image) else to_picture(picture)
        return {"picture": picture, "label": label, "alt": alt, "provenance": {}}

    def grid(self, what: str, among: Sequence[int] | None = None, title: str = "") -> dict:
        """All samples, or those of the indices `among`, as a grid. Several seeds of several settings make a table, with
        the more numerous of the two across; prompts, which are long, are always the rows."""
        among = among or range(len(self.samples))
        seeds = len({self.samples[i]["seed"] for i in among})
        block = {"layout": "grid", "title": f"{self.title}{title}"}
        if 1 < seeds < len(among) and seeds <= LONGEST_ROW:
            rows = [among[i : i + seeds] for i in range(0, len(among), seeds)]
            if seeds < len(rows) <= LONGEST_ROW and len({self.samples[i].get("prompt") for i in among}) == 1:
                rows = [list(row) for row in zip(*rows, strict=True)]
            names = [self.label(row[0], [row[0] for row in rows]) for row in rows]
            panels = [self.panel(i, what, label=self.label(i, row)) for row in rows for i in row]
            return block | {"columns": len(rows[0]), "rows": names, "panels": panels}
        panels = [self.panel(i, what, label=self.label(i, among)) for i in among]
        return block | {"columns": min(len(among), 8), "panels": panels}


def forward_process(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_1"]
    panels = [drawn.plain_panel(drawn.arrays["x_0"][0], "the picture", "The picture without noise")]
    levels = zip(*(drawn.arrays[name] for name in ("x_t", "signal", "sigma")), strict=True)
    for i, (x_t, signal, noise) in enumerate(levels):
        panels.append(
            drawn.panel(
                i,
                "The picture under noise",
                picture=to_picture(x_t),
                label=f"t = {drawn.samples[i]['timestep']}: {signal:.2f} of the picture, {noise:.2f} of noise",
                provenance=drawn.model | drawn.samples[i],
                success=None,
            )
        )
    return [{"layout": "row", "panels": panels}], []


WAYS = {
    "noisy": "noisy",
    "blur": "blurred",
    "fair_blur": "rescaled and blurred",
    "one_step": "one step",
    "x_0": "all steps",
}


def denoising(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_1"]
    rows = {}  # the samples of each timestep
    for i, sample in enumerate(drawn.samples):
        rows.setdefault(sample["timestep"], []).append(i)
    means = {
        (score, way, t): float(drawn.arrays[f"{score}_{way}"][rows[t]].mean())
        for score in ("psnr", "ssim")
        for t in rows
        for way in WAYS
    }
    series = [
        {"name": words, "x": [f"t = {t}" for t in rows], "y": [means["psnr", way, t] for t in rows]}
        for way, words in WAYS.items()
    ]
    noisiest = max(rows, key=timestep_of)
    seeds = len(next(iter(rows.values())))
    which = "" if seeds == 1 else f"Pictures are of the first of {seeds} seeds; chart and table show means over all. "
    blocks = [
        {"layout": "row", "panels": [drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture")]},
        {
            "layout": "grid",
            "columns": len(rows),
            "rows": list(WAYS.values()),
            "panels": [_denoised(drawn, row[0], way) for way in WAYS for row in rows.values()],
            "caption": f"{which}Each blur is the one closest to the picture: finding it takes the picture itself.",
        },
        {
            "layout": "chart",
            "panels": [],
            "chart": {
                "kind": "bar",
                "x": {"label": "noise added up to"},
                "y": {"label": "PSNR", "unit": "dB"},
                "series": series,
            },
            "caption": "One step gives about the mean of all pictures that may lie under the noise: PSNR rewards that, "
            "although it is blurred. All steps give one of them: sharp, but usually further from the original.",
        },
        {
            "layout": "scrub",
            "title": f"All steps, from t = {noisiest}",
            "hero": True,
            "panels": _states(drawn, rows[noisiest][0]),
        },
    ]
    if drawn.sampling.get("path") == "flow":
        blocks.insert(1, _updates(drawn, [row[0] for row in rows.values()]))
    metrics = [
        {"name": f"{score.upper()}, t = {t}, {WAYS[way]}", "value": mean, "n": len(rows[t]), "goal": "higher"}
        | ({"unit": "dB"} if score == "psnr" else {})
        for (score, way, t), mean in means.items()
    ]
    return blocks, metrics


def _denoised(drawn, i, way):
    """A panel of sample i, denoised in one way."""
    sample, psnr, picture = drawn.samples[i], drawn.arrays[f"psnr_{way}"][i], to_picture(drawn.arrays[way][i])
    made = {"seed": sample["seed"], "timestep": sample["timestep"], "way": WAYS[way]}
    if "blur" in way:
        made["sigma"] = float(drawn.arrays[f"sigma_{way}"][i])
    label = f"t = {sample['timestep']}: {psnr:.1f} dB"
    alt = f"{WAYS[way]}, {label}"
    if way not in ("one_step", "x_0"):
        return drawn.plain_panel(picture, label, alt) | {"provenance": made}
    made |= drawn.model | sample | drawn.sampling
    made["steps"] = 1 if way == "one_step" else steps_made(drawn.sampling, sample["timestep"])
    return drawn.panel(i, way, picture=picture, label=label, alt=alt, provenance=made, success=None)


def _states(drawn, i):
    """Sample i step by step: what the loop holds after each kept step, and the estimate that the step used."""
    panels, arrays = [], drawn.arrays
    for x_t, x_0, t in zip(arrays["states"], arrays["estimates"], arrays["timesteps"].tolist(), strict=True):
        state = time_text(t, drawn.sampling.get("path"))
        for picture, label in ((x_t, "xₜ: what the loop holds"), (x_0, "x₀: the network's estimate of the picture")):
            entries = {"picture": to_picture(picture), "label": label, "state": state, "alt": f"{label}, {state}"}
            panels.append(drawn.panel(i, label, **entries, success=None))
    return panels


def _updates(drawn, chosen):
    """A flow's update of the chosen samples: where x_t is to move, as it should be and as the network predicts it, and the error."""
    clean, x_t, x_0 = drawn.arrays["original"][0], drawn.arrays["noisy"][chosen], drawn.arrays["one_step"][chosen]
    true, predicted = clean - x_t, x_0 - x_t
    error = np.sqrt(((predicted - true) ** 2).mean(1))  # (N, H, W)
    largest = np.quantile(np.abs([true, predicted]), 0.98)  # one symmetric scale; single pixels would make it pale
    rows = {
        "true: x₁ − xₜ": [to_picture(update / largest) for update in true],
        "predicted: (1 − t) u": [to_picture(update / largest) for update in predicted],
        "error": [heat_map(one / error.max()) for one in error],
    }
    panels = []
    for name, pictures in rows.items():
        for i, picture, one in zip(chosen, pictures, error, strict=True):
            label = f"t = {drawn.samples[i]['timestep']}" + (f": {one.mean():.2f}" if name == "error" else "")
            alt = f"The update of the flow, {name}, {label}"
            made = drawn.model | drawn.samples[i] | drawn.sampling | {"steps": 1}
            panels.append(drawn.panel(i, alt, picture=picture, label=label, alt=alt, provenance=made, success=None))
    return {
        "layout": "grid",
        "title": "Where the picture is to move",
        "columns": len(chosen),
        "rows": list(rows),
        "panels": panels,
        "caption": f"t = 0 is noise and t = 1 the picture. Grey means no change, black and white a change of ±{largest:.1f} or more; the error "
        f"is the root mean square over the colours, from black (0) to white ({error.max():.2f}).",
    }


def text_to_image(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    blocks = []
    for drawn in stages.values():
        if not {"guidance_scales", "samplers", "steps"} & experiment.keys():
            blocks.append(drawn.grid("A picture from pure noise"))
            continue
        for prompt in experiment["prompts"]:  # a grid for each prompt, with what is compared as rows
            rows = [i for i, sample in enumerate(drawn.samples) if sample["prompt"] == prompt]
            blocks.append(drawn.grid(f"“{prompt}” from pure noise", rows, f": “{prompt}”"))
    return blocks, []


def image_to_image(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_1"]
    original = drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture to start from")
    blocks = [{"layout": "row", "panels": [original]}]
    blocks += [stage.grid("What became of the picture") for stage in stages.values()]
    several = len({sample["seed"] for sample in drawn.samples}) > 1  # the rate of one says nothing
    return blocks + (_rates(drawn) if several else []), []


def _rates(drawn: Drawn) -> list[dict]:
    """A chart of the judge's rates over the start, if there is a judge: of its metrics named "…, from t = 960"."""
    series = {}
    for metric in drawn.judged["metrics"] if drawn.judged else []:
        name, found, value = metric["name"].rpartition(", from t = ")
        if found:
            one = series.setdefault(name, {"name": name, "x": [], "y": [], "low": [], "high": []})
            one["x"].append(float(value))
            for key, entry in {"y": "value", "low": "low", "high": "high"}.items():
                one[key].append(100 * metric[entry])
    axes = {
        "x": {"label": "time to start from" if drawn.sampling.get("path") == "flow" else "timestep to start from"},
        "y": {"label": "share of the samples", "unit": "%", "min": 0, "max": 100},
    }
    chart = {"kind": "line", "series": list(series.values())} | axes
    return [{"layout": "chart", "panels": [], "chart": chart}] if series else []


def inpainting(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = next(stage for stage in stages.values() if "mask" in stage.arrays)
    picture, unknown = drawn.arrays["original"][0], drawn.arrays["mask"]
    panels = [
        drawn.plain_panel(picture, "the picture", "The whole picture"),
        drawn.plain_panel(
            np.where(unknown, 0, picture), "the known part", "The picture, grey where it is to be filled in"
        ),
    ]
    return [{"layout": "row", "panels": panels}, *(stage.grid("Inpainted") for stage in stages.values())], []


def _showcased(stages: dict[str, Drawn]) -> list[Drawn]:
    """The stages whose pictures are shown in all their readings: the last, and also the one before if the last is stage III,
    which has only some of the samples."""
    return [stages[name] for name in list(stages)[: 2 if "stage_3" in stages else 1]]


def visual_anagram(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    size = stages["stage_1"].arrays["x_0"].shape[-1]
    views = [(make_view(view["view"], size, view["seed"]), view["prompt"]) for view in experiment["views"]]
    blocks = [
        {"layout": "flip", "title": drawn.title, "panels": [p for i in _few(drawn) for p in _turned(drawn, i, views)]}
        for drawn in _showcased(stages)
    ]
    as_drawn = any(view.name == "identity" for view, _ in views)
    return blocks + _rest(stages, "The anagram as it was drawn", as_drawn), []


def _few(drawn):
    """The samples that are shown in all their readings."""
    return range(min(len(drawn.samples), FEW))


def _rest(stages, what, as_drawn=True):
    """Grids of the samples that no flip shows, or of all if the flips do not show them as they were drawn."""
    shown = [drawn.name for drawn in _showcased(stages)] if as_drawn else []
    grids = []
    for drawn in stages.values():
        first = len(_few(drawn)) if drawn.name in shown else 0
        if first < len(drawn.samples):
            grids.append(drawn.grid(what, range(first, len(drawn.samples)), ": the others" if first else ""))
    return grids


def _turned(drawn, i, views):
    """A panel for each view of sample i. Those that CSS can turn share the picture of the first."""
    picture, panels = drawn.arrays["x_0"][i], []
    for number, (view, prompt) in enumerate(views):
        alt = f"“{prompt}”, seen under {view.name}, {drawn.label(i)}, {drawn.title}"
        entries = {"picture": to_picture(view.view(picture)), "label": prompt, "alt": alt, "state": drawn.label(i)}
        if number > 0 and views[0][0].name == "identity" and view.name in TURNS:
            entries |= {"picture": to_picture(picture), "transform": view.name}
        panels.append(_reading(drawn, i, number, alt, entries, {"view": view.name}))
    return panels


def _reading(drawn, i, number, what, entries, made):
    """A panel of sample i as one of its readings: `number` among those that the judge read, None if it did not read this one."""
    panel = drawn.panel(i, what, **entries)
    panel["provenance"] = panel["provenance"] | made
    readings = (drawn.judged or {}).get("readings")
    if number is None:
        panel["success"] = None
    elif readings:
        panel["success"] = readings[number]["right"][i]
        panel["provenance"]["seen_as"] = readings[number]["reads"][i]
    return panel


def stimuli(experiment: dict, stages: dict[str, Drawn]) -> list[dict]:
    """An anagram's pictures as a table for those who show them to observers: a row for each sample, stage and view. Other
    tasks have none. `reads` and `right` are of the reading under that view, empty without a judge."""
    rows = []
    for name, drawn in reversed(stages.items()) if experiment["task"] == "visual_anagram" else ():
        for i, sample in enumerate(drawn.samples):
            for number, view in enumerate(experiment["views"]):
                reading = (drawn.judged or {}).get("readings", [None] * len(experiment["views"]))[number]
                rows.append(
                    {
                        "file": to_picture(drawn.arrays["x_0"][i]),
                        "stage": name,
                        "seed": sample["seed"],
                        "view": view["view"],
                        "view_seed": view["seed"],
                        "prompt": view["prompt"],
                        "reads": reading["reads"][i] if reading else "",
                        "right": _truth(reading["right"][i] if reading else None),
                        "all_right": _truth(drawn.judged["success"][i] if drawn.judged else None),
                    }
                )
    return rows


def _truth(value):
    return {True: "true", False: "false", None: ""}[value]


def hybrid_image(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    def seen(picture):
        names = {distance: f"{distance} times as far" for distance in DISTANCES} | {1: "near"}
        return {names[distance]: _from_afar(to_picture(picture), distance) for distance in DISTANCES}

    afar = f"{DISTANCES[-1]} times as far"
    return _seen_in_ways(experiment, stages, seen, afar, "near", ", near and far"), []


def colour_hybrid(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    def seen(picture):
        grey = picture.mean(0, keepdims=True) + 0 * picture
        colours = picture - grey
        ways = {"without its colours": grey, "half": grey + colours / 2, "with its colours": picture}
        return {name: to_picture(way) for name, way in (ways | {"the colours alone": colours}).items()}

    return _seen_in_ways(experiment, stages, seen, "without its colours", "with its colours"), []


def motion_hybrid(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    def seen(picture):
        length = experiment["length"] * picture.shape[-1] / stages["stage_1"].arrays["x_0"].shape[-1]
        half, whole = (_moved(picture, share * length, experiment["angle"]) for share in (0.5, 1))
        return {"at rest": to_picture(picture), "slowly": half, "in motion": whole}

    return _seen_in_ways(experiment, stages, seen, "in motion", "at rest"), []


def _moved(picture, length, angle):
    """The picture as it is seen while it moves: the mean of copies along the way, on a picture mirrored at its edges."""
    edge = math.ceil(length)
    padded = to_picture(np.pad(picture, ((0, 0), (edge, edge), (edge, edge)), mode="reflect"))
    ways = [length * (k / 32 - 0.5) for k in range(33)]
    across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    copies = [
        np.asarray(
            padded.transform(
                padded.size, Image.Transform.AFFINE, (1, 0, -w * across, 0, 1, -w * down), Image.Resampling.BILINEAR
            ),
            dtype=float,
        )
        for w in ways
    ]
    inside = np.mean(copies, 0)[edge:-edge, edge:-edge]
    return to_picture(inside.transpose(2, 0, 1) / 127.5 - 1)


def _seen_in_ways(experiment, stages, seen, first, last, title=""):
    """The first samples in each way of seen(picture), {name: picture as it is shown}, and grids of the others. In the way `first`
    the first prompt is to be seen, unless a picture takes its place (an inverse hybrid), and in the way `last` the last one."""
    prompts = experiment["prompts"]
    number = {last: len(prompts) - 1} | ({first: 0} if experiment["image"] is None else {})
    blocks = []
    for drawn in _showcased(stages):
        panels = []
        for i in _few(drawn):
            for name, picture in seen(drawn.arrays["x_0"][i]).items():
                label = f"{name}: {prompts[number[name]]}" if name in number else name
                alt = f"The hybrid, {label}, {drawn.label(i)}, {drawn.title}"
                entries = {"picture": picture, "label": label, "alt": alt, "state": drawn.label(i)}
                panels.append(_reading(drawn, i, number.get(name), alt, entries, {"seen": name}))
        blocks.append({"layout": "flip", "title": f"{drawn.title}{title}", "panels": panels})
    return _given(stages) + blocks + _rest(stages, "The hybrid as it was drawn")


def _given(stages):
    """The picture that an inverse hybrid has a part of, if there is one."""
    drawn = next(iter(stages.values()))
    if "original" not in drawn.arrays:
        return []
    return [{"layout": "row", "panels": [drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture")]}]


def prompt_pairs(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    """A table of the pairs. Above the diagonal the best picture of each as drawn, and how often both prompts are seen; below it
    the same picture under the view, and what is seen most often where not both are."""
    drawn, prompts = stages["stage_1"], experiment["prompts"]
    view = make_view(experiment["view"], drawn.arrays["x_0"].shape[-1], experiment["view_seed"])
    short = _what_differs(prompts)
    empty = np.zeros_like(drawn.arrays["x_0"][0])
    cells = {(k, k): drawn.plain_panel(empty, name, f"“{prompts[k]}”") for k, name in enumerate(short)}
    for first, second in experiment["pairs"]:
        rows = [i for i, sample in enumerate(drawn.samples) if sample["pair"] == [first, second]]
        a, b = prompts.index(first), prompts.index(second)
        best, often, otherwise = _tally(drawn, rows, short[a], short[b])
        picture = drawn.arrays["x_0"][best]
        named = f"“{first}”, and “{second}” under {view.name}"
        for (row, column), shown, remark in ((a, b), picture, often), ((b, a), view.view(picture), otherwise):
            # In a wide table labels stand under the last row only, as the names of its columns; remarks stand in every cell.
            entries = {"picture": to_picture(shown), "label": short[column], "remark": remark}
            cells[row, column] = drawn.panel(best, named, **entries, alt=f"{named}: {remark}", success=None)
    size = range(len(prompts))
    untried = [drawn.plain_panel(empty, name, "not tried") | {"remark": "not tried"} for name in short]
    panels = [cells.get((row, column), untried[column]) for row in size for column in size]
    table = {
        "layout": "grid",
        "columns": len(prompts),
        "rows": short,
        "panels": panels,
        "caption": f"Each picture should show its row’s prompt. Above the diagonal is a pair’s best picture of {len(rows)} as drawn, and how "
        "often both prompts were seen; below it the same picture under the view, and what was seen most often where not both were.",
    }
    return [table], []


def _tally(drawn, rows, first, second):
    """Of a pair's samples: the best one, how often both readings are right, and the most frequent of the other outcomes."""
    if not drawn.judged:
        return rows[0], f"{len(rows)} drawn", ""
    rights = [tuple(reading["right"][i] for reading in drawn.judged["readings"]) for i in rows]
    if None in rights[0]:
        return rows[0], f"{len(rows)} drawn", "no judge can tell"
    failures = {
        first: rights.count((True, False)),
        second: rights.count((False, True)),
        "neither": rights.count((False, False)),
    }
    often = max(failures, key=failures.get)
    best = max(rows, key=lambda i: sum(rights[rows.index(i)]))
    return (
        best,
        f"{rights.count((True, True))} of {len(rows)}",
        f"{often} {failures[often]}" if failures[often] else "–",
    )


def _what_differs(prompts):
    """The prompts without the words that all of them begin and end with."""
    words = [prompt.split() for prompt in prompts]
    start, end = (len(os.path.commonprefix([one[::way] for one in words])) for way in (1, -1))
    shortest = min(map(len, words))
    end = min(end, max(0, shortest - start - 1))
    start = min(start, shortest - 1)
    return [" ".join(one[start : len(one) - end]) for one in words]


def pieces(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn, arrays = stages["stage_1"], stages["stage_1"].arrays
    first = {sample["pieces"]: i for i, sample in reversed(list(enumerate(drawn.samples)))}  # of each number of pieces
    source, hidden = (
        arrays["source"][0],
        drawn.blacked_out if drawn.blacked_out is not None else [False] * len(drawn.samples),
    )
    sources = [
        np.full_like(source, -1) if black else source for black in hidden
    ]  # `black_out` blackens x_0, which lies here anew
    travelling = [
        drawn.panel(
            i,
            "The pieces on their way",
            picture=_travelled(to_picture(sources[i]), arrays["order"][i][:count], arrays["quarters"][i], k / FRAMES),
            label=f"{count} pieces",
            state="the picture" if k == 0 else "arranged anew" if k == FRAMES else f"{k} of {FRAMES} of the way",
            success=None,
        )
        for k in range(FRAMES + 1)
        for count, i in sorted(first.items())
    ]
    laid = [
        lay(one, order[order >= 0], quarters[order >= 0])
        for one, order, quarters in zip(sources, arrays["order"], arrays["quarters"], strict=True)
    ]
    return [
        {"layout": "scrub", "title": "The pieces travel", "panels": travelling},
        replace(drawn, arrays=arrays | {"x_0": np.stack(laid)}).grid("The picture’s pieces, laid anew")
        | {"title": "Laid anew, in the picture’s own pixels"},
    ], []


def _travelled(source, order, quarters, fraction):
    """The picture's pieces part of the way (0 to 1) to where they lie in the end; those with the longest way are on top."""
    side = math.isqrt(len(order))
    size = source.width // side
    canvas = Image.new("RGB", source.size, GREY)
    ways = [
        (divmod(int(piece), side), divmod(place, side), int(turn))
        for place, (piece, turn) in enumerate(zip(order, quarters, strict=False))
    ]
    for start, end, turn in sorted(ways, key=lambda way: math.dist(way[0], way[1])):
        (top, left), (down, right) = start, end
        piece = source.crop((left * size, top * size, (left + 1) * size, (top + 1) * size))
        eased = (1 - math.cos(math.pi * fraction)) / 2
        place = [round(size * (a + eased * (b - a))) for a, b in ((left, right), (top, down))]
        canvas.paste(piece.rotate(90 * turn * eased, Image.Resampling.NEAREST), tuple(place))
    return canvas


def upsample(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_2"]
    low = to_picture(drawn.arrays["low"][0])
    pixels = low.resize(drawn.arrays["x_0"].shape[:1:-1], Image.Resampling.NEAREST)
    small = drawn.plain_panel(pixels, f"{low.width} × {low.height} pixels", "The small picture")
    compare = {"layout": "compare", "panels": [small, drawn.panel(0, "The picture enlarged", success=None)]}
    larger = [stages["stage_3"].grid("The picture enlarged again")] if "stage_3" in stages else []
    return [compare, *larger, drawn.grid("The picture enlarged")], []


def _from_afar(picture, distance):
    """The picture at the size it appears from `distance` times as far away, surrounded by grey."""
    width, height = picture.width // distance, picture.height // distance
    canvas = Image.new("RGB", picture.size, GREY)
    canvas.paste(
        picture.resize((width, height), Image.Resampling.BOX),
        ((picture.width - width) // 2, (picture.height - height) // 2),
    )
    return canvas


FIGURES: dict[str, Callable[[dict, dict[str, Drawn]], tuple[list[dict], list[dict]]]] = {
    "forward_process": forward_process,
    "denoising": denoising,
    "text_to_image": text_to_image,
    "image_to_image": image_to_image,
    "inpainting": inpainting,
    "visual_anagram": visual_anagram,
    "hybrid_image": hybrid_image,
    "colour_hybrid": colour_hybrid,
    "motion_hybrid": motion_hybrid,
    "prompt_pairs": prompt_pairs,
    "pieces": pieces,
    "upsample": upsample,
}
