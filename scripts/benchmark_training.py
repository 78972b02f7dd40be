"""Train all contenders on MNIST in turn, a slice of seconds each, and judge what they draw."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import os
import time
from pathlib import Path

import pandas as pd
import torch

from fun.benchmarking.contenders import PEERS, Ours, judge
from fun.benchmarking.rates import convolution_seconds, pin_to_one_core
from fun.data.files import write_whole
from fun.data.mnist import load_mnist
from fun.data.tensors import load_tensors
from fun.judging.scores import DigitClassifier, FrechetDistance

params = dict(snakemake.params.items())
seed = params["seeds"][0]  # also for the others
training, images_per_epoch = snakemake.params.training, snakemake.params.images_per_epoch
# The shares of the total seconds after which a network is kept: closer together at first, when quality rises fast.
MARKS = (*(i / 100 for i in (1, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 13)), *(i / 15 for i in (3, 4, 5, 6, 7, 8, 9, 10, 12, 15)))
TARGETS = (0.90, 0.99)
images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "train")
classifier = DigitClassifier().eval()
classifier.load_state_dict(load_tensors(snakemake.input.classifier)[0])
distance = FrechetDistance(load_tensors(snakemake.input.reference)[0])

# One thread, one process: each contender trains for a slice of time, then waits for all others.
torch.set_num_threads(1)
cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
pin_to_one_core()
contenders = {f"ours, seed {own}": Ours(images, labels, own, images_per_epoch, training) for own in params["seeds"]}
contenders["ours, float32"] = Ours(images, labels, seed, images_per_epoch, training | {"bfloat16": False})
contenders |= {name: PEERS[name](images, labels, seed) for name in params["peers"]}
steps = {name: contender.steps() for name, contender in contenders.items()}
seconds, seen = dict.fromkeys(contenders, 0.0), dict.fromkeys(contenders, 0)
marks = {name: [mark * params["seconds"] for mark in MARKS] for name in contenders if name.startswith("ours, seed")}
networks, slices = [], []  # to be judged: (name, seconds, images, network); the rate of each slice
for number in progress(range(round(params["seconds"] / params["slice"])), "slices of training"):
    for name in contenders:
        if name == "ours, float32" and number >= 3:  # only its rate is of interest
            continue
        end, before, images_before = (number + 1) * params["slice"], seconds[name], seen[name]
        while seconds[name] < end:
            start = time.perf_counter()
            seen[name] += next(steps[name])
            seconds[name] += time.perf_counter() - start
            if name in marks and marks[name] and seconds[name] >= marks[name][0]:
                marks[name].pop(0)
                networks.append((name, seconds[name], seen[name], contenders[name].network()))
        if seen[name] > images_before:  # a step can be longer than a slice
            rate = (seen[name] - images_before) / (seconds[name] - before)
            slices.append({"contender": name, "slice": number, "images_per_second": rate})
    unet = contenders[f"ours, seed {seed}"].trainer.network
    convolutions = convolution_seconds(unet, training["batch_size"])
    slices.append(
        {"contender": "ours, convolutions alone", "slice": number}
        | {"images_per_second": training["batch_size"] / convolutions}
    )
networks += [(name, seconds[name], seen[name], contenders[name].network()) for name in params["peers"]]
write_whole(snakemake.output.rates, pd.DataFrame(slices).to_csv(index=False))

# Judging is not timed, so it runs on all cores.
if cores is not None:
    os.sched_setaffinity(0, cores)
torch.set_num_threads(snakemake.threads)


scores, finished = [], set()  # finished: those that have reached all targets
for name, at, count, network in progress(networks, "networks judged"):
    if name in finished and at < params["seconds"]:
        continue
    found = {"contender": name, "seconds": at, "images": count}
    scores.append(found | judge(network, labels, params["judged_peers"], classifier, distance))
    near = scores[-1]["class_accuracy"] >= TARGETS[0] - 0.03
    if name not in PEERS and (near or at >= params["seconds"]):
        scores.append(found | judge(network, labels, params["judged"], classifier, distance))
        if scores[-1]["class_accuracy"] >= TARGETS[1]:
            finished.add(name)
write_whole(snakemake.output.scores, pd.DataFrame(scores).to_csv(index=False))
