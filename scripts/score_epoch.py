"""Score the digits of a checkpoint with the classifier."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import torch

from fun.data.files import write_json
from fun.data.mnist import load_labels, to_float
from fun.data.tensors import load_tensors
from fun.diffusion.similarity import psnr
from fun.judging.scores import DigitClassifier, FrechetDistance, frechet_floors, labels_of_floor, rate, read_digits

torch.set_num_threads(snakemake.threads)
classifier = DigitClassifier().eval()
classifier.load_state_dict(load_tensors(snakemake.input.classifier)[0])
reference, _ = load_tensors(snakemake.input.reference)
distance, test_features = FrechetDistance(reference), reference["test_features"]
samples, made_with = load_tensors(snakemake.input.samples)
labels = samples["labels"]
n = len(labels)

folder = Path(snakemake.input.data[0]).parent
test_labels = load_labels(folder, "t10k")
wanted = labels_of_floor(load_labels(folder, "train"), test_labels, n)
floors = frechet_floors(distance, test_features, test_labels, wanted, made_with["seed"])


def score(images, how):
    """How good the digits are that were drawn in one way."""
    seen, features = read_digits(classifier, to_float(images))
    found = {
        "guidance_scale": how["guidance_scale"],
        "frechet_distance": {"value": distance(features), "n": n},
        "classes_drawn": torch.bincount(seen, minlength=10).tolist(),
    }
    if (labels >= 0).all():
        found["class_accuracy"] = rate(int((seen == labels).sum()), n)
    return found


scores = {"epoch": made_with["trained_with"]["epoch"], **score(samples["images"], made_with["sampling"])}
scores["frechet_floor"] = {
    "value": sum(floors) / len(floors),
    "low": min(floors),
    "high": max(floors),
    "n": len(wanted),
}
if "images_guided" in samples:
    scores["guided"] = score(samples["images_guided"], made_with["sampling_guided"])

showcase, _ = load_tensors(snakemake.input.showcase)
clean, clean_labels = to_float(showcase["clean"]), showcase["clean_labels"]
for t in showcase["noised_at"].tolist():
    for kind in ("noisy", "one_step", "iterative"):
        pictures = to_float(showcase[f"{kind}_{t}"])
        near = float(psnr(pictures, clean).mean())
        right = int((read_digits(classifier, pictures)[0] == clean_labels).sum())
        scores.setdefault("denoising", []).append(
            {"t": t, "kind": kind, "psnr": near, "class_accuracy": rate(right, len(clean))}
        )

write_json(snakemake.output[0], scores)
