"""Show what a model draws epoch by epoch, step by step, and how it denoises real digits."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.reporting.digit_figures import (
    Model,
    denoising_figure,
    in_words_of,
    read_epoch,
    reverse_process_figure,
    samples_figure,
)
from fun.reporting.figure import write_figure

params, output = snakemake.params, snakemake.output
epochs = [read_epoch(*paths) for paths in zip(snakemake.input.showcases, snakemake.input.scores, strict=True)]
conditioned = params.model["class_conditioned"]
model = Model(snakemake.wildcards.model, params.model["network"], conditioned, params.images_per_epoch, epochs)

figures = {
    output.samples: samples_figure(model),
    output.reverse_process: reverse_process_figure(model),
    output.denoising: denoising_figure(model),
}
for path, figure in figures.items():
    write_figure(Path(path).parent, **in_words_of(figure, snakemake.params.dataset))
