"""Fetch what the cascade needs from the hub into this machine's cache, and say what it was."""

from reporting.job import log_to

progress = log_to(snakemake.log[0])

from weights.folders import save_fetched
from weights.hub import Part, fetch

for path, (name, part) in zip(snakemake.output, snakemake.params.parts.items(), strict=True):
    save_fetched(path, {name: fetch(Part(name, **part), progress)})
