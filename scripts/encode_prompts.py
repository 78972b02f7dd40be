"""Encode every prompt of the configuration, with the text encoder loaded once."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import torch

from fun.data.devices import pick_device
from fun.data.prompts import too_long
from fun.data.tensors import save_tensors
from fun.diffusion.text_encoder import load_text_encoder
from fun.weights.folders import find_model
from fun.weights.memory import check_fits

torch.set_num_threads(snakemake.threads)
params = snakemake.params
model = dict(params.text_encoder)
folder, device = find_model(params.folder, "text_encoder", snakemake.input.fetched), pick_device(params.device)
check_fits("text_encoder", folder, model, device)
encoder = load_text_encoder(
    folder,
    model["max_length"],
    model["variant"],
    getattr(torch, model["dtype"]),
    device,
    model["load_in_8bit"],
)

for prompt, path in progress(list(zip(params.prompts, snakemake.output, strict=True)), "prompts"):
    tokens, made_with = encoder.count_tokens(prompt), {"prompt": prompt, "text_encoder": model}
    if tokens > encoder.max_length and not model["truncate"]:
        # A note in place of the embedding, so that only the experiments which need this prompt stop.
        save_tensors(path, {}, made_with | {"problem": too_long(prompt, tokens, encoder.max_length)})
        continue
    embeds = encoder.encode(prompt)
    if not embeds.isfinite().all():
        raise ValueError(f"the embedding of {prompt!r} is not finite: {model['dtype']} is too small for this encoder")
    save_tensors(path, {"prompt_embeds": embeds.float()}, made_with)
