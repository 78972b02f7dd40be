"""Show side by side what networks draw that differ only in what they were trained to say."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

from fun.data.tensors import load_arrays
from fun.reporting.digit_figures import Epoch, predictions_figure
from fun.reporting.figure import write_figure

epochs = {}
compared = zip(snakemake.params.models, snakemake.input.showcases, snakemake.input.scores, strict=True)
for model, showcase_path, scores_path in compared:
    showcase, made_with = load_arrays(showcase_path)
    scores = json.loads(Path(scores_path).read_text(encoding="utf-8"))
    epochs[model] = Epoch(made_with["trained_with"]["epoch"], showcase, scores, made_with)

write_figure(Path(snakemake.output.figure).parent, **predictions_figure(epochs))
