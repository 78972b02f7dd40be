"""Make the miniature's tokenizer, its text encoder, and the embeddings of all prompts that the stages are trained on."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from pathlib import Path

import torch
from transformers import T5Tokenizer

from fun.data.tensors import save_tensors
from fun.miniature.networks import make_text_encoder, write_tokenizer
from fun.miniature.training import embed, tokenise, train_text_encoder

torch.set_num_threads(snakemake.threads)
folder, steps, seed = Path(snakemake.output.folder), snakemake.params.steps, snakemake.params.seed

write_tokenizer(folder / "tokenizer")
tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer")
tokens, mask = tokenise(tokenizer)

torch.manual_seed(seed)
encoder = make_text_encoder(len(tokenizer))
for _, accuracy in progress(train_text_encoder(encoder, tokens, mask, steps, seed), "training", steps):  # noqa: B007
    pass
print(f"held-out prompts understood: {accuracy:.4f}")

encoder.save_pretrained(folder / "text_encoder")
save_tensors(
    snakemake.output.embeds,
    {"prompt_embeds": embed(encoder, tokens, mask)},
    {"steps": steps, "seed": seed, "held_out_accuracy": accuracy},
)
