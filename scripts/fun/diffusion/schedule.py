"""The forward process of a diffusion model: how much signal and how much noise x_t contains at each timestep.

Notation of Ho et al. 2020 (https://arxiv.org/abs/2006.11239): x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise.
Timesteps run from 0 (almost clean) to T - 1; t = -1 is the clean image itself, where abar = 1.
"""

import math

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")  # see NoiseSchedule.target


class NoiseSchedule:
    """The noise levels of T timesteps, computed from their betas.

    Every `t` below is an int, or an int64 tensor (N,) with one timestep per image; images are (N, C, H, W).

    Args:
        betas: (T,), each in (0, 1); kept in float64, because the cumulative product loses digits in float32.
    """

    def __init__(self, betas: Tensor):
        betas = torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError("betas must be a vector of numbers in (0, 1)")
        self.betas = betas
        self.num_train_timesteps = len(betas)
        # The clean image comes last, so that it is at index -1.
        self._alpha_bar = torch.cat([torch.cumprod(1 - betas, 0), torch.ones(1, dtype=torch.float64)])

    @classmethod
    def linear(cls, num_train_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> "NoiseSchedule":
        """Evenly spaced betas (Ho et al. 2020)."""
        return cls(torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64))

    @classmethod
    def cosine(cls, num_train_timesteps: int, max_beta: float = 0.999) -> "NoiseSchedule":
        """abar follows a squared cosine (Nichol and Dhariwal 2021, equation 17); diffusers' `squaredcos_cap_v2`."""
        edges = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
        alpha_bar = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta))

    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """The share of the signal's power left at t, float64: a scalar for an int, (N,) for a tensor; 1 at t = -1."""
        return self._alpha_bar[t.cpu() if torch.is_tensor(t) else t]

    def log_snr(self, t: int) -> Tensor:
        """The logarithm of the signal's power over the noise's at t, a float64 scalar; infinite at t = -1."""
        abar = self.alpha_bar(t)
        return abar.log() - (1 - abar).log()

    def _signal_and_noise(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t), shaped to multiply `like`."""
        abar = self.alpha_bar(t)
        return _expand(abar.sqrt(), like), _expand((1 - abar).sqrt(), like)

    def q_sample(self, x_0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """A sample of q(x_t | x_0), made with the standard normal `noise`."""
        signal, sigma = self._signal_and_noise(t, x_0)
        return signal * x_0 + sigma * noise

    def predict_x_start(self, x_t: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """The clean image, given x_t and the noise in it: q_sample solved for x_0."""
        signal, sigma = self._signal_and_noise(t, x_t)
        return (x_t - sigma * noise) / signal

    def noise_from_x_start(self, x_t: Tensor, t: int | Tensor, x_0: Tensor) -> Tensor:
        """The noise in x_t, given x_0: q_sample solved for the noise. Not for t = -1, where there is no noise."""
        signal, sigma = self._signal_and_noise(t, x_t)
        return (x_t - signal * x_0) / sigma

    def velocity(self, x_0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """v = sqrt(abar_t) noise - sqrt(1 - abar_t) x_0 (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512)."""
        signal, sigma = self._signal_and_noise(t, x_0)
        return signal * noise - sigma * x_0

    def noise_from_velocity(self, x_t: Tensor, t: int | Tensor, v: Tensor) -> Tensor:
        """The noise, given a predicted v: sqrt(abar_t) v + sqrt(1 - abar_t) x_t."""
        signal, sigma = self._signal_and_noise(t, x_t)
        return signal * v + sigma * x_t

    def target(self, prediction_type: str, x_0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """What a network of this prediction type is to say: "epsilon" (the noise), "v_prediction" (the velocity) or "sample" (the
        clean image); diffusers' words."""
        if prediction_type == "v_prediction":
            return self.velocity(x_0, t, noise)
        return {"epsilon": noise, "sample": x_0}[prediction_type]

    def noise_from(self, prediction_type: str, x_t: Tensor, t: int | Tensor, prediction: Tensor) -> Tensor:
        """The noise in x_t, given what a network of this prediction type says. Not for t = -1."""
        if prediction_type == "v_prediction":
            return self.noise_from_velocity(x_t, t, prediction)
        return self.noise_from_x_start(x_t, t, prediction) if prediction_type == "sample" else prediction

    def posterior_mean(self, x_t: Tensor, t: int | Tensor, images: Tensor, possible: Tensor | None = None) -> Tensor:
        """E[x_0 | x_t] if x_0 is one of `images` (M, C, H, W), all equally likely: (N, C, H, W), float32. No network can do
        better on these images.

        possible: (N, M) bool, which of the images each x_t can come from; by default all.
        """
        signal, sigma = (one.view(-1, 1).float() for one in self._signal_and_noise(t, x_t))
        points, flat = images.flatten(1), x_t.flatten(1)
        # log q(x_t | image), but for what is the same for all images.
        squares = torch.linalg.vector_norm(points, dim=1).square()
        logits = ((points @ (signal * flat).T).T - signal**2 / 2 * squares) / sigma**2
        if possible is not None:
            logits = logits.masked_fill(~possible, -torch.inf)
        return (logits.softmax(1) @ points).view_as(x_t)

    def stride(self, t: int | Tensor, t_prev: int | Tensor) -> tuple[Tensor, Tensor]:
        """(beta, betatilde) of one step from t down to t_prev, float64. beta equals the training beta only if t_prev is
        t - 1. betatilde is the variance of q(x_t_prev | x_t, x_0), beta its upper bound."""
        abar, abar_prev = self.alpha_bar(t), self.alpha_bar(t_prev)
        beta = 1 - abar / abar_prev
        return beta, beta * (1 - abar_prev) / (1 - abar)

    def posterior_coefficients(self, t: int | Tensor, t_prev: int | Tensor) -> tuple[Tensor, Tensor]:
        """The coefficients of x_0 and of x_t in the mean of q(x_t_prev | x_t, x_0), float64."""
        abar, abar_prev = self.alpha_bar(t), self.alpha_bar(t_prev)
        beta, _ = self.stride(t, t_prev)
        return abar_prev.sqrt() * beta / (1 - abar), (1 - beta).sqrt() * (1 - abar_prev) / (1 - abar)

    def q_posterior(self, x_0: Tensor, x_t: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """Mean (N, C, H, W) and variance (scalar, float64) of q(x_t_prev | x_t, x_0), for any t_prev < t."""
        of_x_0, of_x_t = self.posterior_coefficients(t, t_prev)
        return of_x_0 * x_0 + of_x_t * x_t, self.stride(t, t_prev)[1]


def _expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """A scalar stays one (it never changes a tensor's dtype); (N,) becomes (N, 1, 1, 1) with like's dtype and device."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


SCHEDULES = {"linear": NoiseSchedule.linear, "cosine": NoiseSchedule.cosine}


def make_schedule(name: str, num_train_timesteps: int) -> NoiseSchedule:
    """The schedule called `name`, one of SCHEDULES, with T timesteps."""
    return SCHEDULES[name](num_train_timesteps)
