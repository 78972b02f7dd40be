"""Show one of the ideas behind diffusion on the networks that were trained."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.images import load_image
from fun.data.mnist import BLACK, load_mnist
from fun.data.tensors import load_tensors
from fun.diffusion.schedule import make_schedule
from fun.ideas.agreement import study as study_agreement
from fun.ideas.handwriting import study as study_handwriting
from fun.ideas.lab import Lab
from fun.ideas.memory import study as study_memory
from fun.ideas.reading import study as study_reading
from fun.ideas.spectrum import study as study_spectrum
from fun.reporting.digit_figures import in_words_of
from fun.reporting.figure import write_figure
from fun.reporting.idea_figures import FIGURES
from fun.training.trainer import subset, trained_network

torch.set_num_threads(snakemake.threads)
params = snakemake.params
main = [entry for entry in params.networks if entry["model_name"] == params.model][-1]
networks = {
    entry["name"]: (
        trained_network(entry["model"], make_schedule(**entry["schedule"]), load_tensors(checkpoint)[0]),
        entry["sampling"],
    )
    for entry, checkpoint in zip(params.networks, snakemake.input.checkpoints, strict=True)
}
network, sampling = networks[main["name"]]
folder, black = Path(snakemake.input.data[0]).parent, BLACK[main["pixels"]]
train = [part[subset(params.seed, main["images"], len(part))] for part in load_mnist(folder, "train", black)]
lab = Lab(network, sampling, train, load_mnist(folder, "t10k", black), params.dataset["classes"], black, params.seed)
match snakemake.wildcards.idea:
    case "memory":
        found = study_memory(lab)
    case "handwriting":
        found = study_handwriting(lab)
    case "spectrum":
        found = study_spectrum(lab, torch.from_numpy(load_image(snakemake.input.photo, 64)).mean(0))
    case "reading":
        found = study_reading(lab)
    case "agreement":
        found = study_agreement(lab, networks, main["name"])
made = {"model": params.model, "epoch": main["epoch"], **sampling, "seed": params.seed}
figure = in_words_of(FIGURES[snakemake.wildcards.idea](found, made), params.dataset)
write_figure(Path(snakemake.output.figure).parent, **figure)
