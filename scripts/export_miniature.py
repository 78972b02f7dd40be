"""Write the trained miniature as a folder that diffusers can open."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import hashlib
import shutil

from fun.data.files import whole_folder, write_whole
from fun.data.tensors import load_tensors
from fun.miniature.networks import write_stage_1, write_stage_2
from fun.training.trainer import average_weights

with whole_folder(snakemake.output[0]) as folder:
    write_stage_1(folder / "stage_1", snakemake.input.text, average_weights(load_tensors(snakemake.input.stage_1)[0]))
    write_stage_2(folder / "stage_2", average_weights(load_tensors(snakemake.input.stage_2)[0]))
    (folder / "judge").mkdir()
    shutil.copy(snakemake.input.judge, folder / "judge/weights.safetensors")
    shutil.copy(snakemake.input.judge_scores, folder / "judge/scores.json")

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}" for path in files]
    write_whole(folder / "SHA256SUMS", "\n".join(sums) + "\n")
