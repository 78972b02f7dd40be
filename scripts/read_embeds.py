"""Take the prompts' embeddings from where they were made, checked."""

from reporting.job import log_to

log_to(snakemake.log[0])

import json

from diffusion.checkpoints import save_tensors
from diffusion.embeds import check_embeds, embedding_width, read_embeds
from weights.folders import find_model

params = snakemake.params
embeds = read_embeds(params.path)
for part, folder in params.stages.items():
    unet = json.loads((find_model(folder, part, snakemake.input.fetched) / "unet/config.json").read_text())
    check_embeds(params.path, embeds, params.prompts, params.tokens, embedding_width(unet))
for prompt, path in zip(params.prompts, snakemake.output, strict=True):
    save_tensors(path, {"prompt_embeds": embeds[prompt]}, {"prompt": prompt, "text_encoder": params.made_with})
