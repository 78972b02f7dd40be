"""What an experiment's figure shows of the pictures that its stages made: the blocks and metrics of a figure.json.

A function for each task, by name in FIGURES. No torch: pictures come as numpy arrays (3, H, W) in about [-1, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from diffusion.images import to_picture
from diffusion.views import make_view

STAGES = {"stage_2": "Stage II", "stage_1": "Stage I"}  # the largest pictures first
TURNS = ("rotate_180", "rotate_90_cw", "rotate_90_ccw", "flip_vertical", "flip_horizontal", "negate")
FEW = 8  # as many samples as are also shown turning, scrubbing or beside one another; the grids show all
DISTANCES = (1, 2, 4)
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Stage:
    """What one stage made of an experiment."""

    name: str  # "Stage I" or "Stage II"
    arrays: dict[str, np.ndarray]  # the pictures x_0 (N, 3, H, W), and what else the task made
    samples: list[dict]  # N of them: seed, prompt, guidance_scale, ...
    model: dict  # what made them: model, revision, ...
    sampling: dict  # and how: sampler, steps, ...
    judged: dict | None = None  # where there is a judge: "success", N of True or False, and "reads", N texts

    @property
    def title(self) -> str:
        """Like "Stage I, 64 × 64 pixels"."""
        return "{}, {} × {} pixels".format(self.name, *self.arrays["x_0"].shape[:1:-1])

    def label(self, i: int) -> str:
        """What sets sample i apart from the others."""
        words = {"prompt": "“{}”", "guidance_scale": "guidance {:g}", "start": "from t = {}", "timestep": "t = {}"}
        words["seed"] = "seed {}"
        varying = [key for key in words if len({sample.get(key) for sample in self.samples}) > 1]
        return ", ".join(words[key].format(self.samples[i][key]) for key in varying or ["seed"])

    def panel(self, i: int, what: str, **entries) -> dict:
        """Sample i as a panel, unless `entries` say otherwise; `what` it shows is for those who do not see it."""
        made = {"stage": self.name} | self.model | self.sampling | self.samples[i]
        panel = {"label": self.label(i), "alt": f"{what}: {self.label(i)}, {self.title}", "provenance": made}
        if "picture" not in entries:
            panel["picture"] = to_picture(self.arrays["x_0"][i])
        if self.judged is not None:
            panel["success"] = self.judged["success"][i]
            panel["provenance"] = made | {"judge_reads": self.judged["reads"][i]}
        return panel | entries

    def plain_panel(self, picture: np.ndarray | Image.Image, label: str, alt: str) -> dict:
        """A picture that no network made."""
        picture = picture if isinstance(picture, Image.Image) else to_picture(picture)
        return {"picture": picture, "label": label, "alt": alt, "provenance": {}}

    def grid(self, what: str) -> dict:
        """All samples, in a row those that differ in their seed only."""
        seeds = len({sample["seed"] for sample in self.samples})
        columns = min(
            seeds if 1 < seeds < len(self.samples) else len(self.samples), 16 if seeds < len(self.samples) else 8
        )
        panels = [self.panel(i, what) for i in range(len(self.samples))]
        return {"layout": "grid", "title": self.title, "columns": columns, "panels": panels}


def forward_process(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_1"]
    panels = [drawn.plain_panel(drawn.arrays["x_0"][0], "the picture", "The picture without noise")]
    for i, (x_t, abar) in enumerate(zip(drawn.arrays["x_t"], drawn.arrays["alpha_bar"], strict=True)):
        signal, noise = abar**0.5, (1 - abar) ** 0.5
        panels.append(
            drawn.panel(
                i,
                "The picture under noise",
                picture=to_picture(x_t),
                label=f"t = {drawn.samples[i]['timestep']}: {signal:.2f} of the picture, {noise:.2f} of noise",
                provenance=drawn.model | drawn.samples[i],
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


def denoising(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_1"]
    arrays, timesteps = drawn.arrays, list(dict.fromkeys(sample["timestep"] for sample in drawn.samples))
    rows = {t: [i for i, sample in enumerate(drawn.samples) if sample["timestep"] == t] for t in timesteps}
    panels = []
    for way, words in WAYS.items():
        for t in timesteps:
            i = rows[t][0]
            made = drawn.model | {key: drawn.samples[i][key] for key in ("seed", "timestep")} | {"way": words}
            made |= {"sigma": float(arrays[f"sigma_{way}"][i])} if "blur" in way else {}
            made |= drawn.samples[i] | drawn.sampling if way in ("one_step", "x_0") else {}
            label = f"{words}, t = {t}: {arrays[f'psnr_{way}'][i]:.1f} dB"
            panels.append(
                drawn.panel(i, way, picture=to_picture(arrays[way][i]), label=label, alt=label, provenance=made)
            )
    original = drawn.plain_panel(arrays["original"][0], "the picture", "The picture without noise")
    states = []
    for x_t, x_0, t in zip(arrays["states"], arrays["estimates"], arrays["timesteps"].tolist(), strict=True):
        state = f"t = {t}" if t >= 0 else "finished"
        for picture, label in ((x_t, "xₜ: what the loop holds"), (x_0, "x₀: the network's estimate of the picture")):
            entries = {"picture": to_picture(picture), "label": label, "state": state, "alt": f"{label}, {state}"}
            states.append(drawn.panel(0, label, **entries))

    def mean(score, way, t):
        return float(arrays[f"{score}_{way}"][rows[t]].mean())

    series = [
        {"name": words, "x": [f"t = {t}" for t in timesteps], "y": [mean("psnr", way, t) for t in timesteps]}
        for way, words in WAYS.items()
    ]
    chart = {"kind": "bar", "x": {"label": "noise added up to"}, "y": {"label": "PSNR", "unit": "dB"}, "series": series}
    metrics = [
        {
            "name": f"{score.upper()}, t = {t}, {words}",
            "value": mean(score, way, t),
            "n": len(rows[t]),
            "goal": "higher",
        }
        | ({"unit": "dB"} if score == "psnr" else {})
        for score in ("psnr", "ssim")
        for t in timesteps
        for way, words in WAYS.items()
    ]
    blocks = [
        {"layout": "row", "panels": [original]},
        {
            "layout": "grid",
            "columns": len(timesteps),
            "panels": panels,
            "caption": "Each blur is the one that comes nearest to the picture, which only who knows the picture can find.",
        },
        {
            "layout": "chart",
            "panels": [],
            "chart": chart,
            "caption": "One step gives about the mean of all pictures that may lie under the noise: PSNR rewards that, though "
            "it is blurred. All steps give one of them, sharp, and on the whole further from the one that was there.",
        },
        {"layout": "scrub", "title": f"All steps, from t = {max(timesteps)}", "panels": states},
    ]
    return blocks, metrics


def text_to_image(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    return [drawn.grid("A picture from pure noise") for drawn in stages.values()], []


def image_to_image(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = next(iter(stages.values()))
    original = drawn.plain_panel(stages["stage_1"].arrays["original"][0], "the picture", "The picture to start from")
    seed = drawn.samples[0]["seed"]
    states = []
    for i, sample in enumerate(drawn.samples):
        if sample["seed"] == seed:
            state = f"from t = {sample['start']}"
            states += [original | {"state": state}, drawn.panel(i, "What became of it", state=state)]
    blocks = [{"layout": "scrub", "title": f"Seed {seed}", "panels": states}]
    return blocks + [stage.grid("What became of the picture") for stage in stages.values()], []


def inpainting(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = next(iter(stages.values()))
    picture, unknown = drawn.arrays["original"][0], drawn.arrays["mask"]
    panels = [
        drawn.plain_panel(picture, "the picture", "The whole picture"),
        drawn.plain_panel(
            np.where(unknown, 0, picture), "what is known of it", "The picture, grey where it is made anew"
        ),
    ]
    return [{"layout": "row", "panels": panels}, *(stage.grid("Inpainted") for stage in stages.values())], []


def visual_anagram(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = next(iter(stages.values()))
    entries, size = experiment["views"], stages["stage_1"].arrays["x_0"].shape[-1]
    first, *others = [make_view(entry["view"], size, entry["seed"]) for entry in entries]
    panels = []
    for i in range(min(len(drawn.samples), FEW)):
        picture = drawn.arrays["x_0"][i]
        for view, entry in zip(others, entries[1:], strict=True):
            turn = {"transform": view.name}
            if first.name != "identity" or view.name not in TURNS:
                turn = {"picture_after": to_picture(view.view(picture))}
            words = {"label": entries[0]["prompt"], "reads": entry["prompt"]}
            alt = f"“{words['label']}”, and after the turn ({view.name}) “{words['reads']}”, {drawn.label(i)}"
            panels.append(drawn.panel(i, alt, picture=to_picture(first.view(picture)), alt=alt, **words, **turn))
    blocks = [{"layout": "flip", "title": drawn.title, "panels": panels}]
    return blocks + [stage.grid(f"Anagram as seen under {first.name}") for stage in stages.values()], []


def hybrid_image(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = next(iter(stages.values()))
    panels = []
    for distance in DISTANCES:
        state = "near" if distance == 1 else f"{distance} times as far"
        for i in range(min(len(drawn.samples), FEW)):
            picture = _from_afar(to_picture(drawn.arrays["x_0"][i]), distance)
            panels.append(drawn.panel(i, f"The hybrid, {state}", picture=picture, state=state))
    blocks = [{"layout": "scrub", "title": "Near and far", "panels": panels}]
    return blocks + [stage.grid("Hybrid image") for stage in stages.values()], []


def upsample(experiment: dict, stages: dict[str, Stage]) -> tuple[list[dict], list[dict]]:
    drawn = stages["stage_2"]
    low = to_picture(drawn.arrays["low"][0])
    pixels = low.resize(drawn.arrays["x_0"].shape[:1:-1], Image.Resampling.NEAREST)
    blocks = [
        {
            "layout": "compare",
            "panels": [
                drawn.plain_panel(pixels, f"{low.width} × {low.height} pixels", "The small picture"),
                drawn.panel(i, "The picture enlarged"),
            ],
        }
        for i in range(min(len(drawn.samples), FEW))
    ]
    return blocks + ([drawn.grid("The picture enlarged")] if len(drawn.samples) > 1 else []), []


def _from_afar(picture, distance):
    """The picture as large as it looks from so many times the distance, amid grey."""
    width, height = picture.width // distance, picture.height // distance
    canvas = Image.new("RGB", picture.size, GREY)
    canvas.paste(
        picture.resize((width, height), Image.Resampling.BOX),
        ((picture.width - width) // 2, (picture.height - height) // 2),
    )
    return canvas


FIGURES: dict[str, Callable[[dict, dict[str, Stage]], tuple[list[dict], list[dict]]]] = {
    "forward_process": forward_process,
    "denoising": denoising,
    "text_to_image": text_to_image,
    "image_to_image": image_to_image,
    "inpainting": inpainting,
    "visual_anagram": visual_anagram,
    "hybrid_image": hybrid_image,
    "upsample": upsample,
}
