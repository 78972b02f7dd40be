"""Stage I of an experiment: all its samples, as one batch."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import torch

from fun.data.devices import pick_device
from fun.data.embeds import load_embeds
from fun.data.tensors import save_tensors
from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import make_samples, run
from fun.diffusion.sampler import Sampler
from fun.weights.folders import find_model, revision_of
from fun.weights.memory import check_fits

torch.set_num_threads(snakemake.threads)
params = snakemake.params
model, experiment = dict(params.model), params.experiment | dict(snakemake.input.items())
embeds = load_embeds(snakemake.input.embeds)

folder, device = find_model(params.folder, "stage_1", snakemake.input.fetched), pick_device(params.device)
check_fits("stage_1", folder, model, device)
how = {key: model[key] for key in ("variant", "attention", "offload")} | {"dtype": getattr(torch, model["dtype"])}
stage = load_stage(folder, None, device=device, **how)
how = params.sampling | {"max_batch": model["max_batch"], "negative_prompt": experiment.get("negative_prompt", "")}
sampler = Sampler(stage, embeds, stage.size, **how, progress=progress)
samples = make_samples(experiment["task"], experiment)
tensors = run(experiment["task"], experiment, sampler, samples)

made_with = {"samples": samples, "sampling": params.sampling, "experiment": params.experiment, "grid": sampler.grid}
model["revision"] = revision_of(folder, model["revision"])
save_tensors(snakemake.output[0], tensors, made_with | {"model": model, "torch": str(torch.__version__)})
