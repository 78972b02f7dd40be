"""Train the judge of the miniature's pictures, and measure how often it is right about real digits."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.files import write_json
from fun.data.mnist import load_mnist, to_uint8
from fun.data.tensors import save_tensors
from fun.miniature.judge import Judge, judge_accuracy, train_judge
from fun.miniature.pictures import centred_digits

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
write_json(snakemake.output.scores, {"test_accuracy": accuracy})
