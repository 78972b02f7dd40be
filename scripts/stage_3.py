"""Stage III of an experiment: the chosen samples of stage II, enlarged by an unchanged diffusers pipeline."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import sys

import torch

from fun.data.devices import pick_device
from fun.data.tensors import load_tensors, save_tensors
from fun.weights.folders import find_model, revision_of, why_gone
from fun.weights.memory import check_fits
from fun.weights.upscaler import load_upscaler, shown_prompt, upscale

torch.set_num_threads(snakemake.threads)
params = snakemake.params
model = dict(params.model)

drawn, made = load_tensors(snakemake.input.stage_2)
made_with = {"sampling": params.sampling, "experiment": params.experiment, "grid": made["grid"]}
if (gone := why_gone(snakemake.input.fetched, "stage_3")) is not None:
    save_tensors(
        snakemake.output[0], {"x_0": torch.empty(0, 3, 1, 1)}, made_with | {"samples": [], "model": model, "gone": gone}
    )
    sys.exit()

folder, device = find_model(params.folder, "stage_3", snakemake.input.fetched), pick_device(params.device)
check_fits("stage_3", folder, model, device)
pipeline = load_upscaler(folder, model["variant"], getattr(torch, model["dtype"]), device, model["offload"])
chosen = [i for i, s in enumerate(made["samples"]) if s["seed"] in params.enlarge]
samples = [made["samples"][i] | {"told": shown_prompt(made["samples"][i], params.experiment)} for i in chosen]
enlarged = [
    upscale(pipeline, drawn["x_0"][i], sample["told"], sample["seed"], **params.sampling)
    for i, sample in progress(list(zip(chosen, samples, strict=True)), "stage III")
]

model["revision"] = revision_of(folder, model["revision"])
save_tensors(
    snakemake.output[0],
    {"x_0": torch.stack(enlarged)},
    made_with | {"samples": samples, "model": model, "torch": str(torch.__version__)},
)
