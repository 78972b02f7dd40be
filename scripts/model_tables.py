"""Join the losses and the scores of a model's epochs into two tables."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

import pandas as pd

pd.concat(pd.read_csv(path) for path in snakemake.input.losses).to_csv(snakemake.output.losses, index=False)

scores = [json.loads(Path(path).read_text()) for path in snakemake.input.scores]
table = pd.json_normalize(scores).drop(columns=["denoising", "classes_drawn"])
table.to_csv(snakemake.output.scores, index=False)
print(table)
