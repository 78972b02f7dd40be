"""Measure a miniature cascade: does it draw what its prompts ask for?"""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.files import write_json, write_whole
from fun.data.mnist import load_mnist, to_uint8
from fun.data.tensors import load_tensors
from fun.diffusion.cascade import load_stage
from fun.diffusion.text_encoder import load_text_encoder
from fun.miniature.judge import Judge, judge_accuracy
from fun.miniature.pictures import PROMPTS, centred_digits
from fun.miniature.quality import ANAGRAMS, anagram_accuracy, enlargement, prompt_accuracy

torch.set_num_threads(snakemake.threads)
folder, quality = Path(snakemake.input.cascade), snakemake.params.quality
judge = Judge().eval()
judge.load_state_dict(load_tensors(folder / "judge/weights.safetensors")[0])
images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "t10k")
digits = centred_digits(to_uint8(images))

cpu = torch.device("cpu")
encoder = load_text_encoder(folder / "stage_1", 77, None, torch.float32, cpu)
embeds = {prompt.text: encoder.encode(prompt.text) for prompt in PROMPTS}
stage_1 = load_stage(folder / "stage_1", None, None, torch.float32, cpu)
stage_2 = load_stage(folder / "stage_2", quality["noise_level"], None, torch.float32, cpu)

scores = {
    "judge": judge_accuracy(judge, digits, labels, seed=0),
    "prompts": {
        scale: prompt_accuracy(stage_1, embeds, judge, scale, quality["num_prompts"], progress)
        for scale in quality["guidance_scales"]
    },
    "anagrams": {
        name: anagram_accuracy(
            stage_1, embeds, judge, quality["anagram_guidance"], view, pair, quality["num_anagrams"], progress
        )
        for name, (view, *pair) in ANAGRAMS.items()
    },
    "stage_2": enlargement(
        stage_2, embeds, judge, digits[: quality["num_enlarged"]], labels[: quality["num_enlarged"]], progress
    ),
}
write_json(snakemake.output.scores, scores)


def row(name, what, measured):
    return f"| {name} | {what} | {measured['value']:.3f} | {measured['low']:.3f} to {measured['high']:.3f} | {measured['n']} |"


enlarged = scores["stage_2"]
rows = [
    *(
        row(f"judge, real digits, {size}", what, m)
        for size, rates in scores["judge"].items()
        for what, m in rates.items()
    ),
    *(row(f"prompts, guidance {s}", what, m) for s, rates in scores["prompts"].items() for what, m in rates.items()),
    *(row(f"anagram {name}", what, m) for name, rates in scores["anagrams"].items() for what, m in rates.items()),
    *(row("stage II, real digits", what, enlarged[what]) for what in ("digit kept", "colours kept")),
    f"| stage II, real digits | PSNR, dB (bilinear: {enlarged['psnr_bilinear']:.2f}) | {enlarged['psnr']:.2f} | | {enlarged['n']} |",
]
table = "\n".join(["| what | which | measured | 95 % interval | n |", "|---|---|---|---|---|", *rows])
write_whole(snakemake.output.table, table + "\n")
print(table)
