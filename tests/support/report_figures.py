"""A small set of synthetic figures with every layout, for the tests of the report. No network has seen these pictures."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from fun.reporting.figure import read_figure, write_figure

HOSTILE = "<script>alert(1)</script>"
CONFIG = {"cascade": "miniature", "mnist": {"epochs": 20, "note": HOSTILE}}
VERSIONS = {"torch": "2.15.0", "diffusers": "0.42.1"}
COMPARISON = [
    {
        "name": "MNIST U-Net",
        "network": "small U-Net",
        "parameters": 387_572,
        "flops_per_step": 8.8e7,
        "steps": 25,
        "image_size": 28,
    },
    {
        "name": "Miniature, stage I",
        "network": "UNet2DConditionModel",
        "parameters": 890_000,
        "flops_per_step": 6.1e8,
        "steps": 30,
        "image_size": 16,
    },
    {
        "name": "DeepFloyd IF-I-XL",
        "network": "UNet2DConditionModel",
        "parameters": 4_304_700_000,
        "flops_per_step": 7.1e12,
        "steps": 100,
        "image_size": 64,
        "note": "counted from its published configuration, not run here",
    },
]
MADE = {
    "sampler": "ddpm",
    "steps": 30,
    "guidance_scale": 7.0,
    "model": "resources/miniature",
    "revision": "0123456789abcdef",
}


def drawing(words, size=64, ink="gold", paper="midnightblue"):
    """A picture with a glyph on it, at any size."""
    large = Image.new("RGB", (256, 256), paper)
    ImageDraw.Draw(large).text((128, 128), words, fill=ink, anchor="mm", font_size=230)
    return large.resize((size, size), Image.Resampling.BOX)


def noised(picture, share, seed=0):
    """The picture with `share` (0 .. 1) of it turned into noise."""
    pixels = np.asarray(picture, dtype=float)
    noise = np.random.default_rng(seed).normal(128, 64, pixels.shape)
    mixed = np.sqrt(1 - share) * (pixels - 128) + np.sqrt(share) * (noise - 128) + 128
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def sheet(pictures):
    """Pictures of one size in a row, as one picture."""
    return Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures], axis=1))


def panel(picture, label, seed=0, **entries):
    alt = entries.pop("alt", f"A drawing, {label}")
    return {"picture": picture, "label": label, "alt": alt, "provenance": {"seed": seed}} | entries


def write_figures(folder):
    """Write the figures under `folder` and return the paths of their figure.json, in order."""
    paths = []

    def write(name, section, title, caption, blocks, **entries):
        entries = {"provenance": MADE | {"prompt": title.lower()}} | entries
        paths.append(
            write_figure(
                folder / name, id=name, section=section, title=title, caption=caption, blocks=blocks, **entries
            )
        )

    six = drawing("6")
    write(
        "forward",
        "forward_process",
        "A six, drowning",
        "The same digit with more and more noise.",
        [
            {
                "layout": "row",
                "panels": [
                    panel(six, "the picture", provenance={}),
                    *(panel(noised(six, t / 1000), f"t = {t}", provenance={"t": t}) for t in (250, 500, 750)),
                ],
            }
        ],
    )
    write(
        "denoising",
        "denoising",
        "Three ways back",
        "Blur, one step, many steps.",
        [
            {
                "layout": "grid",
                "columns": 4,
                "title": "Noisy, blurred, one step, many steps",
                "panels": [
                    panel(picture, f"{label}, t = {t}")
                    for t in (250, 500)
                    for label, picture in (
                        ("noisy", noised(six, t / 1000)),
                        ("blur", noised(six, t / 1000).filter(ImageFilter.GaussianBlur(3))),
                        ("one step", six.filter(ImageFilter.GaussianBlur(1))),
                        ("many steps", six),
                    )
                ],
            },
            {
                "layout": "compare",
                "title": "One step against many",
                "panels": [panel(six.filter(ImageFilter.GaussianBlur(3)), "one step"), panel(six, "many steps")],
            },
            {
                "layout": "scrub",
                "hero": True,
                "title": "The iterative run",
                "panels": [
                    panel(picture, label, state=f"t = {t}")
                    for t in range(690, -1, -90)
                    for label, picture in (
                        ("xₜ", noised(six, t / 1000, seed=t)),
                        ("x₀ estimate", six.filter(ImageFilter.GaussianBlur(t / 200))),
                    )
                ],
            },
        ],
        metrics=[
            {"name": "PSNR, one step", "value": 21.43, "unit": "dB", "n": 64, "goal": "higher"},
            {
                "name": "Digit read correctly",
                "value": 93.75,
                "low": 85.0,
                "high": 97.5,
                "unit": "%",
                "n": 64,
                "goal": "higher",
            },
        ],
    )
    write(
        "sampling",
        "sampling",
        f"A prompt of {HOSTILE}",
        f'Whatever a prompt says, it is text: {HOSTILE} & "quotes".',
        [
            {
                "layout": "row",
                "panels": [panel(drawing(str(k), 256), HOSTILE, k, provenance={"prompt": HOSTILE}) for k in range(3)],
            }
        ],
    )
    write(
        "guidance",
        "guidance",
        "Guidance 1, 3, 7",
        "Four seeds at each strength.",
        [
            {
                "layout": "grid",
                "columns": 8,
                "rows": [f"guidance {scale}" for scale in (1, 3, 7)],
                "panels": [
                    panel(
                        noised(drawing(str(seed), 32), 0.3 / scale),
                        f"seed {seed}",
                        provenance={"seed": seed, "guidance_scale": scale},
                        success=scale > 1 or seed % 2 == 0,
                    )
                    for scale in (1, 3, 7)
                    for seed in range(8)
                ],
            },
            {
                "layout": "chart",
                "title": "Digits read correctly",
                "panels": [],
                "chart": {
                    "kind": "bar",
                    "x": {"label": "guidance"},
                    "y": {"label": "accuracy", "unit": "%", "min": 0, "max": 100},
                    "series": [
                        {
                            "name": "digit",
                            "x": [1, 3, 7],
                            "y": [61, 97, 95],
                            "low": [57, 95, 93],
                            "high": [65, 98.5, 97],
                        },
                        {
                            "name": "colour",
                            "x": [1, 3, 7],
                            "y": [88, 99, 99.5],
                            "low": [85, 98, 98.6],
                            "high": [90, 99.6, 99.9],
                        },
                    ],
                },
            },
        ],
    )
    write(
        "six_nine",
        "visual_anagram",
        "Six and nine",
        "Turn the page, and the digit is another.",
        [
            {
                "layout": "flip",
                "panels": [
                    panel(six, label, k, state=f"seed {k}", success=success, **turn)
                    for k, transform in enumerate(
                        ("rotate_180", "rotate_90_cw", "flip_vertical", "flip_horizontal", "negate")
                    )
                    for label, success, turn in (
                        ("a golden six", True, {}),
                        ("a golden nine", k != 2, {"transform": transform}),
                    )
                ]
                + [
                    panel(six, "a six", 9, state="seed 9", success=None),
                    panel(ImageOps.solarize(six), "a solar six", 9, state="seed 9", success=None),
                ],
            }
        ],
        metrics=[
            {"name": f"{stage}: {name}", "outcome": outcome, "of": stage, "value": value, "unit": "%"}
            | {"low": value / 2, "high": value / 2 + 50, "n": 12}
            for stage in ("Stage I", "Stage II")
            for name, outcome, value in (("all readings at once", "both", 83.3), ("no reading", "neither", 16.7))
        ],
    )
    digits = [drawing(str(digit), 28, "white", "black") for digit in range(10)]
    write(
        "reverse",
        "training",
        "From noise to digits",
        "Ten digits at once.",
        [
            {
                "layout": "scrub",
                "hero": True,
                "panels": [
                    panel(sheet(pictures), label, state=f"t = {t}")
                    for t in range(280, -1, -40)
                    for label, pictures in (
                        ("xₜ", [noised(digit, (t / 300) ** 0.5, seed=t + k) for k, digit in enumerate(digits)]),
                        ("x₀ estimate", [digit.filter(ImageFilter.GaussianBlur(t / 80)) for digit in digits]),
                    )
                ],
            }
        ],
    )
    epochs = (1, 5, 10, 15, 20)
    write(
        "digits",
        "training",
        "The digits of epoch 1 … 20",
        "Same seeds each time: one digit a column.",
        [
            {
                "layout": "scrub",
                "panels": [
                    panel(noised(drawing("5", 28, "white", "black"), 0.8 / epoch), "samples", state=f"epoch {epoch}")
                    for epoch in epochs
                ],
            },
            {
                "layout": "grid",
                "columns": 10,
                "title": "All digits",
                "panels": [
                    panel(
                        noised(drawing(str(digit), 28, "white", "black"), 0.08, 10 * row + digit).convert("L"),
                        str(digit),
                        row,
                    )
                    for row in range(4)
                    for digit in range(10)
                ],
            },
        ],
    )
    write(
        "scores",
        "training",
        "How good the digits get",
        "",
        [
            {
                "layout": "chart",
                "title": "Loss",
                "panels": [],
                "chart": {
                    "kind": "line",
                    "x": {"label": "images seen"},
                    "y": {"label": "mean squared error", "log": True},
                    "series": [
                        {
                            "name": "training",
                            "x": list(range(0, 120000, 1000)),
                            "y": [0.9 / (1 + k / 6) ** 0.6 for k in range(120)],
                        }
                    ],
                },
            },
            {
                "layout": "chart",
                "title": "Fréchet distance",
                "panels": [],
                "chart": {
                    "kind": "line",
                    "x": {"label": "epoch"},
                    "y": {"label": "Fréchet distance", "min": 0},
                    "series": [
                        {
                            "name": "class_conditioned",
                            "x": list(epochs),
                            "y": [9.1, 3.2, 1.4, 0.9, 0.7],
                            "low": [8, 3, 1.2, 0.8, 0.6],
                            "high": [10, 3.5, 1.7, 1.1, 0.9],
                        },
                        {"name": "time_conditioned", "x": list(epochs), "y": [12.3, 5.5, 3.1, 2.2, 1.9]},
                        {"name": "floor", "x": [1, 20], "y": [0.2, 0.2]},
                    ],
                },
            },
        ],
    )
    return paths


def load_figures(folder):
    """The synthetic figures, written under `folder` and read back."""
    return [read_figure(path) for path in write_figures(folder)]
