"""Draw digits from a checkpoint: a grid, the steps from noise to digit, denoised test digits, and many to be scored."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from fun.data.devices import pick_device
from fun.data.files import write_whole
from fun.data.mnist import BLACK, load_labels, load_mnist, pick, proportional_labels, to_uint8
from fun.data.tensors import load_tensors, save_tensors
from fun.diffusion.digits import generate
from fun.diffusion.sampling import randn
from fun.diffusion.schedule import make_schedule, path_of
from fun.networks.mnist_unets import NO_CLASS
from fun.training.trainer import trained_network

CHUNK = 50  # digits at a time: their activations stay in the cache, and it takes a quarter less time than 250

torch.set_num_threads(snakemake.threads)
params = snakemake.params
schedule, sampling = make_schedule(**params.schedule), dict(params.sampling)
black, device = BLACK[params.pixels], pick_device(params.device)
state, trained_with = load_tensors(snakemake.input.checkpoint)
network = trained_network(params.model, schedule, state).to(device)
conditioned, guide_epoch = params.model["class_conditioned"], sampling.pop("guide_epoch")
# Every epoch is drawn in one way, to be compared; those after guide_epoch in a second one too, guided by its network.
plain = sampling if conditioned else sampling | {"guidance_scale": 1.0}
ways = {"": plain}
if snakemake.input.guide:
    guide = trained_network(params.model, schedule, load_tensors(snakemake.input.guide)[0]).to(device)
    ways["_guided"] = sampling | {"guide": guide}
folder = Path(snakemake.input.data[0]).parent


def draw(labels, seeds, **how):
    """The states of drawing a digit for each label, or of NO_CLASS if the network is not told them."""
    told = labels if conditioned else torch.full_like(labels, NO_CLASS)
    return generate(network, told.to(device), list(seeds), black=black, **how)


def grey_levels(images):
    return to_uint8(images, black)


# The grid: a column for each digit, a row for each seed, the same in every epoch.
digits = torch.arange(10).repeat(4)
grid_seeds = (
    [params.seed + row for row in range(4) for _ in range(10)] if conditioned else range(params.seed, params.seed + 40)
)
showcase = {}
for way, how in ways.items():
    states = list(progress(draw(digits, grid_seeds, **how), "grid", sampling["num_steps"]))
    showcase[f"grid{way}"] = grid = grey_levels(states[-1].x_t)
framed = F.pad(grid, [1] * 4, value=255).view(4, 10, 30, 30).transpose(1, 2).reshape(120, 300)
encoded = BytesIO()
Image.fromarray(F.pad(framed, [1] * 4, value=255).numpy()).save(encoded, "PNG")
write_whole(snakemake.output.grid, encoded.getvalue())

# The last grid's first row, step by step: x_t and the estimate of x_0.
showcase |= {
    "timesteps": torch.tensor([s.t for s in states]),
    "x_t": torch.stack([grey_levels(s.x_t[:10]) for s in states]),  # (steps, 10, 28, 28)
    "x_0": torch.stack([grey_levels(s.x_0[:10]) for s in states]),
}

# Part A's denoising in small: test digits, noised, then denoised in one step and in many.
test_images, test_labels = load_mnist(folder, "t10k", black)
chosen = pick(test_labels, torch.arange(10).repeat(10))
clean, labels = test_images[chosen], test_labels[chosen]
T, path = schedule.num_train_timesteps, path_of(schedule, sampling["path"])
noised_at = [T // 4, T // 2, 3 * T // 4]
seeds = range(params.seed, params.seed + len(clean))
showcase |= {"clean": grey_levels(clean), "clean_labels": labels, "noised_at": torch.tensor(noised_at)}
for t in noised_at:
    noise = randn(clean.shape[1:], [torch.Generator().manual_seed(s) for s in seeds])
    x_t = path.q_sample(clean, t, noise)
    run = list(draw(labels, seeds, x_t=x_t.to(device), start=t, **plain | {"guidance_scale": 1.0}))
    showcase |= {
        f"noisy_{t}": grey_levels(x_t),
        f"one_step_{t}": grey_levels(run[0].x_0),
        f"iterative_{t}": grey_levels(run[-1].x_t),
    }

# Many digits to be scored, with labels in MNIST's proportions.
wanted = proportional_labels(load_labels(folder, "train"), params.num_images)
samples = {"labels": wanted if conditioned else torch.full_like(wanted, -1)}
chunks = list(zip(wanted.split(CHUNK), torch.arange(len(wanted)).split(CHUNK), strict=True))
for way, how in ways.items():
    images = []
    for chunk, numbers in progress(chunks, "digits"):
        *_, last = draw(chunk, (params.seed + 1000 + numbers).tolist(), **how)
        images.append(grey_levels(last.x_t))
    samples[f"images{way}"] = torch.cat(images)

made_with = {"trained_with": trained_with, "sampling": plain, "seed": params.seed}
if "_guided" in ways:
    made_with["sampling_guided"] = sampling | {"guide_epoch": guide_epoch}
save_tensors(snakemake.output.showcase, showcase, made_with)
save_tensors(snakemake.output.samples, samples, made_with)
