"""Score an experiment's pictures with CLIP: does each show what was asked for?"""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import sys

import torch

from fun.data.devices import pick_device
from fun.data.files import write_json
from fun.data.tensors import load_tensors
from fun.judging.clip import load_clip
from fun.judging.clip_readings import judge_by_clip
from fun.weights.folders import find_model, why_gone
from fun.weights.memory import check_fits

torch.set_num_threads(snakemake.threads)
params = snakemake.params
if (gone := why_gone(snakemake.input.fetched, "clip_judge")) is not None:
    write_json(snakemake.output[0], {"gone": gone})
    sys.exit()

folder, device = find_model(params.folder, "clip_judge", snakemake.input.fetched), pick_device(params.device)
check_fits("clip_judge", folder, params.model | {"dtype": "float32"}, device)
clip = load_clip(folder, params.model["variant"], device)

scores = {}
for stage in params.stages:
    tensors, made = load_tensors(snakemake.input[stage])
    if not made["samples"]:
        continue
    scores[stage] = judge_by_clip(clip, params.experiment, tensors["x_0"], made["samples"], made["grid"])
    print(stage, *scores[stage]["metrics"], sep="\n")
write_json(snakemake.output[0], scores)
