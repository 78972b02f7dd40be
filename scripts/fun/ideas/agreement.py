"""How alike digits are that different networks draw from the same noise.

Networks that were trained on enough images learn the same function, whichever images these were: Kadkhodaie et al. 2023,
https://arxiv.org/abs/2310.02557.
"""

from itertools import combinations

import torch
from torch import Tensor

from fun.diffusion.digits import without_noise
from fun.ideas.lab import Lab, no_class

N = 100


def correlation(a: Tensor, b: Tensor) -> float:
    """The mean correlation of the pixels of each of a (N, ...) with those of the one of b."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return float(torch.cosine_similarity(a, b).mean())


def study(lab: Lab, networks: dict[str, tuple], main: str) -> dict:
    """The same noise through several networks: those that are told the class, then, without it, the main one and the others.

    networks: {name: (network, the arguments of `generate` that it is drawn with)}; the noise in a sampler's steps is left out.
    """
    labels, none, seeds = torch.arange(10).repeat(N // 10), no_class(N), range(lab.seed, lab.seed + N)
    told = {name: (labels, *entry) for name, entry in networks.items() if entry[0].class_conditioned}
    untold = {name: (none, *entry) for name, entry in networks.items() if name not in told}
    if main in told and untold:
        untold = {f"{main}, no class": (none, *networks[main])} | untold
    drawn = {
        name: lab.draw(wanted, seeds, network, **without_noise(how))
        for name, (wanted, network, how) in (told | untold).items()
    }
    pairs = [*combinations(told, 2), *combinations(untold, 2)]
    return {
        "drawn": {name: lab.grey(x[:10]) for name, x in drawn.items()},
        "pairs": {(a, b): correlation(drawn[a], drawn[b]) for a, b in pairs},
        "chance": correlation(drawn[main], drawn[main].roll(10, 0)),  # the same classes, other noise
        "n": N,
    }
