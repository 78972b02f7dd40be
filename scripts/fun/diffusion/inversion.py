"""From a picture to the noise that it is drawn from: the deterministic loop, upwards."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fun.diffusion.sampling import Prediction, ddim_step, denoise, randn
from fun.diffusion.schedule import NoiseSchedule


def ddim_inversion(
    schedule: NoiseSchedule,
    predict: Callable[[Tensor, float], Prediction],
    x_0: Tensor,
    timesteps: Sequence[int],
    generators: Sequence[torch.Generator],
    threshold: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The noise (N, C, H, W) at the largest of the timesteps, from which DDIM draws the pictures x_0 again, about: DDIM inversion (Dhariwal and Nichol
    2021, https://arxiv.org/abs/2105.05233, appendix F).

    Args:
        predict: (x_t, t) -> Prediction, asked at the timestep that a step begins at: asked at the one where it ends, digits come back
            worse.
        timesteps: of the walk. The lowest one is reached by the forward process with the generators' noise, because in a clean picture
            there is none that could grow. It is not to be too low: a network that predicts the picture, where there is hardly any
            noise, takes its own small errors for that noise, and the walk ends far from noise.
        threshold: as in `denoise`.
    """
    upwards = sorted(timesteps)
    x_t = schedule.q_sample(x_0, upwards[0], randn(x_0.shape[1:], generators, x_0.device))
    pairs = list(zip(upwards, upwards[1:], strict=False))
    for state in denoise(schedule, predict, x_t, pairs, ddim_step, generators, threshold):
        x_t = state.x_t
    return x_t


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a (N, C, H, W), at share 0, to b, at 1, each along the arc between the two: what lies on the way has the length of
    noise, which on the straight line would be too short."""
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle = cosine.acos().clamp(min=1e-6).view(-1, *[1] * (a.ndim - 1))
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / angle.sin()
