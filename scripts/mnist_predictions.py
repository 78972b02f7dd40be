"""Show side by side what networks draw that differ only in what they were trained to predict."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.reporting.digit_comparisons import predictions_figure
from fun.reporting.digit_figures import in_words_of, read_epoch
from fun.reporting.figure import write_figure

compared = zip(snakemake.params.models, snakemake.input.showcases, snakemake.input.scores, strict=True)
epochs = {model: read_epoch(*paths) for model, *paths in compared}
figure = in_words_of(predictions_figure(epochs), snakemake.params.dataset)
write_figure(Path(snakemake.output.figure).parent, **figure)
