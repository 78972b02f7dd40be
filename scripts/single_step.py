"""Show what a network can do that removes noise in a single step: at its own level of noise, at others, from pure noise."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import pandas as pd
import torch

from fun.data.devices import pick_device
from fun.data.mnist import BLACK, load_mnist, pick, to_uint8
from fun.data.tensors import load_tensors
from fun.diffusion.sampling import randn
from fun.diffusion.schedule import make_schedule
from fun.diffusion.similarity import psnr
from fun.reporting.digit_comparisons import single_step_figure
from fun.reporting.digit_figures import in_words_of
from fun.reporting.figure import write_figure
from fun.training.trainer import trained_network

SIGMAS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)  # the assignment's; the level that it was trained at joins them
EACH = 50  # test digits of each class, if there are so many

torch.set_num_threads(snakemake.threads)
params, device = snakemake.params, pick_device(snakemake.params.device)
black = BLACK["unit"]
folder, (early, *last) = Path(snakemake.input.data[0]).parent, snakemake.input.checkpoints
images, labels = load_mnist(folder, "t10k", black)
chosen = pick(labels, torch.arange(10).repeat(min(EACH, int(labels.bincount().min()))))
clean, none = images[chosen].to(device), labels[chosen].to(device)
seeds = range(params.seed, params.seed + len(clean))
noise = randn(clean.shape[1:], [torch.Generator().manual_seed(seed) for seed in seeds], device)


def load(network, checkpoint):
    """The denoiser of a checkpoint."""
    schedule = make_schedule(**network["schedule"])
    return trained_network(network["model"], schedule, load_tensors(checkpoint)[0]).to(device)


@torch.no_grad()
def denoise_with(denoiser, z):
    """The denoiser's estimate of the clean digits in z."""
    return torch.cat([denoiser.predict(part, 0, none[: len(part)]) for part in z.split(50)])


def near(x):
    """The mean PSNR against the clean digits, whose pixels are 0 to 1."""
    return float(psnr(2 * x - 1, 2 * clean - 1).mean())


(main, *others, pure), (main_last, *others_last, pure_last) = params.networks.values(), last
denoiser = load(main, main_last)
noisy = {sigma: clean + sigma * noise for sigma in sorted({*SIGMAS, params.sigma})}
denoised = {sigma: denoise_with(denoiser, z) for sigma, z in noisy.items()}
own = {}
for network, checkpoint in zip(others, others_last, strict=True):
    sigma = float(network["schedule"]["sigma"])
    own[sigma] = denoise_with(load(network, checkpoint), clean + sigma * noise)
from_noise = denoise_with(load(pure, pure_last), noise)
mean = load_mnist(folder, "train", black)[0].mean(0, keepdim=True).to(device)


def shown(x):
    return to_uint8(x[:10], black).numpy()


figure = single_step_figure(
    sigma=params.sigma,
    pictures={
        "clean": shown(clean),
        "noisy": {sigma: shown(z) for sigma, z in noisy.items()},
        "denoised": {sigma: shown(x) for sigma, x in denoised.items()},
        "epochs": {
            "before": shown(noisy[params.sigma]),
            "epoch 1": shown(denoise_with(load(main, early), noisy[params.sigma])),
            f"epoch {main['epochs']}": shown(denoised[params.sigma]),
        },
        "from_noise": shown(from_noise),
        "mean": shown(mean),
    },
    psnr={
        "noisy": {sigma: near(z) for sigma, z in noisy.items()},
        "denoised": {sigma: near(x) for sigma, x in denoised.items()},
        "own": {sigma: near(x) for sigma, x in own.items()},
    },
    distance=float((from_noise - mean).square().mean().sqrt()),
    spread=float((clean - mean).square().mean().sqrt()),
    losses=pd.concat(map(pd.read_csv, snakemake.input.losses)),
    seed=params.seed,
    n=len(clean),
    made={"network": main["model"]["network"], "images_per_epoch": main["images_per_epoch"], "epochs": main["epochs"]},
)
write_figure(Path(snakemake.output.figure).parent, **in_words_of(figure, params.dataset))
