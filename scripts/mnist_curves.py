"""Draw loss, class accuracy and Fréchet distance of all models over the epochs."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import pandas as pd

from fun.data.files import read_json
from fun.reporting.digit_figures import curves_figure, in_words_of
from fun.reporting.figure import write_figure

names = [model.replace("_", "-") for model in snakemake.params.models]
losses = dict(zip(names, map(pd.read_csv, snakemake.input.losses), strict=True))
scores = dict(zip(names, map(pd.read_csv, snakemake.input.scores), strict=True))
judge = read_json(snakemake.input.classifier)["test_accuracy"]

figure, path = curves_figure(losses, scores, judge), snakemake.output.figure
write_figure(Path(path).parent, **in_words_of(figure, snakemake.params.dataset))
