"""Read the prompts' embeddings from the user's file or folder, and check them.

A prompt without one gets a note that says so: it may be that of an experiment that nobody asks for.
"""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import json

from fun.data.embeds import check_embeds, embedding_width, problem_with, read_embeds
from fun.data.tensors import save_tensors
from fun.weights.folders import find_model

params = snakemake.params
embeds = read_embeds(params.path)
problems = {prompt: problem_with(prompt, params.path, embeds) for prompt in params.prompts}
usable = [prompt for prompt in params.prompts if not problems[prompt]]
for part, folder in params.stages.items():
    unet = json.loads(
        (find_model(folder, part, snakemake.input.fetched) / "unet/config.json").read_text(encoding="utf-8")
    )
    check_embeds(params.path, embeds, usable, params.tokens, embedding_width(unet))
for prompt, path in zip(params.prompts, snakemake.output, strict=True):
    tensors = {"prompt_embeds": embeds[prompt]} if prompt in usable else {}
    save_tensors(path, tensors, {"prompt": prompt, "text_encoder": params.made_with} | problems[prompt])
