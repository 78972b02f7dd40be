"""How a figure shows illusions: anagrams and hybrids in each of their readings, pairs of prompts, and pieces of a picture."""

import math
import os
from dataclasses import replace

import numpy as np
from PIL import Image

from fun.data.images import to_picture
from fun.diffusion.pieces import lay
from fun.diffusion.views import make_view
from fun.reporting.drawn import Drawn

TURNS = ("rotate_180", "rotate_90_cw", "rotate_90_ccw", "flip_vertical", "flip_horizontal", "negate")
FEW = 8  # only so many samples are shown in all their readings; a grid shows the others
FRAMES = 8  # of pieces on their way
DISTANCES = (1, 2, 4)
GREY = (128, 128, 128)


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
    number = ({first: 0} if experiment["image"] is None else {}) | {last: len(prompts) - 1}
    asked = "; ".join(f"{name}: “{prompts[k]}”" for name, k in number.items())
    caption = f"{asked[0].upper()}{asked[1:]}."
    blocks = []
    for drawn in _showcased(stages):
        panels = []
        for i in _few(drawn):
            for name, picture in seen(drawn.arrays["x_0"][i]).items():
                prompt = f": {prompts[number[name]]}" if name in number else ""
                alt = f"The hybrid, {name}{prompt}, {drawn.label(i)}, {drawn.title}"
                entries = {"picture": picture, "label": name, "alt": alt, "state": drawn.label(i)}
                panels.append(_reading(drawn, i, number.get(name), alt, entries, {"seen": name}))
        blocks.append({"layout": "flip", "title": f"{drawn.title}{title}", "panels": panels, "caption": caption})
    return _given(stages) + blocks + _rest(stages, "The hybrid as it was drawn")


def _given(stages):
    """The picture that an inverse hybrid has a part of, if there is one."""
    drawn = next(iter(stages.values()))
    if "original" not in drawn.arrays:
        return []
    return [{"layout": "row", "panels": [drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture")]}]


def _from_afar(picture, distance):
    """The picture at the size it appears from `distance` times as far away, surrounded by grey."""
    width, height = picture.width // distance, picture.height // distance
    canvas = Image.new("RGB", picture.size, GREY)
    canvas.paste(
        picture.resize((width, height), Image.Resampling.BOX),
        ((picture.width - width) // 2, (picture.height - height) // 2),
    )
    return canvas


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
        "caption": f"The row’s prompt is what each picture should show. Upper right: a pair’s best picture of {len(rows)} as drawn, and how many "
        "of them were seen as both. Lower left: the same picture under the view, and what was seen most often where not both were.",
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
        f"{often if often == 'neither' else f'only {often}'}, {failures[often]} of {len(rows)}"
        if failures[often]
        else "–",
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
            state="the picture" if k == 0 else "rearranged" if k == FRAMES else f"{k}/{FRAMES} of the way",
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
