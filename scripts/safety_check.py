"""What DeepFloyd IF's safety checker says of an experiment's pictures, and the watermark they are to bear."""

from reporting.job import log_to

log_to(snakemake.log[0])

import torch

from diffusion.cascade import pick_device
from diffusion.checkpoints import load_tensors, save_tensors
from diffusion.safety_checker import load_checker, load_watermark
from weights.folders import find_model

torch.set_num_threads(snakemake.threads)
params = snakemake.params
variant, found = params.model["variant"], {}
if params.safety_checker:
    folder = find_model(params.folder, "safety_checker", snakemake.input.fetched)
    check = load_checker(folder, variant, pick_device(params.device))
    for stage in params.stages:
        found[stage] = check(load_tensors(snakemake.input[stage])[0]["x_0"])
        print(f"{stage}: {int(found[stage].sum())} of {len(found[stage])} blacked out")
if params.watermark:
    folder = find_model(params.folder, "watermark", snakemake.input.fetched)
    found["watermark"] = load_watermark(folder, variant)
save_tensors(snakemake.output[0], found, {})
