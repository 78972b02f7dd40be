"""Read the prompts' embeddings from the user's file or folder, and check them."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json

from fun.data.embeds import check_embeds, embedding_width, read_embeds
from fun.data.tensors import save_tensors
from fun.weights.folders import find_model

params = snakemake.params
embeds = read_embeds(params.path)
for part, folder in params.stages.items():
    unet = json.loads((find_model(folder, part, snakemake.input.fetched) / "unet/config.json").read_text())
    check_embeds(params.path, embeds, params.prompts, params.tokens, embedding_width(unet))
for prompt, path in zip(params.prompts, snakemake.output, strict=True):
    save_tensors(path, {"prompt_embeds": embeds[prompt]}, {"prompt": prompt, "text_encoder": params.made_with})
