"""What noise hides at which frequency: diffusion draws the coarse before the fine.

After Dieleman 2024, "Diffusion is spectral autoregression", https://sander.ai/2024/09/02/spectral-autoregression.html.
"""

import torch
from torch import Tensor

from fun.diffusion.schedule import NoiseSchedule
from fun.ideas.lab import Lab, no_class

N = 200  # test digits
LEVELS = 24  # at which the network is asked
CROSSED = (0.25, 0.5, 0.75)  # of T


def power(x: Tensor, window: bool = False) -> Tensor:
    """The mean power of pictures x (N, H, H) at 0, 1, ..., H // 2 - 1 cycles a picture: (H // 2,). White noise of variance 1 has 1
    everywhere.

    window: fade each picture out towards its edges (Hann), where a photograph does not continue on the other side.
    """
    side = x.shape[-1]
    if window:
        one = torch.hann_window(side, periodic=False, dtype=x.dtype)
        faded = one[:, None] * one
        x = x * faded / faded.square().mean().sqrt()
    squares = torch.fft.fft2(x).abs().square().mean(0) / side**2
    return bands(squares)


def bands(squares: Tensor) -> Tensor:
    """The means of (H, H) values of a Fourier transform over rings of a cycle a picture: (H // 2,)."""
    side = squares.shape[-1]
    cycles = torch.fft.fftfreq(side, 1 / side)
    ring = torch.hypot(cycles[:, None], cycles).round().long().flatten()
    total = torch.zeros(int(ring.max()) + 1).index_add(0, ring, squares.flatten().to(torch.float32))
    return (total / ring.bincount())[: side // 2]


def crossing(of_pictures: Tensor, schedule: NoiseSchedule, t: int) -> int:
    """The lowest number of cycles at which the noise of timestep t is stronger than pictures with this power; as many as there are if
    none is."""
    signal, sigma = schedule.levels(t)
    hidden = (of_pictures * signal**2 < sigma**2)[1:].nonzero()
    return int(hidden[0]) + 1 if len(hidden) else len(of_pictures)


def known_by_power(of_pictures: Tensor, schedule: NoiseSchedule, t: int) -> Tensor:
    """The share of each band of pictures with this power that the best linear filter knows under the noise of t (Wiener): (H // 2,)."""
    signal, sigma = schedule.levels(t)
    return 1 / (1 + float(sigma / signal) ** 2 / of_pictures)


def known(x_0: Tensor, estimate: Tensor, mean: Tensor) -> Tensor:
    """The share of each band of pictures x_0 (N, H, H) that an estimate of them knows, beyond their mean (H, H): (H // 2,)."""
    return 1 - power(estimate - x_0) / power(x_0 - mean)


def last_known(shares: Tensor, timesteps: list[int], at_least: float = 0.5) -> float:
    """The largest timestep at which at least half is known, between those given by a straight line. shares: at each of the ascending
    timesteps; -1 if it is nowhere."""
    there = (shares >= at_least).nonzero().flatten()
    if not len(there):
        return -1.0
    i = int(there[-1])
    if i + 1 == len(timesteps):
        return float(timesteps[-1])
    share = float((shares[i] - at_least) / (shares[i] - shares[i + 1]))
    return timesteps[i] + share * (timesteps[i + 1] - timesteps[i])


def study(lab: Lab, photo: Tensor) -> dict:
    """Where the noise crosses the power of a photo and of digits, and until when half of each band of the digits is known."""
    schedule, images = lab.network.schedule, lab.test[0]
    T = schedule.num_train_timesteps
    mean = lab.train[0].mean(0)[0]
    digits = images[:: len(images) // N, 0][:N]
    powers = {"a photo": power(photo[None], window=True), "digits, less their mean": power(digits - mean)}
    timesteps = sorted({round(T * (k + 0.5) / LEVELS) for k in range(LEVELS)})
    noise = lab.noise(range(lab.seed, lab.seed + N))
    by_power, by_network = [], []
    for t in timesteps:
        x_t = schedule.q_sample(digits[:, None], t, noise)
        with torch.no_grad():
            x_0 = torch.cat([lab.network(part, t, no_class(len(part)))[0] for part in x_t.split(50)])
        by_power.append(known_by_power(powers["digits, less their mean"], schedule, t))
        by_network.append(known(digits, x_0[:, 0], mean))
    cycles = range(1, len(mean) // 2)
    until = {
        name: [(last_known(torch.stack(shares)[:, k], timesteps) + 1) / T for k in cycles]
        for name, shares in {"the spectrum alone": by_power, "the network": by_network}.items()
    }
    levels = {share: schedule.levels(round(share * T)) for share in CROSSED}
    return {
        "powers": {name: found[1:].tolist() for name, found in powers.items()},
        "noises": {share: float((sigma / signal) ** 2) for share, (signal, sigma) in levels.items()},
        "crossings": {
            (name, share): crossing(found, schedule, round(share * T))
            for name, found in powers.items()
            for share in CROSSED
        },
        "cycles": list(cycles),
        "until": until,
        "n": N,
    }
