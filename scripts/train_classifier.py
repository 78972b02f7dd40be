"""Train the classifier that judges digits, and keep its features of the real ones."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import math
from pathlib import Path

import torch

from fun.data.files import write_json
from fun.data.mnist import load_mnist
from fun.data.tensors import save_tensors
from fun.judging.scores import BATCH_SIZE, DigitClassifier, FrechetDistance, rate, read_digits, train_classifier

torch.set_num_threads(snakemake.threads)
epochs, seed = snakemake.params.epochs, snakemake.params.seed
folder = Path(snakemake.input.data[0]).parent
images, labels = load_mnist(folder, "train")
test_images, test_labels = load_mnist(folder, "t10k")

torch.manual_seed(seed)
classifier = DigitClassifier()
losses = train_classifier(classifier, images, labels, epochs, seed)
for _ in progress(losses, "training", epochs * math.ceil(len(images) / BATCH_SIZE)):
    pass

seen, test_features = read_digits(classifier, test_images)
accuracy = rate(int((seen == test_labels).sum()), len(test_labels))
print(f"test accuracy {accuracy['value']:.4f}")

reference = FrechetDistance()
reference.add_reference(read_digits(classifier, images)[1])

made_with = {"epochs": epochs, "seed": seed}
save_tensors(snakemake.output.weights, classifier.state_dict(), made_with)
save_tensors(snakemake.output.reference, reference.summary() | {"test_features": test_features}, made_with)
write_json(snakemake.output.scores, {"test_accuracy": accuracy})
