"""Draw digits with a flow map and with the network that it learned from, with one call and with more, and score them."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.mnist import BLACK, load_labels, proportional_labels, to_float, to_uint8
from fun.data.tensors import load_tensors
from fun.diffusion.digits import most_steps, without_noise
from fun.diffusion.schedule import make_schedule
from fun.ideas.lab import Lab
from fun.judging.scores import DigitClassifier, FrechetDistance, frechet_floors, labels_of_floor, rate, read_digits
from fun.reporting.digit_figures import in_words_of
from fun.reporting.figure import write_figure
from fun.reporting.idea_figures import one_call_figure
from fun.training.trainer import trained_network

CALLS = (1, 2, 4, 8, 16)  # at the most; where guidance asks twice a step, there are fewer steps

torch.set_num_threads(snakemake.threads)
params, entry = snakemake.params, snakemake.params.teacher
schedule, black = make_schedule(**entry["schedule"]), BLACK[entry["pixels"]]
how = without_noise(params.sampling)
teacher = trained_network(entry["model"], schedule, load_tensors(snakemake.input.checkpoint)[0])
flow_map = trained_network(entry["model"] | {"is_map": True}, schedule, load_tensors(snakemake.input.flow_map)[0])
ways = {  # {name: (network, how it is drawn with)}
    "DDIM": (teacher, {"sampler": "ddim"}),
    "DPM-Solver++": (teacher, {"sampler": "dpm_solver"}),
    "Euler along the flow": (teacher, {"sampler": "ddim", "path": "flow"}),
    "the flow map": (flow_map, {"sampler": "ddim", "path": None, "thresholding": False}),
}
folder = Path(snakemake.input.data[0]).parent
lab = Lab(teacher, how, None, None, params.dataset["classes"], black, params.seed)
classifier = DigitClassifier().eval()
classifier.load_state_dict(load_tensors(snakemake.input.classifier)[0])
reference, _ = load_tensors(snakemake.input.reference)
distance = FrechetDistance(reference)

train_labels, test_labels = (load_labels(folder, split) for split in ("train", "t10k"))
wanted = proportional_labels(train_labels, params.num_images)
real = labels_of_floor(train_labels, test_labels, params.num_images)
floors = frechet_floors(distance, reference["test_features"], test_labels, real, params.seed)
guided = (how["guidance_scale"], how["guidance_interval"])
pictures, rows = {}, []
for name, (network, own) in progress(ways.items(), "ways"):
    for calls in CALLS:
        steps = calls if network is flow_map else most_steps(schedule, own.get("path"), calls, *guided)
        own = own | {"num_steps": steps, "spacing": "trailing"}
        shown = lab.draw(torch.arange(10), range(params.seed, params.seed + 10), network, **own)
        pictures[name, calls] = lab.grey(shown)
        drawn = lab.draw(wanted, range(params.seed + 1000, params.seed + 1000 + len(wanted)), network, **own)
        seen, features = read_digits(classifier, to_float(to_uint8(drawn, black)))
        right = rate(int((seen == wanted).sum()), len(wanted))
        rows.append({"way": name, "calls": calls, "right": right, "distance": distance(features)})
figure = one_call_figure(pictures, rows, sum(floors) / len(floors), {"model": entry["name"], "seed": params.seed})
write_figure(Path(snakemake.output.figure).parent, **in_words_of(figure, params.dataset))
