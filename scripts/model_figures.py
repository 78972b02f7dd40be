"""Show what a model draws epoch by epoch, step by step, and how it denoises real digits."""

from reporting.job import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion.checkpoints import load_arrays
from reporting.figure import write_figure

model, params = snakemake.wildcards.model, snakemake.params
name = model.replace("_", "-")
epochs = []
for showcase_path, scores_path in zip(snakemake.input.showcases, snakemake.input.scores, strict=True):
    tensors, made_with = load_arrays(showcase_path)
    epochs.append((made_with["trained_with"]["epoch"], tensors, json.loads(Path(scores_path).read_text()), made_with))
last_epoch, last, last_scores, made_with = epochs[-1]
conditioned = params.model["class_conditioned"]
drawn = {
    "model": model,
    "network": params.model["network"],
    **made_with["sampler"],
    "guidance_scale": made_with["guidance_scale"],
}


def sheet(images, columns):
    """Images (N, 28, 28) as one picture, with a pixel between them."""
    rows = len(images) // columns
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=64)
    return Image.fromarray(padded.reshape(rows, columns, 30, 30).swapaxes(1, 2).reshape(rows * 30, columns * 30))


def summary(scores):
    accuracy = scores.get("class_accuracy")
    words = f"Fréchet distance {scores['frechet_distance']['value']:.2f} (real digits: {scores['frechet_floor']['value']:.2f})"
    return f"{accuracy['value']:.1%} of {accuracy['n']:,} read as asked; {words}" if accuracy else words


images_seen = last_epoch * params.images_per_epoch
what = "Each column was asked for one digit." if conditioned else "Nobody said which digits to draw."
write_figure(
    Path(snakemake.output.samples).parent,
    id=f"{model}_samples",
    title=f"Digits of the {name} model, epoch by epoch",
    caption=f"{last_epoch} epochs of {params.images_per_epoch:,} images = {images_seen / 60000:.3g} passes over MNIST. {what} "
    "The noise they start from is the same in every epoch, so one can watch a digit come into being.",
    task="training",
    blocks=[
        {
            "layout": "scrub",
            "panels": [
                {
                    "picture": sheet(tensors["grid"], 10),
                    "label": f"epoch {epoch}: {summary(scores)}",
                    "alt": f"Forty digits drawn by the {name} model after epoch {epoch}, in four rows of ten.",
                    "state": f"epoch {epoch}",
                    "provenance": {**drawn, "epoch": epoch, "seed": made["seed"]},
                }
                for epoch, tensors, scores, made in epochs
            ],
        }
    ],
    metrics=[
        {"name": f"epoch {epoch}: class accuracy", "unit": "%", "goal": "higher", "n": scores["class_accuracy"]["n"]}
        | {key: 100 * scores["class_accuracy"][key] for key in ("value", "low", "high")}
        for epoch, _, scores, _ in epochs
        if conditioned
    ]
    + [
        {"name": f"epoch {epoch}: Fréchet distance", "goal": "lower", **scores["frechet_distance"]}
        for epoch, _, scores, _ in epochs
    ]
    + [
        {
            "name": "Fréchet distance of real test digits (the floor)",
            "goal": "lower",
            **{key: last_scores["frechet_floor"][key] for key in ("value", "n")},
        }
    ],
    provenance={"command": f"snakemake --cores 1 {snakemake.output.samples}"},
)

steps = len(last["timesteps"])
shown = sorted({round(k * (steps - 1) / 11) for k in range(12)})
write_figure(
    Path(snakemake.output.reverse_process).parent,
    id=f"{model}_reverse_process",
    title=f"From noise to digits, {name} model",
    caption="Above, what the loop holds after each step. Below, the estimate of the finished digits that the step was based "
    "on: first a blur of all that might come, then sharper and sharper.",
    task="training",
    blocks=[
        {
            "layout": "scrub",
            "hero": conditioned,
            "panels": [
                {
                    "picture": sheet(last[kind][i], 10),
                    "label": label,
                    "alt": f"{what}, after the step to t = {last['timesteps'][i]}.",
                    "state": f"t = {last['timesteps'][i]}" if last["timesteps"][i] >= 0 else "finished",
                    "provenance": {
                        **drawn,
                        "epoch": last_epoch,
                        "seed": made_with["seed"],
                        "t": int(last["timesteps"][i]),
                    },
                }
                for i in shown
                for kind, label, what in (
                    ("x_t", "xₜ: what the loop holds", "Ten digits on their way from noise"),
                    (
                        "x_0",
                        "x₀: the estimate of the finished digits",
                        "The network's estimate of the ten finished digits",
                    ),
                )
            ],
        }
    ],
    provenance={"command": f"snakemake --cores 1 {snakemake.output.reverse_process}"},
)

titles = {"noisy": "noisy", "one_step": "one step", "iterative": "iterative"}
scored = {(row["t"], row["kind"]): row for row in last_scores["denoising"]}
panels = [
    {
        "picture": sheet(last["clean"][:10], 10),
        "label": "test digits, never seen in training",
        "alt": "Ten handwritten digits of MNIST's test set, 0 to 9.",
        "provenance": {"data": "MNIST test set"},
    }
]
for t in last["noised_at"].tolist():
    for kind, title in titles.items():
        row = scored[t, kind]
        panels.append(
            {
                "picture": sheet(last[f"{kind}_{t}"][:10], 10),
                "label": f"{title}, t = {t}: {row['psnr']:.1f} dB, {row['class_accuracy']['value']:.0%} read right",
                "alt": f"The ten digits noised to t = {t}: {title}.",
                "provenance": {**drawn, "guidance_scale": 1.0, "epoch": last_epoch, "seed": made_with["seed"], "t": t},
            }
        )
write_figure(
    Path(snakemake.output.denoising).parent,
    id=f"{model}_denoising",
    title=f"One step or many? The {name} model denoises real digits",
    caption="One step gives the mean of all digits that could be under the noise: the best guess in decibels, but blurred. "
    "Many steps commit to one of them: sharp, and sometimes another one. Means over a hundred digits.",
    task="training",
    blocks=[{"layout": "row", "panels": panels[:1]}, {"layout": "grid", "columns": 3, "panels": panels[1:]}],
    metrics=[
        {
            "name": f"{titles[row['kind']]}, t = {row['t']}",
            "value": row["psnr"],
            "unit": "dB",
            "goal": "higher",
            "n": 100,
        }
        for row in last_scores["denoising"]
    ],
    provenance={"command": f"snakemake --cores 1 {snakemake.output.denoising}"},
)
