"""Score an experiment's pictures with CLIP: does each show what was asked for?"""

from fun.workflow.log import log_to

log_to(snakemake.log[0])


import torch

from fun.data.files import write_json
from fun.data.tensors import load_tensors
from fun.judging.clip import load_clip
from fun.judging.clip_readings import judge_by_clip
from fun.weights.folders import find_model
from fun.weights.memory import pick_device

torch.set_num_threads(snakemake.threads)
params = snakemake.params
clip = load_clip(find_model(params.folder, "clip_judge", snakemake.input.fetched), pick_device(params.device))

scores = {}
for stage in params.stages:
    tensors, made = load_tensors(snakemake.input[stage])
    scores[stage] = judge_by_clip(clip, params.experiment, tensors["x_0"], made["samples"], made["grid"])
    print(stage, *scores[stage]["metrics"], sep="\n")
write_json(snakemake.output[0], scores)
