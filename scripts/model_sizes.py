"""Count parameters and FLOPs of the networks that ran, and of the largest DeepFloyd IF for comparison."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json

from fun.benchmarking.sizes import largest_if, mnist_rows, stage_row
from fun.data.files import write_json
from fun.diffusion.schedule import make_schedule
from fun.weights.folders import find_model

params = snakemake.params
rows = mnist_rows(params.models, make_schedule(**params.schedule), params.mnist_steps)
for part, stage in params.stages.items():
    folder = find_model(stage["folder"], part, snakemake.input.fetched)
    config = json.loads((folder / "unet/config.json").read_text(encoding="utf-8"))
    rows.append(stage_row(config, stage["name"], stage["steps"], stage["model"]))
rows += largest_if(rows)

write_json(snakemake.output[0], {"rows": rows})
print(*rows, sep="\n")
