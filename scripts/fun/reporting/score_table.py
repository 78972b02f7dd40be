"""Every number of the report as one table, results/scores.csv: a row for each measurement and for each point of a chart."""

import pandas as pd

COLUMNS = (
    "figure", "stage", "what", "at", "value", "low", "high", "n", "unit", "sampler", "steps", "calls", "guidance_scale"
)  # fmt: skip
STAGES = ("Stage I", "Stage II", "Stage III")
MADE = {
    "sampler": ("sampler",),
    "steps": ("steps", "num_steps"),
    "calls": ("calls",),
    "guidance_scale": ("guidance_scale",),
}


def score_table(figures) -> pd.DataFrame:
    """The numbers of `fun.reporting.figure.Figure`s, in their order, with the columns COLUMNS.

    low, high: the ends of the 95 % interval. at: the x of a chart's point; empty for a measurement. sampler, steps, calls and
    guidance_scale: what all pictures of the figure (and of the stage) have in common; empty where they differ, or none was drawn.
    """
    rows = [row for figure in figures for row in (*_measured(figure), *_charted(figure))]
    return pd.DataFrame(rows, columns=list(COLUMNS)).convert_dtypes()  # whole numbers as such, though some are missing


def _measured(figure):
    for metric in figure.metrics:
        before, _, after = metric["name"].partition(": ")
        stage = metric.get("of", before if before in STAGES else "")
        what = after if stage and before == stage else metric["name"]
        numbers = {key: metric[key] for key in ("value", "low", "high", "n", "unit") if key in metric}
        yield {"figure": figure.id, "stage": stage, "what": what} | numbers | _drawn(figure, stage)


def _charted(figure):
    for chart in (block["chart"] for block in figure.blocks if block["layout"] == "chart"):
        for series in chart["series"]:
            what = ", ".join(filter(None, [chart["y"]["label"], series["name"]]))
            for i, at in enumerate(series["x"]):
                numbers = {
                    name: series[key][i]
                    for name, key in (("value", "y"), ("low", "low"), ("high", "high"))
                    if key in series
                }
                made = {"figure": figure.id, "stage": "", "what": what, "at": at, "unit": chart["y"].get("unit")}
                yield made | numbers | _drawn(figure, "")


def _drawn(figure, stage):
    """What made all of a figure's pictures, of one stage if there are several."""
    made = [panel["provenance"] for block in figure.blocks for panel in block["panels"]]
    drawn = [one for one in made if "sampler" in one and stage in ("", one.get("stage"))]
    found = {}
    for column, names in MADE.items():
        values = {next((one[name] for name in names if name in one), None) for one in drawn}
        found[column] = values.pop() if len(values) == 1 else None
    return found
