"""What one stage made of an experiment, and how its samples become panels of a figure. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fun.data.images import to_picture
from fun.data.timesteps import steps_made

STAGES = {"stage_3": "Stage III", "stage_2": "Stage II", "stage_1": "Stage I"}  # the largest pictures first
LONGEST_ROW = 16
COMPARED = {"guidance_scale", "sampler", "steps"}  # of stage I, where an experiment compares some
SAMPLERS = {"ddpm": "DDPM", "ddim": "DDIM", "dpm_solver": "DPM-Solver++", "sde_dpm_solver": "SDE-DPM-Solver++"}
BLACKED_OUT = "blacked out by the safety checker"


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
        shown = self.samples[i] | {"sampler": SAMPLERS.get(self.samples[i].get("sampler"))}
        others = [self.samples[j] for j in among or range(len(self.samples))]
        varying = [key for key in words if len({str(sample.get(key)) for sample in others}) > 1]
        return ", ".join(words[key].format(shown[key]) for key in varying or ["seed"])

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
