"""Train one epoch of a stage of the miniature, starting where the last one ended."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import math
from pathlib import Path

import pandas as pd
import torch

from fun.data.devices import pick_device
from fun.data.files import write_whole
from fun.data.mnist import load_mnist, to_uint8
from fun.data.tensors import load_tensors, save_tensors
from fun.miniature.networks import make_unet
from fun.miniature.pictures import centred_digits, draw_batch
from fun.miniature.training import CascadeTrainer, stage_1_pictures

torch.set_num_threads(snakemake.threads)
stage, epoch, params = int(snakemake.wildcards.stage), int(snakemake.wildcards.epoch), snakemake.params
training = dict(params.training)
batch_size = training.pop("batch_size")
device = pick_device(params.device)

embeds = load_tensors(snakemake.input.embeds)[0]["prompt_embeds"]
torch.manual_seed(params.seed)
trainer = CascadeTrainer(make_unet(stage).to(device), embeds.to(device), seed=params.seed + stage, **training)
if snakemake.input.previous:
    trainer.load_state_dict(load_tensors(snakemake.input.previous)[0])

images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "train")
generator = torch.Generator().manual_seed(params.seed + 1000 * epoch + stage)
batch = draw_batch(centred_digits(to_uint8(images)), labels, params.images_per_epoch, generator)
pictures = stage_1_pictures(batch) if stage == 1 else batch.pictures
steps = math.ceil(len(pictures) / batch_size)
losses = trainer.train_epoch(pictures.to(device), batch.prompt.to(device), batch_size)
losses = pd.Series(list(progress(losses, f"epoch {epoch}", steps)), name="loss")

# One row for each tenth of the epoch: single steps are too noisy to plot.
rows = losses.groupby(losses.index * 10 // steps).mean().to_frame()
rows.insert(0, "epoch", epoch)
write_whole(snakemake.output.losses, rows.to_csv(index=False))
print(rows)

made_with = {key: params[key] for key in ("training", "images_per_epoch", "seed")}
save_tensors(
    snakemake.output.checkpoint,
    trainer.state_dict(),
    made_with | {"stage": stage, "epoch": epoch, "torch": torch.__version__},
)
