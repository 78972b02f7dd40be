"""The training that every network here shares: loss, optimisers, moving average, and a state that resumes exactly.

A network is trained on its own target (the noise, the clean image, the way of a flow) with plain mean squared error:
convolutions by Muon, the rest by AdamW, unless told otherwise. The learning rate depends on the step and the epoch, never
on the total number of epochs, so that a finished run can be extended. What the recipe achieves, and why it is as it is: docs/measurements.md.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fun.networks.mnist_unets import NO_CLASS, Denoiser, make_network
from fun.training.optimizers import make_optimizers


def diffusion_loss(network, x_0: Tensor, labels: Tensor, t: Tensor, noise: Tensor, bfloat16: bool = False) -> Tensor:
    """Mean squared error of network.predict on its own target: a scalar.

    Args:
        x_0: (N, C, H, W), in the range of the network's pixels.
        t: (N,), timesteps of the network's schedule.
        noise: (N, C, H, W), standard normal.
        bfloat16: compute the network's convolutions and matrix products in bfloat16.
    """
    x_t, target = (
        network.schedule.q_sample(x_0, t, noise),
        network.schedule.target(network.prediction_type, x_0, t, noise),
    )
    with torch.autocast(x_0.device.type, torch.bfloat16, enabled=bfloat16):
        prediction = network.predict(x_t, t, labels)
    return nn.functional.mse_loss(prediction.to(target.dtype), target)


def expected_images(
    schedule, x_0: Tensor, labels: Tensor, t: Tensor, noise: Tensor, images: Tensor, image_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """What x_t tells of its clean image, if that is one of `images` with the same label, and of its noise: the targets that a
    network learns from (x_0, noise) in the mean over many, without that mean's noise (Xu et al. 2023, "stable target
    field", https://arxiv.org/abs/2302.00670).

    Args:
        x_0, labels, t, noise: as in `diffusion_loss`; a sample of NO_CLASS can be any of the images.
        images, image_labels: (M, C, H, W) and (M,), with all of x_0 among them.

    Returns:
        (x_0, noise), with the same x_t: as they were where more than half of the power is signal, because there no other image
        is likely any more.
    """
    signal, sigma = schedule.levels(t)
    rows = (signal < sigma).nonzero()[:, 0].to(x_0.device)
    x_t, at = schedule.q_sample(x_0, t, noise)[rows], t.to(x_0.device)[rows]
    labels = labels[rows, None]
    mean = schedule.posterior_mean(x_t, at, images, (labels == NO_CLASS) | (labels == image_labels))
    return x_0.index_put((rows,), mean), noise.index_put((rows,), schedule.noise_from_x_start(x_t, at, mean))


def stratified_timesteps(batch_size: int, schedule, generator: torch.Generator, power: float = 1.0) -> Tensor:
    """(N,): one of the schedule's timesteps from each of N parts of its way from the clean image to noise, less variance than N
    independent draws: at the share u^power of the way, where u is uniform in 0 .. 1. A power below 1 favours high noise."""
    strata = (torch.arange(batch_size) + torch.rand(batch_size, generator=generator)) / batch_size
    return schedule.timesteps_at(strata**power)


def independent_timesteps(batch_size: int, schedule, generator: torch.Generator) -> Tensor:
    """(N,): timesteps of the schedule, each at a random share of its way from the clean image to noise."""
    return schedule.timesteps_at(torch.rand(batch_size, generator=generator))


def drop_classes(labels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Labels (N,) int64 with a random share replaced by NO_CLASS, so that one network learns both halves of guidance."""
    dropped = torch.rand(len(labels), generator=generator) < probability
    return labels.masked_fill(dropped.to(labels.device), NO_CLASS)


def epoch_indices(seed: int, epoch: int, images_per_epoch: int, dataset_size: int) -> Tensor:
    """The indices of the images of an epoch (1, 2, ...): (images_per_epoch,) int64, a slice of an endless stream.

    The stream is one permutation after another of the data, each seeded by (seed, pass over the data): ten epochs of 6,000
    see each of 60,000 images once.
    """
    start, stop = (epoch - 1) * images_per_epoch, epoch * images_per_epoch
    first_pass, last_pass = start // dataset_size, (stop - 1) // dataset_size
    stream = torch.cat([_permutation(seed, i, dataset_size) for i in range(first_pass, last_pass + 1)])
    return stream[start - first_pass * dataset_size : stop - first_pass * dataset_size]


def subset(seed: int, part: list[int] | None, size: int) -> Tensor:
    """The indices of the images that a network is trained on, of `size`: all, or of their order shuffled by the seed those from part[0]
    up to part[1]. So parts that do not overlap share no image."""
    return torch.arange(size) if part is None else _permutation(seed, -1, size)[slice(*part)]


def _permutation(seed: int, pass_number: int, size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(1_000_003 * seed + pass_number))


def learning_rate_factor(step: int, epoch: int, warm_up_steps: int, decay_per_epoch: float) -> float:
    """The factor of the learning rates in a step (counted from 0 over all epochs) of an epoch (counted from 1)."""
    return min(1.0, (step + 1) / warm_up_steps) * decay_per_epoch ** (epoch - 1)


def ema_decay(num_averaged: int, decay: float) -> float:
    """min(decay, (1 + n) / (10 + n)): a short memory at first, so that the average forgets the untrained weights."""
    return min(decay, (1 + num_averaged) / (10 + num_averaged))


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; buffers are copied. `.module` is the network to sample from."""

    def average(averaged, current, num_averaged):
        torch._foreach_lerp_(averaged, current, 1 - ema_decay(int(num_averaged), decay))

    return AveragedModel(network, multi_avg_fn=average).eval()


class Trainer:
    """Everything that training changes: weights, their moving average, optimisers, random stream, step and epoch counts.

    `train_epoch` trains; `state_dict` returns a flat dict of tensors; `load_state_dict` continues from it, bit for bit.
    """

    def __init__(
        self,
        network: nn.Module,
        seed: int,
        muon_lr: float,
        adamw_lr: float,
        warm_up_steps: int,
        decay_per_epoch: float,
        ema: float,
        class_dropout: float = 0.1,
        optimizer: str = "muon",
        stratified: bool = True,
        timestep_power: float = 1.0,
        reference_images: int = 0,
        bfloat16: bool | str = False,
    ):
        self.network = network
        self.average = moving_average(network, ema)
        self.optimizers = make_optimizers(network, optimizer, muon_lr, adamw_lr)
        self.base_lrs = {"muon": muon_lr, "adamw": adamw_lr}
        self.stratified = stratified
        self.warm_up_steps = warm_up_steps
        self.decay_per_epoch = decay_per_epoch
        self.class_dropout = class_dropout
        self.timestep_power = timestep_power
        self.reference_images = reference_images
        self.bfloat16 = has_bfloat16(next(network.parameters()).device) if bfloat16 == "auto" else bfloat16
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.epoch = 0

    def train_epoch(self, images: Tensor, labels: Tensor, batch_size: int) -> Iterator[float]:
        """Train one epoch on the images, in the given order; yields the loss of each step.

        Args:
            images: (N, C, H, W) float32 in [-1, 1].
            labels: (N,) int64.

        Raises:
            ValueError: the loss is not finite.
        """
        self.epoch += 1
        self.network.train()
        references = max(self.reference_images, batch_size) if self.reference_images else 0
        for start in range(0, len(images), batch_size):
            # The reference images start with the batch; at the end of the epoch they are the last ones, with the batch in them.
            first = max(0, min(start, len(images) - references))
            batch, reference = slice(start, start + batch_size), slice(first, first + references)
            yield self._train_step(images[batch], labels[batch], images[reference], labels[reference])

    def loss(self, x_0: Tensor, labels: Tensor, images: Tensor, image_labels: Tensor) -> Tensor:
        """The loss that a step minimises: a scalar. Timesteps and noise are drawn from the trainer's own random stream.

        images, image_labels: the reference images, for `expected_images`; if there are none, x_0 itself is learned.
        """
        schedule = self.network.schedule
        if self.stratified:
            t = stratified_timesteps(len(x_0), schedule, self.generator, self.timestep_power)
        else:
            t = independent_timesteps(len(x_0), schedule, self.generator)
        noise = torch.randn(x_0.shape, generator=self.generator).to(x_0)  # drawn on the CPU: the same on every device
        labels = drop_classes(labels, self.class_dropout, self.generator)
        if len(images):
            told = labels if self.network.class_conditioned else torch.full_like(labels, NO_CLASS)
            x_0, noise = expected_images(schedule, x_0, told, t, noise, images, image_labels)
        return diffusion_loss(self.network, x_0, labels, t, noise, self.bfloat16)

    def _train_step(self, *batch: Tensor) -> float:
        factor = learning_rate_factor(self.step, self.epoch, self.warm_up_steps, self.decay_per_epoch)
        loss = self.loss(*batch)
        if not loss.isfinite():
            raise ValueError(
                f"the loss is not finite in step {self.step + 1}: training has diverged; try smaller learning rates (muon_lr "
                f"is {self.base_lrs['muon']}, adamw_lr is {self.base_lrs['adamw']})"
            )
        loss.backward()
        for name, optimizer in self.optimizers.items():
            optimizer.lr = self.base_lrs[name] * factor
            optimizer.step()
        self.network.zero_grad()
        self.average.update_parameters(self.network)
        self.step += 1
        return loss.item()

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all state, named `network.*`, `average.*`, `muon.*`, `adamw.*`, `generator`, `step`, `epoch`."""
        state = {
            "generator": self.generator.get_state(),
            "step": torch.tensor(self.step),
            "epoch": torch.tensor(self.epoch),
        }
        state |= {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        state |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            state |= {f"{name}.{key}": tensor for key, tensor in optimizer.state_dict().items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned. Raises RuntimeError if it belongs to another network."""
        self.generator.set_state(state["generator"])
        self.step, self.epoch = int(state["step"]), int(state["epoch"])
        self.network.load_state_dict(_under("network.", state))
        self.average.load_state_dict(_under("average.", state))
        for name, optimizer in self.optimizers.items():
            for key, tensor in optimizer.state_dict().items():
                tensor.copy_(state[f"{name}.{key}"])


def average_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights in a Trainer's state, for load_state_dict of the network to sample from."""
    return _under("average.module.", state)


def trained_network(model: dict, schedule, state: dict[str, Tensor]) -> Denoiser:
    """The network to sample from, with the averaged weights in a Trainer's state. model: as for `make_network`."""
    network = make_network(model, schedule)
    network.load_state_dict(average_weights(state))
    return network.eval()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a processor or a GPU computes in bfloat16 by itself; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # PyTorch 2.9 does not tell
    return capabilities().get("avx512_bf16", False)


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose name starts with the prefix, which is removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
