"""A network that takes a large step at once: a flow map, which learns from where its teacher's own walks lead.

Plain regression: the teacher draws digits in many small steps, and all states of its walks are kept. From one of them the map is to
reach a later one in a single step of DDIM. So one call of the map does what many calls of the teacher do, guidance included.
What else was tried: docs/ideas.md. Maps between any two times: Boffi et al. 2024, https://arxiv.org/abs/2406.07507.
"""

import torch
from torch import Tensor, nn

from fun.training.trainer import Trainer

ENDS = 0.3  # the share of pairs that begin with noise, and independently of those that end with the digit


class MapTrainer(Trainer):
    """Trains a map on walks: (N, L, 28, 28), the states at L timesteps, from noise to digit.

    Args:
        timesteps: (L,), of the states, descending; the last is -1.
        training: see Trainer.
    """

    def __init__(self, network: nn.Module, seed: int, timesteps: Tensor, **training):
        super().__init__(network, seed, **training)
        self.timesteps = timesteps

    def loss(self, walks: Tensor, labels: Tensor, *references: Tensor) -> Tensor:
        """The mean squared error of the clean image that leads from one state to a later one: a scalar."""
        first, later = self._pairs(len(walks), walks.shape[1])
        rows = torch.arange(len(walks))
        x_t, x_next = walks[rows, first, None], walks[rows, later, None]
        t, t_next = self.timesteps[first], self.timesteps[later]
        target = self.network.schedule.x_start_between(x_t, t, x_next, t_next)
        with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.bfloat16):
            prediction = self.network.predict(x_t, t, labels, t_next)
        return nn.functional.mse_loss(prediction.to(target.dtype), target)

    def _pairs(self, n, length):
        """Two states of each of n walks, the first before the second."""
        draws = torch.rand((4, n), generator=self.generator)
        first = (draws[0] * (length - 1)).long().masked_fill(draws[1] < ENDS, 0)
        later = first + 1 + (draws[2] * (length - 1 - first)).long()
        return first, later.masked_fill(draws[3] < ENDS, length - 1)
