"""Read an experiment's pictures with the network that drew them: does each show what was asked for?"""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import torch

from fun.data.devices import pick_device
from fun.data.embeds import load_embeds
from fun.data.files import write_json
from fun.data.tensors import load_tensors
from fun.diffusion.cascade import load_stage
from fun.judging.itself import judge_by_itself
from fun.weights.folders import find_model
from fun.weights.memory import check_fits

torch.set_num_threads(snakemake.threads)
params = snakemake.params
folder, device = find_model(params.folder, "stage_1", snakemake.input.fetched), pick_device(params.device)
check_fits("stage_1", folder, params.model, device)
how = {key: params.model[key] for key in ("variant", "attention", "offload")}
stage = load_stage(folder, None, device=device, dtype=getattr(torch, params.model["dtype"]), **how)
embeds = load_embeds(snakemake.input.embeds)

scores = {}
for name in params.stages:
    tensors, made = load_tensors(snakemake.input[name])
    if not made["samples"]:
        continue
    x_0, samples = tensors["x_0"], made["samples"]
    scores[name] = judge_by_itself(stage, embeds, params.experiment, x_0, samples, params.model["max_batch"])
    print(name, *scores[name]["metrics"], sep="\n")
write_json(snakemake.output[0], scores)
