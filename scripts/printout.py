"""An anagram as a PDF to print and to cut."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from fun.data.files import write_whole
from fun.data.tensors import load_arrays
from fun.reporting.printout import printout
from fun.weights.safety import black_out, mark

experiment = snakemake.params.experiment
drawn = ((stage, *load_arrays(snakemake.input[stage])) for stage in sorted(snakemake.params.stages, reverse=True))
stage, arrays, made = next(found for found in drawn if found[2]["samples"])  # stage III has none if it is gone
safety = load_arrays(snakemake.input.safety)[0] if "safety" in snakemake.input.keys() else {}
arrays = black_out(arrays, made["samples"], safety[stage]) if stage in safety else arrays
arrays = mark(arrays, safety["watermark"]) if "watermark" in safety else arrays
seeds = [sample["seed"] for sample in made["samples"]]
write_whole(snakemake.output[0], printout(arrays["x_0"], seeds, experiment["views"], made["grid"]))
