"""Names of a figure's files that say what is in them: "stage_2_seed_3.png", not "007.png"."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

LONGEST = 72  # characters, without a number and the ending
LONGEST_PART = 40
# What made a picture -> the word before its value. The first two are always named, the others if they vary in a stage.
PARTS = {
    "stage": "",
    "seed": "seed",
    "guidance_scale": "guidance",
    "start": "from",
    "timestep": "t",
    "t": "t",
    "epoch": "epoch",
    "sigma": "sigma",
    "way": "",
    "prompt": "",
    "view": "",
}
ROMAN = {"Stage I": "stage_1", "Stage II": "stage_2", "Stage III": "stage_3"}


def name_panels(panels: Sequence[dict], rows: Sequence[str], pictures: Sequence[Hashable]) -> dict[Hashable, str]:
    """{picture: name} for the panels of a figure; a picture that several panels show is named after the first.

    A name has what made the picture: stage, seed, and of the other PARTS those that vary among the stage's pictures. If that
    is the same for several pictures, they also get their state, their row's label, their own label, and at last a number,
    until they differ.

    Args:
        panels: as in figure.json.
        rows: the label of each panel's row, or "".
        pictures: what each panel shows; equal ones are one picture.
    """
    made = [_made(panel) for panel in panels]
    found = {(values.get("stage"), key, value) for values in made for key, value in values.items()}
    varying = {place for place, count in Counter((stage, key) for stage, key, _ in found).items() if count > 1}
    named, more = {}, {}
    for panel, row, values, picture in zip(panels, rows, made, pictures, strict=True):
        if picture not in named:
            label = panel["label"].split(": ")[0]
            told = [key for key in PARTS if key in ("stage", "seed") or (values.get("stage"), key) in varying]
            parts = [slug(f"{PARTS[key]} {values[key]}") for key in told if key in values]
            named[picture] = _joined(parts) or slug(label) or "picture"
            more[picture] = [slug(text) for text in (panel.get("state", ""), row, label)]
    for level in range(3):
        shared = Counter(named.values())
        for picture, name in named.items():
            text = more[picture][level]
            if shared[name] > 1 and f"_{text}_" not in f"_{name}_":
                named[picture] = _joined([name, text])
    taken = {}
    for picture, name in named.items():
        taken[number_name(name, taken)] = picture
    return {picture: name for name, picture in taken.items()}


def labels_of(name: str, prompts: Sequence[str], views: Sequence[str]) -> dict[str, str]:
    """A picture's name as the columns by which Snakemake's report filters: "stage", "seed", "prompt", "view", "shown".

    prompts, views: of the experiment; the prompt is the one that is named, or all of them.
    """
    parts = re.fullmatch(r"(?:stage_(\d)_?)?(?:seed_(\d+)_?)?(.*)", name)
    stage, seed, rest = (part or "" for part in parts.groups())
    named = [prompt for prompt in prompts if slug(prompt) and slug(prompt) in rest]
    for prompt in named:
        rest = rest.replace(slug(prompt), "")
    shown = rest.strip("_").replace("_", " ")
    return {
        "stage": stage,
        "seed": seed,
        "prompt": " | ".join(filter(None, named or prompts)),
        "view": ", ".join(views),
        "shown": shown,
    }


def number_name(name: str, taken) -> str:
    """The name, or the first of name_2, name_3, ... that is not among those `taken`."""
    number, numbered = 1, name
    while numbered in taken:
        number += 1
        numbered = f"{name}_{number}"
    return numbered


def slug(text: str) -> str:
    """The text in lower-case letters, digits and underscores: "xₜ, σ = 0.5" is "xt_sigma_0_5"."""
    plain = "".join(map(_spelled, unicodedata.normalize("NFKD", text)))
    return re.sub("[^a-z0-9]+", "_", plain.encode("ascii", "ignore").decode().lower())[:LONGEST_PART].strip("_")


def _spelled(letter):
    name = unicodedata.name(letter, "")
    return name.split()[-1] if name.startswith("GREEK SMALL LETTER ") else letter


def _joined(parts):
    return "_".join(filter(None, parts))[:LONGEST].strip("_")


def _made(panel):
    """What made the picture, as far as it is named: {entry of PARTS: its value as text}."""
    made = panel.get("provenance", {})
    if "stage_1_guidance_scale" in made:  # the scales that an experiment compares
        made = made | {"guidance_scale": made["stage_1_guidance_scale"]}
    values = {key: made[key] for key in PARTS if made.get(key) is not None}
    texts = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    plain = {"identity": ""} | ROMAN
    return {key: plain.get(text, text) for key, text in texts.items()}
