"""Timing: functions in turn, and the best that the machine could do."""

import os
import time
from collections.abc import Callable

import torch
from torch import nn


def pin_to_one_core() -> None:
    """Keep this process on the last of its cores, if the system can: other processes tend to use the first."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def in_turn(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds that each of `works` takes, `repeats` times. Each round calls them all in turn, so that a machine that
    slows down slows all of them. A first round is not counted."""
    seconds = {name: [] for name in works}
    for number in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def convolution_seconds(network: nn.Module, batch_size: int) -> float:
    """Seconds that the network's convolutions take in a training step, forward and backward, with nothing between them:
    the core's convolution rate for these shapes. The rest of a step is what could be saved."""
    calls = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: calls.append((layer, inputs[0].detach())))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    zeros = torch.zeros(batch_size, dtype=torch.int64)
    network.predict(torch.randn(batch_size, 1, 28, 28), zeros, zeros)
    for hook in hooks:
        hook.remove()

    def once(layer, x):
        output = layer(x)
        output.backward(torch.ones_like(output))

    total = 0.0
    for number, (layer, x) in enumerate(calls):
        x.requires_grad_(number > 0)  # training needs no gradient of the picture
        total += sorted(in_turn({"": lambda layer=layer, x=x: once(layer, x)}, 5)[""])[2]
    network.zero_grad()
    return total
