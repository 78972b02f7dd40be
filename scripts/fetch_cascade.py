"""Download what the cascade needs from the hub into this machine's cache, and record what it was."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from fun.weights.folders import save_fetched
from fun.weights.hub import Part, fetch_or_note

for path, (name, part) in zip(snakemake.output, snakemake.params.parts.items(), strict=True):
    save_fetched(path, {name: fetch_or_note(Part(name, **part), progress)})
