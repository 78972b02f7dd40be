"""Show how good the digits of several networks are when they are drawn along several paths, with few and many calls."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import pandas as pd

from fun.reporting.digit_comparisons import calls_figure
from fun.reporting.digit_figures import in_words_of
from fun.reporting.figure import write_figure

networks = snakemake.params.networks
tables = dict(zip(networks, map(pd.read_csv, snakemake.input.tables), strict=True))
figure = in_words_of(calls_figure(networks, tables), snakemake.params.dataset)
write_figure(Path(snakemake.output.figure).parent, **figure)
