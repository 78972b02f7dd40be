"""Read an experiment's pictures: does each show what was asked for?"""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import torch

from fun.data.files import write_json
from fun.data.tensors import load_tensors
from fun.miniature.judge import Judge
from fun.miniature.readings import judge_digits

torch.set_num_threads(snakemake.threads)
judge = Judge()
judge.load_state_dict(load_tensors(snakemake.input.weights)[0])
judge.eval()

scores = {}
for stage in snakemake.params.stages:
    tensors, made = load_tensors(snakemake.input[stage])
    scores[stage] = judge_digits(judge, snakemake.params.experiment, tensors, made["samples"], made["grid"])
    print(stage, *scores[stage]["metrics"], sep="\n")
write_json(snakemake.output[0], scores)
