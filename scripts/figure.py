"""Make an experiment's figure from what its stages made."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.data.files import read_json
from fun.data.prompts import normalise, respelled, spelled_prompts
from fun.data.tensors import load_arrays
from fun.reporting.drawn import STAGES, Drawn
from fun.reporting.experiment_figures import FIGURES
from fun.reporting.figure import write_figure
from fun.reporting.illusion_figures import stimuli
from fun.reporting.provenance import without_folders
from fun.weights.safety import black_out, mark

cascade, name = snakemake.wildcards.cascade, snakemake.wildcards.experiment
experiment = snakemake.params.experiment

scores = read_json(snakemake.input.scores) if "scores" in snakemake.input.keys() else {}
safety = load_arrays(snakemake.input.safety)[0] if "safety" in snakemake.input.keys() else {}

spelled = {normalise(prompt): prompt for prompt in spelled_prompts(experiment)}
stages, metrics = {}, []
left_out = [f"CLIP's readings are left out: {scores['gone']}."] if "gone" in scores else []
for stage, numeral in STAGES.items():
    if stage in snakemake.input.keys():
        arrays, made = load_arrays(snakemake.input[stage])
        if "gone" in made:
            left_out.append(f"{numeral} is left out: {made['gone']}.")
            continue
        samples = [respelled(sample, spelled) for sample in made["samples"]]
        model = without_folders({key: value for key, value in made["model"].items() if value is not None})
        flagged = safety.get(stage)
        arrays = arrays if flagged is None else black_out(arrays, samples, flagged)
        arrays = mark(arrays, safety["watermark"]) if "watermark" in safety else arrays
        stages[stage] = Drawn(numeral, arrays, samples, model, made["sampling"], scores.get(stage), flagged)
        if flagged is not None:
            counts = {"value": int(flagged.sum()), "n": len(flagged)}
            metrics.append({"name": f"{numeral}: blacked out by the safety checker"} | counts)
        for reading in scores.get(stage, {}).get("readings", []):  # CLIP reads prompts
            reading["reads"] = [spelled.get(text, text) for text in reading["reads"]]
        for metric in scores.get(stage, {}).get("metrics", []):
            rate = "low" in metric  # shown in per cent; other scores as they are
            percent = {key: 100 * metric[key] for key in ("value", "low", "high")} | {"unit": "%"} if rate else {}
            row = {"of": numeral} if "outcome" in metric else {}
            metrics.append(metric | percent | row | {"name": f"{numeral}: {metric['name']}"})
blocks, measured = FIGURES[experiment["task"]](experiment, stages)

write_figure(
    Path(snakemake.output.figure).parent,
    id=f"{cascade}_{name}",
    title=experiment.get("title", name.replace("_", " ").capitalize()),
    caption=" ".join(filter(None, [experiment["caption"], *left_out])),
    note=experiment["note"],
    section=snakemake.params.section,
    blocks=blocks,
    metrics=metrics + measured,
    stimuli=stimuli(experiment, stages),
    provenance={"cascade": cascade}
    | snakemake.params.pictures
    | {key: text for key, text in experiment.items() if key in ("licence", "negative_prompt", "away") and text},
)
