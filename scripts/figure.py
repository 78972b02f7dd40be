"""Show what an experiment's stages made."""

from reporting.job import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

from diffusion.checkpoints import load_arrays
from diffusion.figures import FIGURES, STAGES, Stage
from reporting.figure import write_figure

cascade, name = snakemake.wildcards.cascade, snakemake.wildcards.experiment
experiment = snakemake.params.experiment

scores = json.loads(Path(snakemake.input.scores).read_text()) if "scores" in snakemake.input.keys() else {}

stages, metrics = {}, []
for stage, numeral in STAGES.items():
    if stage in snakemake.input.keys():
        arrays, made = load_arrays(snakemake.input[stage])
        model = {key: value for key, value in made["model"].items() if value is not None}
        stages[stage] = Stage(numeral, arrays, made["samples"], model, made["sampling"], scores.get(stage))
        for rate in scores.get(stage, {}).get("metrics", []):
            percent = {key: 100 * rate[key] for key in ("value", "low", "high")}
            metrics.append(rate | percent | {"name": f"{numeral}: {rate['name']}", "unit": "%"})
blocks, measured = FIGURES[experiment["task"]](experiment, stages)

write_figure(
    Path(snakemake.output.figure).parent,
    id=f"{cascade}_{name}",
    title=experiment.get("title", name.replace("_", " ").capitalize()),
    caption=experiment["caption"],
    task=experiment["task"],
    blocks=blocks,
    metrics=metrics + measured,
    provenance={"cascade": cascade, "command": f"snakemake --cores 1 {snakemake.output.figure}"},
)
