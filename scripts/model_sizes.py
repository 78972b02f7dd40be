"""Count parameters and FLOPs of this project's networks, and of the largest DeepFloyd IF for comparison."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

from fun.benchmarking.sizes import IF_I_XL, mnist_size, unet_size
from fun.diffusion.schedule import make_schedule

params = snakemake.params
schedule = make_schedule(**params.schedule)

rows = []
# A network with class conditioning and one without differ by a few hundred parameters: one row for both.
for network, model in {model["network"]: model for model in params.models.values()}.items():
    rows.append(("MNIST digits", f"{network} U-Net", *mnist_size(model, schedule), params.mnist_steps, 28, ""))

for path, (name, steps) in zip(snakemake.input.unets, params.stages, strict=True):
    config = json.loads(Path(path).read_text())
    rows.append((name, config["_class_name"], *unet_size(config), steps, config["sample_size"], ""))

note = "" if params.runs_deepfloyd else "counted from its published configuration, not run here"
rows.append(("DeepFloyd IF-I-XL", "UNet2DConditionModel", *unet_size(IF_I_XL), 100, IF_I_XL["sample_size"], note))

keys = ("name", "network", "parameters", "flops_per_step", "steps", "image_size", "note")
table = {"rows": [dict(zip(keys, row, strict=True)) for row in rows]}
Path(snakemake.output[0]).write_text(json.dumps(table, indent=1) + "\n")
print(*rows, sep="\n")
