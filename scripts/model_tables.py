"""Join the losses and the scores of a model's epochs into two tables."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import pandas as pd

from fun.data.files import read_json, write_whole

write_whole(
    snakemake.output.losses, pd.concat(pd.read_csv(path) for path in snakemake.input.losses).to_csv(index=False)
)

scores = [read_json(path) for path in snakemake.input.scores]
table = pd.json_normalize(scores)
table = table.drop(columns=[name for name in table if name.endswith(("denoising", "classes_drawn"))])
write_whole(snakemake.output.scores, table.to_csv(index=False))
print(table)
