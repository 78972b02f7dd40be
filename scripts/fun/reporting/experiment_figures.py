"""How an experiment's figure shows the pictures that its stages made: the blocks and metrics of a figure.json.

FIGURES has a function for each task; those of the illusions are in illusion_figures.py. Needs no torch: pictures are numpy
arrays (3, H, W) in about [-1, 1].
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from fun.data.images import heat_map, to_picture
from fun.data.timesteps import steps_made, time_text, timestep_of
from fun.reporting.drawn import Drawn
from fun.reporting.illusion_figures import (
    colour_hybrid,
    hybrid_image,
    motion_hybrid,
    pieces,
    prompt_pairs,
    visual_anagram,
)


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
    noisiest, flow = max(rows, key=timestep_of), drawn.sampling.get("path") == "flow"
    seeds = len(next(iter(rows.values())))
    which = "" if seeds == 1 else f"Pictures are of the first of {seeds} seeds; chart and table show means over all. "
    blocks = [
        {
            "layout": "grid",
            "columns": 1 + len(WAYS),
            "rows": [f"t = {t}" for t in rows],
            "panels": [panel for row in rows.values() for panel in _all_ways(drawn, row[0])],
            "caption": f"{which}Each blur is the one closest to the picture: finding it takes the picture itself.",
        },
        {
            "layout": "chart",
            "panels": [],
            "chart": {
                "kind": "bar",
                "x": {"label": "time on the flow (0: noise, 1: the picture)" if flow else "noise added up to"},
                "y": {"label": "PSNR", "unit": "dB"},
                "series": series,
            },
            "caption": "One step gives about the mean of all pictures that may lie under the noise: PSNR rewards that, although it is blurred. "
            + (
                "Euler’s method adds no noise on the way, so it stays close to that answer: the two score alike."
                if flow
                else "All steps give one of them: sharp, but usually further from the original."
            ),
        },
        {
            "layout": "scrub",
            "title": f"Many steps, from t = {noisiest}",
            "panels": _states(drawn, rows[noisiest][0]),
        },
    ]
    updates = [_updates(drawn, [row[0] for row in rows.values()])] if flow else []
    if len(rows) > 1 and flow:
        original = drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture")
        blocks = [{"layout": "row", "panels": [original]}, *updates, *blocks]
    else:  # of a single timestep the steps are the point
        blocks += updates
    metrics = [
        {"name": f"{score.upper()}, t = {t}, {WAYS[way]}", "value": mean, "n": len(rows[t]), "goal": "higher"}
        | ({"unit": "dB"} if score == "psnr" else {})
        for (score, way, t), mean in means.items()
    ]
    return blocks, metrics


def _all_ways(drawn, i):
    """The picture, and sample i denoised in each way."""
    return [
        drawn.plain_panel(drawn.arrays["original"][0], "the picture", "The picture"),
        *(_denoised(drawn, i, way) for way in WAYS),
    ]


def _denoised(drawn, i, way):
    """A panel of sample i, denoised in one way."""
    sample, psnr, picture = drawn.samples[i], drawn.arrays[f"psnr_{way}"][i], to_picture(drawn.arrays[way][i])
    made = {"seed": sample["seed"], "timestep": sample["timestep"], "way": WAYS[way]}
    if "blur" in way:
        made["sigma"] = float(drawn.arrays[f"sigma_{way}"][i])
    label, remark = WAYS[way], f"{psnr:.1f} dB"
    alt = f"{label}, t = {sample['timestep']}: {remark}"
    if way not in ("one_step", "x_0"):
        return drawn.plain_panel(picture, label, alt) | {"provenance": made, "remark": remark}
    made |= drawn.model | sample | drawn.sampling
    made["steps"] = 1 if way == "one_step" else steps_made(drawn.sampling, sample["timestep"])
    entries = {"picture": picture, "label": label, "remark": remark, "alt": alt}
    return drawn.panel(i, way, **entries, provenance=made, success=None)


def _states(drawn, i):
    """Sample i step by step: what the loop holds after each kept step, and the estimate that the step used."""
    panels, arrays = [], drawn.arrays
    for x_t, x_0, t in zip(arrays["states"], arrays["estimates"], arrays["timesteps"].tolist(), strict=True):
        state = time_text(t, drawn.sampling.get("path"))
        for picture, label in ((x_t, "xₜ: what the loop holds"), (x_0, "the network’s estimate of the picture")):
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
        "true: picture − xₜ": [to_picture(update / largest) for update in true],
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
    """Grids of the pictures, and, where several prompts are drawn, the first sample on its way from noise."""
    blocks, first = [], stages["stage_1"]
    compared = {"guidance_scales", "samplers", "steps"} & experiment.keys()
    for drawn in stages.values():
        if not compared:
            blocks.append(drawn.grid("A picture from pure noise"))
            continue
        for prompt in experiment["prompts"]:  # a grid for each prompt, with what is compared as rows
            rows = [i for i, sample in enumerate(drawn.samples) if sample["prompt"] == prompt]
            blocks.append(drawn.grid(f"“{prompt}” from pure noise", rows, f": “{prompt}”"))
    if "states" in first.arrays and len(experiment["prompts"]) > 1 and not compared:
        prompted = first.samples[0]["prompt"]
        title = f"Step by step from noise: “{prompted}”"
        blocks.append({"layout": "scrub", "title": title, "hero": True, "panels": _states(first, 0)})
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
        "y": {"label": "samples in which it is seen", "unit": "%", "min": 0, "max": 100},
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


def upsample(experiment: dict, stages: dict[str, Drawn]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_2"]
    low = to_picture(drawn.arrays["low"][0])
    pixels = low.resize(drawn.arrays["x_0"].shape[:1:-1], Image.Resampling.NEAREST)
    small = drawn.plain_panel(pixels, f"{low.width} × {low.height} pixels", "The small picture")
    compare = {"layout": "compare", "panels": [small, drawn.panel(0, "The picture enlarged", success=None)]}
    larger = [stages["stage_3"].grid("The picture enlarged again")] if "stage_3" in stages else []
    return [compare, *larger, drawn.grid("The picture enlarged")], []


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
