"""Stage II of an experiment: the chosen samples of stage I, or the user's own picture, enlarged."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import torch

from fun.data.devices import pick_device
from fun.data.embeds import load_embeds
from fun.data.tensors import load_tensors, save_tensors
from fun.diffusion.cascade import load_stage, sample_size
from fun.diffusion.experiments import make_samples, run
from fun.diffusion.sampler import Sampler
from fun.weights.folders import find_model, revision_of
from fun.weights.memory import check_fits

torch.set_num_threads(snakemake.threads)
params = snakemake.params
model, experiment = dict(params.model), params.experiment | dict(snakemake.input.items())
embeds = load_embeds(snakemake.input.embeds)

folder, device = find_model(params.folder, "stage_2", snakemake.input.fetched), pick_device(params.device)
check_fits("stage_2", folder, model, device)
sampling = dict(params.sampling)
noise_level = sampling.pop("noise_level")
how = {key: model[key] for key in ("variant", "attention", "offload")} | {"dtype": getattr(torch, model["dtype"])}
stage = load_stage(folder, noise_level, device=device, **how)
grid = sample_size(find_model(params.stage_1_folder, "stage_1", snakemake.input.fetched))
how = sampling | {"max_batch": model["max_batch"], "negative_prompt": experiment.get("negative_prompt", "")}
sampler = Sampler(stage, embeds, grid, **how, progress=progress)

if "stage_1" in snakemake.input.keys():
    drawn, made = load_tensors(snakemake.input.stage_1)
    chosen = [i for i, s in enumerate(made["samples"]) if s["seed"] in params.upsample]
    samples, low = [made["samples"][i] for i in chosen], drawn["x_0"][chosen]
else:
    samples, low = make_samples(experiment["task"], experiment), None
tensors = run(experiment["task"], experiment, sampler, samples, low)

made_with = {"samples": samples, "sampling": params.sampling, "experiment": params.experiment, "grid": sampler.grid}
model["revision"] = revision_of(folder, model["revision"])
save_tensors(snakemake.output[0], tensors, made_with | {"model": model, "torch": str(torch.__version__)})
