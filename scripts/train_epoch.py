"""Train one epoch, starting where the last one ended; of a network whose checkpoints are not all kept, several."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import math
from pathlib import Path

import pandas as pd
import torch

from fun.data.devices import pick_device
from fun.data.files import write_whole
from fun.data.mnist import BLACK, load_mnist
from fun.data.tensors import load_tensors, save_tensors
from fun.diffusion.schedule import make_schedule
from fun.networks.mnist_unets import make_network
from fun.training.trainer import Trainer, epoch_indices, subset

torch.set_num_threads(snakemake.threads)
epoch, params = int(snakemake.wildcards.epoch), snakemake.params
training, device = dict(params.training), pick_device(params.device)
batch_size = training.pop("batch_size")

torch.manual_seed(params.seed)
network = make_network(params.model, make_schedule(**params.schedule)).to(device)
trainer = Trainer(network, params.seed, **training)
if snakemake.input.previous:
    trainer.load_state_dict(load_tensors(snakemake.input.previous)[0])

images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "train", BLACK[params.pixels])
own = subset(params.seed, params.images, len(images))
images, labels = images[own], labels[own]
tables = []
for number in range(trainer.epoch + 1, epoch + 1):
    chosen = epoch_indices(params.seed, number, params.images_per_epoch, len(images))
    steps = math.ceil(len(chosen) / batch_size)
    epoch_images, epoch_labels = images[chosen].to(device), labels[chosen].to(device)
    losses = list(progress(trainer.train_epoch(epoch_images, epoch_labels, batch_size), f"epoch {number}", steps))

    # One row for each tenth of the epoch: single steps are too noisy to plot.
    table = pd.DataFrame({"images": range(batch_size, (steps + 1) * batch_size, batch_size), "loss": losses})
    table["images"] = table["images"].clip(upper=len(chosen)) + (number - 1) * len(chosen)
    rows = table.groupby(table.index * 10 // steps).agg({"images": "last", "loss": "mean"})
    rows.insert(0, "epoch", number)
    tables.append(rows)
rows = pd.concat(tables)
write_whole(snakemake.output.losses, rows.to_csv(index=False))
print(rows)

made_with = {
    key: params[key] for key in ("model", "schedule", "pixels", "training", "images", "images_per_epoch", "seed")
}
save_tensors(
    snakemake.output.checkpoint, trainer.state_dict(), made_with | {"epoch": epoch, "torch": torch.__version__}
)
