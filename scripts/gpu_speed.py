"""Measure on this machine's GPU: is it correct, does IF at full size fit, how fast is it."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.benchmarking.gpu import main

main([str(Path(snakemake.output[0]).parent), "--minutes", str(snakemake.params.minutes)])
