"""Run DeepFloyd IF's safety checker on an experiment's pictures, and load the watermark that they will carry."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import torch

from fun.data.devices import pick_device
from fun.data.tensors import load_tensors, save_tensors
from fun.weights.folders import find_model
from fun.weights.memory import check_fits
from fun.weights.safety_checker import load_checker, load_watermark

torch.set_num_threads(snakemake.threads)
params = snakemake.params
variant, found = params.model["variant"], {}
if params.safety_checker:
    folder = find_model(params.folder, "safety_checker", snakemake.input.fetched)
    device = pick_device(params.device)
    check_fits("safety_checker", folder, params.model | {"dtype": "float32"}, device)
    check = load_checker(folder, variant, device)
    for stage in params.stages:
        found[stage] = check(load_tensors(snakemake.input[stage])[0]["x_0"])
        print(f"{stage}: {int(found[stage].sum())} of {len(found[stage])} blacked out")
if params.watermark:
    folder = find_model(params.folder, "watermark", snakemake.input.fetched)
    found["watermark"] = load_watermark(folder, variant)
save_tensors(snakemake.output[0], found, {})
