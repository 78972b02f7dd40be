"""Stage III of an experiment: the chosen samples of stage II, enlarged by an unchanged diffusers pipeline."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import torch

from fun.data.tensors import load_tensors, save_tensors
from fun.weights.folders import find_model, revision_of
from fun.weights.memory import pick_device
from fun.weights.upscaler import load_upscaler, shown_prompt, upscale

torch.set_num_threads(snakemake.threads)
params = snakemake.params
model = dict(params.model)

folder, device = find_model(params.folder, "stage_3", snakemake.input.fetched), pick_device(params.device)
pipeline = load_upscaler(folder, model["variant"], getattr(torch, model["dtype"]), device, model["offload"])
drawn, made = load_tensors(snakemake.input.stage_2)
chosen = [i for i, s in enumerate(made["samples"]) if s["seed"] in params.enlarge]
samples = [made["samples"][i] | {"told": shown_prompt(made["samples"][i], params.experiment)} for i in chosen]
enlarged = [
    upscale(pipeline, drawn["x_0"][i], sample["told"], sample["seed"], **params.sampling)
    for i, sample in progress(list(zip(chosen, samples, strict=True)), "stage III")
]

made_with = {"samples": samples, "sampling": params.sampling, "experiment": params.experiment, "grid": made["grid"]}
model["revision"] = revision_of(folder, model["revision"])
save_tensors(
    snakemake.output[0], {"x_0": torch.stack(enlarged)}, made_with | {"model": model, "torch": str(torch.__version__)}
)
