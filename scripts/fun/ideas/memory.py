"""Does a network remember its training images? Beside it, the denoiser that remembers nothing else.

The minimiser of the training loss is known in closed form, and in the loop it draws training images only: Scarvelis et al. 2023,
"Closed-form diffusion models", https://arxiv.org/abs/2310.12395. Why a network does not: Kamb and Ganguli 2024,
https://arxiv.org/abs/2412.20292.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fun.data.mnist import pick
from fun.diffusion.sampling import Prediction, randn
from fun.diffusion.schedule import NoiseSchedule
from fun.ideas.lab import Lab, no_class
from fun.networks.mnist_unets import NO_CLASS

CHUNK = 50  # digits that are compared with all training images at a time
DRAWN, SCORED, FEW = 50, 100, 6_000
LEVELS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.67, 0.75, 0.83, 0.92)  # of T


class PerfectDenoiser:
    """The function (x_t, t, labels) with the least possible loss on its images (M, 1, 28, 28) with labels (M,): the mean of those that x_t
    can have come from. To be used like a network (fun.networks.mnist_unets)."""

    def __init__(self, schedule: NoiseSchedule, images: Tensor, labels: Tensor, class_conditioned: bool = True):
        self.schedule, self.images, self.labels, self.class_conditioned = schedule, images, labels, class_conditioned

    def __call__(self, x_t: Tensor, t: float, labels: Tensor) -> Prediction:
        labels = labels[:, None]
        x_0 = self.schedule.posterior_mean(x_t, t, self.images, (labels == NO_CLASS) | (labels == self.labels))
        return Prediction(x_0, self.schedule.noise_from_x_start(x_t, t, x_0))


def nearest(x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the images each of x (N, C, H, W) is nearest to, (N,), and how far from it, (N,): root mean square over the pixels."""
    parts = [torch.cdist(chunk.flatten(1), images.flatten(1)).min(1) for chunk in x.split(CHUNK)]
    distances, chosen = (torch.cat(part) for part in zip(*parts, strict=True))
    return chosen, distances / x[0].numel() ** 0.5


@torch.no_grad()
def losses(
    network: Callable[[Tensor, int, Tensor], Prediction],
    images: Tensor,
    labels: Tensor,
    timesteps: Sequence[int],
    seed: int,
) -> list[float]:
    """The mean squared error of x_0 at each of the timesteps, with one noise for each image at all of them."""
    noise = randn(images.shape[1:], [torch.Generator().manual_seed(seed + i) for i in range(len(images))])
    found = []
    for t in timesteps:
        x_t = network.schedule.q_sample(images, t, noise)
        parts = zip(x_t.split(CHUNK), labels.split(CHUNK), strict=True)
        x_0 = torch.cat([network(part, t, told)[0] for part, told in parts])
        found.append(float((x_0 - images).square().mean()))
    return found


def study(lab: Lab) -> dict:
    """What the perfect denoiser and the network draw from the same noise, how near to training digits, and the losses of both."""
    images, labels = lab.train
    test_images, test_labels = lab.test
    conditioned = lab.network.class_conditioned
    perfect = PerfectDenoiser(lab.network.schedule, images, labels, conditioned)
    classes, seeds = torch.arange(10).repeat(DRAWN // 10), range(lab.seed, lab.seed + DRAWN)
    drawn = {"the perfect denoiser": lab.draw(classes, seeds, perfect), "the network": lab.draw(classes, seeds)}
    real = test_images[pick(test_labels, classes)]
    chosen = {name: nearest(x, images) for name, x in (drawn | {"real test digits": real}).items()}

    T = lab.network.schedule.num_train_timesteps
    timesteps = [round(T * share) for share in LEVELS]
    sets = {
        on: (x[:SCORED], y[:SCORED] if conditioned else no_class(len(y[:SCORED])))
        for on, (x, y) in {"test": lab.test, "training": lab.train}.items()
    }
    curves = {
        (which, on): losses(how, *sets[on], timesteps, lab.seed)
        for which, how in {"the network": lab.network, "the perfect denoiser": perfect}.items()
        for on in sets
    }
    if len(images) > FEW:
        few = PerfectDenoiser(lab.network.schedule, images[:FEW], labels[:FEW])
        curves[f"the perfect denoiser of {FEW} digits", "test"] = losses(few, *sets["test"], timesteps, lab.seed)
    return {
        "drawn": {name: lab.grey(x[:10]) for name, x in drawn.items()},
        "nearest": lab.grey(images[chosen["the network"][0][:10]]),
        "distances": {name: float(far.mean()) / (1 - lab.black) for name, (_, far) in chosen.items()},
        "timesteps": timesteps,
        "num_train_timesteps": T,
        "losses": curves,
        "names": lab.names,
        "known": len(images),
        "n": DRAWN,
        "scored": SCORED,
    }
