"""Fetch what the cascade needs from the hub into this machine's cache, and say what it was."""

from reporting.job import log_to

progress = log_to(snakemake.log[0])

from diffusion.fetched import save_fetched
from diffusion.hub import Part, fetch

save_fetched(
    snakemake.output[0],
    {name: fetch(Part(name, **part), progress) for name, part in snakemake.params.parts.items()},
)
