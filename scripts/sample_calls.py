"""Draw digits along several paths, with few and many calls of the network, and score them with the classifier."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

from pathlib import Path

import pandas as pd
import torch

from fun.data.devices import pick_device
from fun.data.files import write_whole
from fun.data.mnist import BLACK, load_labels, proportional_labels, to_float, to_uint8
from fun.data.tensors import load_tensors
from fun.diffusion.digits import calls_made, generate, most_steps
from fun.diffusion.schedule import make_schedule
from fun.judging.scores import DigitClassifier, FrechetDistance, frechet_floors, labels_of_floor, rate, read_digits
from fun.training.trainer import trained_network

CALLS = (1, 2, 4, 8, 16, 32)  # at the most; where guidance asks twice a step, some of them are the same walk
CHUNK = 50  # digits at a time, as in sample_epoch

torch.set_num_threads(snakemake.threads)
params, n = snakemake.params, int(snakemake.wildcards.n)
WALKS = {  # {name: (path, sampler)}
    "DDPM": (params.diffusion, "ddpm"),
    "DDIM": (params.diffusion, "ddim"),
    "DPM-Solver++": (params.diffusion, "dpm_solver"),
    "Euler along the flow": ("flow", "ddim"),
}
schedule, device = make_schedule(**params.schedule), pick_device(params.device)
network = trained_network(params.model, schedule, load_tensors(snakemake.input.checkpoint)[0]).to(device)
classifier = DigitClassifier().eval()
classifier.load_state_dict(load_tensors(snakemake.input.classifier)[0])
reference, _ = load_tensors(snakemake.input.reference)
distance = FrechetDistance(reference)

folder = Path(snakemake.input.data[0]).parent
train_labels, test_labels = (load_labels(folder, split) for split in ("train", "t10k"))
wanted, real = proportional_labels(train_labels, n), labels_of_floor(train_labels, test_labels, n)
floors = frechet_floors(distance, reference["test_features"], test_labels, real, params.seed)
guided = (params.guidance_scale, params.guidance_interval)
walks = {
    (name, path, sampler, steps): calls_made(schedule, path, steps, *guided)
    for name, (path, sampler) in WALKS.items()
    for calls in CALLS
    for steps in [most_steps(schedule, path, calls, *guided)]
}
rows = []
for (name, path, sampler, steps), calls in progress(walks.items(), "walks"):
    images = []
    for labels, numbers in zip(wanted.split(CHUNK), torch.arange(n).split(CHUNK), strict=True):
        *_, last = generate(
            network,
            labels.to(device),
            (params.seed + 1000 + numbers).tolist(),
            sampler,
            "trailing",
            steps,
            *guided,
            path=path,
            black=BLACK[params.pixels],
        )
        images.append(to_float(to_uint8(last.x_t, BLACK[params.pixels])))
    seen, features = read_digits(classifier, torch.cat(images))
    scored = {f"accuracy_{key}": value for key, value in rate(int((seen == wanted).sum()), n).items()}
    rows.append({"walk": name, "path": path, "sampler": sampler, "steps": steps, "calls": calls} | scored)
    rows[-1] |= {"frechet_distance": distance(features), "frechet_floor": sum(floors) / len(floors)}
write_whole(snakemake.output[0], pd.DataFrame(rows).to_csv(index=False))
