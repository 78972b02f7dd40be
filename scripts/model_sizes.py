"""Count parameters and FLOPs of the networks of this project, and of the largest DeepFloyd IF beside them."""

from reporting.job import log_to

log_to(snakemake.log[0])

import json
from pathlib import Path

from diffusion.schedule import SCHEDULES
from diffusion.sizes import IF_I_XL, mnist_size, unet_size
from diffusion.unet import NETWORKS

params = snakemake.params
schedule = SCHEDULES[params.schedule["name"]](params.schedule["num_train_timesteps"])

rows = []
# A network that is told the class and one that is not differ by a few hundred parameters: one row for both.
for network, model in {model["network"]: model for model in params.models.values()}.items():
    options = {key: value for key, value in model.items() if key != "network"}
    size = mnist_size(NETWORKS[network], schedule, **options)
    rows.append(("MNIST digits", f"{network} U-Net", *size, params.mnist_steps, 28, ""))

for path, (name, steps) in zip(snakemake.input.unets, params.stages, strict=True):
    config = json.loads(Path(path).read_text())
    rows.append((name, config["_class_name"], *unet_size(config), steps, config["sample_size"], ""))

note = "" if params.runs_deepfloyd else "counted from its published configuration, not run here"
rows.append(("DeepFloyd IF-I-XL", "UNet2DConditionModel", *unet_size(IF_I_XL), 100, IF_I_XL["sample_size"], note))

keys = ("name", "network", "parameters", "flops_per_step", "steps", "image_size", "note")
table = {"rows": [dict(zip(keys, row, strict=True)) for row in rows]}
Path(snakemake.output[0]).write_text(json.dumps(table, indent=1) + "\n")
print(*rows, sep="\n")
