"""Show the forward process on a digit, and how much signal each schedule leaves at its end."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.mnist import load_mnist, pick, to_uint8
from fun.diffusion.sampling import randn
from fun.diffusion.schedule import SCHEDULES
from fun.reporting.digit_figures import in_words_of, schedules_figure
from fun.reporting.figure import write_figure

params, path = snakemake.params, snakemake.output.figure
T = params.schedule["num_train_timesteps"]
schedules = {name: make(T) for name, make in SCHEDULES.items()}
images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "t10k")
digit = images[pick(labels, torch.tensor([7]))]
noise = randn(digit.shape[1:], [torch.Generator().manual_seed(params.seed)])

timesteps = [-1, *(round(k * (T - 1) / 5) for k in range(1, 6))]
noised = {
    name: {t: to_uint8(schedule.q_sample(digit, t, noise))[0].numpy() for t in timesteps}
    for name, schedule in schedules.items()
}
signal = {name: schedule.alpha_bar(torch.arange(T)).sqrt().tolist() for name, schedule in schedules.items()}

figure = schedules_figure(noised, signal, params.schedule["name"], params.seed)
write_figure(Path(path).parent, **in_words_of(figure, snakemake.params.dataset))
