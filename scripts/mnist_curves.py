"""Draw loss, class accuracy and Frechet distance of all models over the epochs."""

from reporting.job import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

import pandas as pd

from reporting.figure import write_figure

names = [model.replace("_", "-") for model in snakemake.params.models]
losses = dict(zip(names, map(pd.read_csv, snakemake.input.losses), strict=True))
scores = dict(zip(names, map(pd.read_csv, snakemake.input.scores), strict=True))
judge = json.loads(Path(snakemake.input.classifier).read_text())["test_accuracy"]
judged = {name: table for name, table in scores.items() if "class_accuracy.value" in table}


def chart(title, caption, y, series):
    epoch = {"label": "epoch", "min": 0}
    return {
        "layout": "chart",
        "title": title,
        "caption": caption,
        "panels": [],
        "chart": {"kind": "line", "x": epoch, "y": y, "series": series},
    }


blocks = [
    chart(
        "Loss",
        "Mean squared error of what the network predicts, averaged over each tenth of an epoch.",
        {"label": "mean squared error", "log": True},
        [
            {
                "name": name,
                "x": (table["images"] / table["images"].max() * table["epoch"].max()).round(3).tolist(),
                "y": table["loss"].tolist(),
            }
            for name, table in losses.items()
        ],
    )
]
if judged:
    blocks.append(
        chart(
            "Class accuracy",
            f"How often a classifier ({judge['value']:.2%} right on real test digits) reads the digit that was asked for; "
            "the band is the 95 % Wilson interval.",
            {"label": "read as asked", "unit": "%", "max": 100},
            [
                {"name": name, "x": table["epoch"].tolist()}
                | {
                    key: (100 * table[f"class_accuracy.{column}"]).tolist()
                    for key, column in [("y", "value"), ("low", "low"), ("high", "high")]
                }
                for name, table in judged.items()
            ],
        )
    )
floor = next(iter(scores.values()))
blocks.append(
    chart(
        "Fréchet distance",
        f"How far the drawn digits' features are from those of the 60,000 training digits, {floor['frechet_distance.n'].iloc[-1]:,} "
        "digits each time; the floor is what as many real test digits score.",
        {"label": "Fréchet distance", "log": True},
        [
            {"name": name, "x": table["epoch"].tolist(), "y": table["frechet_distance.value"].tolist()}
            for name, table in scores.items()
        ]
        + [{"name": "real digits (floor)", "x": floor["epoch"].tolist(), "y": floor["frechet_floor.value"].tolist()}],
    )
)
write_figure(
    Path(snakemake.output.figure).parent,
    id="mnist_curves",
    title="Learning to draw digits, measured",
    caption="Loss falls fast and then hardly moves, while the digits go on getting better: the loss is an average over all "
    "noise levels, most of them easy.",
    task="training",
    blocks=blocks,
    metrics=[
        {"name": "classifier's accuracy on 10,000 real test digits", "unit": "%", "goal": "higher", "n": judge["n"]}
        | {k: 100 * judge[k] for k in ("value", "low", "high")}
    ],
    provenance={"command": f"snakemake --cores 1 {snakemake.output.figure}"},
)
