"""Draw digits from a checkpoint: a picture of each, and one of all in a row."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import torch
from PIL import Image

from fun.data.devices import pick_device
from fun.data.files import whole_folder
from fun.data.mnist import BLACK, to_uint8
from fun.data.tensors import load_tensors
from fun.diffusion.digits import generate
from fun.diffusion.schedule import make_schedule
from fun.training.trainer import trained_network

ENLARGED = 10  # times: a digit of 28 pixels is hard to see

torch.set_num_threads(snakemake.threads)
params = snakemake.params
schedule, sampling = make_schedule(**params.schedule), dict(params.sampling)
black, device = BLACK[params.pixels], pick_device(params.device)
network = trained_network(params.model, schedule, load_tensors(snakemake.input.checkpoint)[0]).to(device)
sampling.pop("guide_epoch")
guide = None
if snakemake.input.guide:
    guide = trained_network(params.model, schedule, load_tensors(snakemake.input.guide)[0]).to(device)

digits = [int(digit) for digit in snakemake.wildcards.digits]
labels = torch.tensor(digits)
seeds = [int(snakemake.wildcards.seed) + i for i in range(len(digits))]
steps = generate(network, labels.to(device), seeds, guide=guide, black=black, **sampling)
*_, last = progress(steps, "digits", sampling["num_steps"])

drawn = to_uint8(last.x_t, black).repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
pictures = {f"{i:03d}_digit_{digit}": x for i, (digit, x) in enumerate(zip(digits, drawn, strict=True), 1)}
with whole_folder(snakemake.output[0]) as folder:
    for name, picture in (pictures | {"row": torch.cat(list(drawn), 1)}).items():
        Image.fromarray(picture.numpy()).save(folder / f"{name}.png")
