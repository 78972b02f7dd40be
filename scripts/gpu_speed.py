"""Measure on this machine's GPU: is it correct, does IF at full size fit, how fast is it."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.benchmarking.gpu import main

folder, mnist = (Path(file).parent for file in (snakemake.output[0], snakemake.input.data[0]))
main([str(folder), "--minutes", str(snakemake.params.minutes), "--mnist", str(mnist)])
