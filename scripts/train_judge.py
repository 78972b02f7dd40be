"""Train the judge of the miniature's pictures, and see how often it is right about real ones."""

from reporting.job import log_to

progress = log_to(snakemake.log[0])

import json
from pathlib import Path

import torch

from diffusion.checkpoints import save_tensors
from diffusion.judge import Judge, judge_accuracy, train_judge
from diffusion.miniature import centred_digits
from diffusion.mnist import load_mnist, to_uint8

torch.set_num_threads(snakemake.threads)
steps, seed = snakemake.params.steps, snakemake.params.seed
folder = Path(snakemake.input.data[0]).parent
(images, labels), (test_images, test_labels) = (load_mnist(folder, split) for split in ("train", "t10k"))

torch.manual_seed(seed)
judge = Judge()
for _ in progress(train_judge(judge, centred_digits(to_uint8(images)), labels, steps, seed), "training", steps):
    pass

accuracy = judge_accuracy(judge, centred_digits(to_uint8(test_images)), test_labels, seed=0)
save_tensors(snakemake.output.weights, judge.state_dict(), {"steps": steps, "seed": seed})
Path(snakemake.output.scores).write_text(json.dumps({"test_accuracy": accuracy}, indent=1) + "\n")
