"""Time DeepFloyd IF's networks at full size, with random weights, on this machine's GPU."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import pandas as pd
import torch

from fun.benchmarking.full_size import NETWORKS, measure
from fun.data.files import write_whole

if not torch.cuda.is_available():
    raise ValueError("this machine has no GPU that torch can use: IF at full size is measured on a GPU only")

rows = []
for name, config in progress(NETWORKS.items(), "networks"):
    for batch in snakemake.params.batches:
        rows += measure(name, config, torch.float16, torch.device("cuda"), batch, steps=20, rounds=5)
        torch.cuda.empty_cache()

table = pd.DataFrame(rows)
table.insert(0, "GPU", torch.cuda.get_device_name())
write_whole(snakemake.output.csv, table.to_csv(index=False))
print(table.to_string())
