"""What the ideas are tried on: trained networks, and the digits that they were and were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fun.data.mnist import to_uint8
from fun.diffusion.digits import generate
from fun.diffusion.sampling import randn
from fun.networks.mnist_unets import NO_CLASS, Denoiser

CHUNK = 50  # digits at a time


@dataclass(frozen=True)
class Lab:
    """A network, how digits are drawn with it (the arguments of `generate`), and the data set."""

    network: Denoiser
    sampling: dict
    # what the network was trained on: images (N, 1, 28, 28) in [black, 1], labels (N,); None if they are not needed
    train: tuple[Tensor, Tensor] | None
    test: tuple[Tensor, Tensor] | None
    names: list[str]  # of the ten classes
    black: float
    seed: int

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """The noise (N, 1, 28, 28) that digits of these seeds are drawn from."""
        return randn((1, 28, 28), [torch.Generator().manual_seed(seed) for seed in seeds])

    def draw(self, labels: Tensor, seeds: Sequence[int], network=None, x_t: Tensor | None = None, **how) -> Tensor:
        """Digits (N, 1, 28, 28), by this network unless told otherwise. x_t: noise to begin with in place of the seeds'. A network that is
        not conditioned on the class draws what it likes."""
        network = network or self.network
        labels = labels if network.class_conditioned else no_class(len(labels))
        how, found = {"black": self.black} | self.sampling | how, []
        for chosen in torch.arange(len(labels)).split(CHUNK):
            begin = {} if x_t is None else {"x_t": x_t[chosen], "start": network.schedule.num_train_timesteps - 1}
            *_, last = generate(network, labels[chosen], [seeds[i] for i in chosen], **how, **begin)
            found.append(last.x_t)
        return torch.cat(found)

    def ink(self, x: Tensor) -> Tensor:
        """Digits with black as 0 and white as 1."""
        return ((x - self.black) / (1 - self.black)).clamp(0, 1)

    def grey(self, x: Tensor) -> np.ndarray:
        """Digits as grey levels (N, 28, 28) uint8."""
        return to_uint8(x, self.black).numpy()


def no_class(n: int) -> Tensor:
    """Labels (n,) for any digit."""
    return torch.full((n,), NO_CLASS)
