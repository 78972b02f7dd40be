"""The forward process of a diffusion model: how much signal and how much noise x_t contains at each timestep.

x_t = signal_t x_0 + sigma_t noise. All formulas here follow from these two numbers (Kingma et al. 2021, "Variational
Diffusion Models", https://arxiv.org/abs/2107.00630), so that diffusion and flow matching are the same thing on two schedules:

    NoiseSchedule  signal_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t): Ho et al. 2020, https://arxiv.org/abs/2006.11239
    Flow           signal = 1 - s, sigma = s: flow matching, Lipman et al. 2022, https://arxiv.org/abs/2210.02747
    OneLevel       the same noise always: the denoiser of a single step

Timesteps run from 0 (almost clean) to T - 1; t = -1 is the clean image itself, where there is no noise.
"""

import math

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample", "flow")  # see NoiseSchedule.target


def look_up(table: dict, name: str, what: str):
    """What is called `name` in the table. Raises ValueError, with the names that there are, if nothing is."""
    if name not in table:
        raise unknown(name, table, what)
    return table[name]


def unknown(name: str, names, what: str) -> ValueError:
    """The error for a name that is none of these."""
    return ValueError(f"unknown {what} {name!r}; known: {', '.join(names)}")


class NoiseSchedule:
    """The noise levels of T timesteps, computed from their betas.

    Every `t` below is a number, or a tensor (N,) with one timestep per image, from -1 to T - 1 (else ValueError); images are
    (N, C, H, W).

    Args:
        betas: (T,), each in (0, 1); kept in float64, because the cumulative product loses digits in float32.
    """

    is_discrete = True  # whether there is nothing between two timesteps

    def __init__(self, betas: Tensor):
        betas = torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError("betas must be a vector of numbers in (0, 1)")
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

    # --- what a kind of schedule has of its own ---

    def levels(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """signal and sigma at t, float64: scalars for a number, (N,) for a tensor; 1 and 0 at t = -1."""
        abar = self._alpha_bar[self._checked(t)]
        return abar.sqrt(), (1 - abar).sqrt()

    def _checked(self, t: float | Tensor) -> Tensor:
        """t on the CPU. An index would take other numbers silently: T for the clean image, -20 for nearly pure noise."""
        t = torch.as_tensor(t, device="cpu", dtype=None if self.is_discrete else torch.float64)
        if self.is_discrete and t.is_floating_point():
            raise ValueError(f"t must be a whole number: this schedule has {self.num_train_timesteps} timesteps")
        if t.numel() and not (t.min() >= -1 and t.max() < self.num_train_timesteps):
            raise ValueError(f"t must be from -1 to {self.num_train_timesteps - 1}, not {t.tolist()}")
        return t

    def timestep_of(self, signal: Tensor, sigma: Tensor) -> int:
        """The timestep whose signal and sigma have a ratio nearest to this one."""
        own = torch.atan2(*reversed(self.levels(torch.arange(self.num_train_timesteps))))
        return int((own - torch.atan2(sigma, signal)).abs().argmin())

    def timesteps_at(self, shares: Tensor) -> Tensor:
        """The timesteps (N,) at these shares in [0, 1) of the way from the clean image to noise."""
        return (shares * self.num_train_timesteps).long().clamp(max=self.num_train_timesteps - 1)

    def relative_time(self, t: float | Tensor) -> Tensor:
        """What a network is told about t: t / T, float64."""
        return torch.as_tensor(t).to(torch.float64) / self.num_train_timesteps

    # --- what follows from the levels ---

    def alpha_bar(self, t: float | Tensor) -> Tensor:
        """abar_t, the square of the signal, float64: a scalar for a number, (N,) for a tensor."""
        return self.levels(t)[0] ** 2

    def log_snr(self, t: float) -> Tensor:
        """The logarithm of the signal's power over the noise's at t, a float64 scalar; infinite at t = -1."""
        signal, sigma = self.levels(t)
        return 2 * (signal.log() - sigma.log())

    def along(self, path: "NoiseSchedule", t: float) -> tuple[float, Tensor]:
        """The timestep of this schedule that has as much noise for its signal as t has on another one, the `path`, and the factor
        by which x_t there is multiplied to be an x_t here. So a network trained on one schedule can be asked on any other."""
        signal, sigma = path.levels(t)
        own = self.timestep_of(signal, sigma)
        return own, torch.hypot(*self.levels(own)) / torch.hypot(signal, sigma)

    def _levels(self, t: float | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """signal and sigma, shaped to multiply `like`."""
        return tuple(_expand(level, like) for level in self.levels(t))

    def q_sample(self, x_0: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A sample of q(x_t | x_0), made with the standard normal `noise`."""
        signal, sigma = self._levels(t, x_0)
        return signal * x_0 + sigma * noise

    def predict_x_start(self, x_t: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """The clean image, given x_t and the noise in it: q_sample solved for x_0. Not where there is no signal."""
        signal, sigma = self._levels(t, x_t)
        return (x_t - sigma * noise) / signal

    def noise_from_x_start(self, x_t: Tensor, t: float | Tensor, x_0: Tensor) -> Tensor:
        """The noise in x_t, given x_0: q_sample solved for the noise. Not for t = -1, where there is no noise."""
        signal, sigma = self._levels(t, x_t)
        return (x_t - signal * x_0) / sigma

    def check_prediction_type(self, prediction_type: str) -> None:
        """Raise ValueError if no network on this schedule can predict this."""
        if prediction_type not in PREDICTION_TYPES:
            raise unknown(prediction_type, PREDICTION_TYPES, "prediction_type")
        if prediction_type == "epsilon" and self.levels(self.num_train_timesteps - 1)[0] == 0:
            raise ValueError(
                "epsilon says nothing of the image where all is noise, as at a flow's start: take sample or flow"
            )

    def target(self, prediction_type: str, x_0: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """What a network of this prediction type is to predict: in diffusers' words "epsilon" (the noise), "sample" (the clean
        image) or "v_prediction" (signal_t noise - sigma_t x_0, Salimans and Ho 2022, https://arxiv.org/abs/2202.00512), or
        "flow" (x_0 - noise, the way to the clean image; diffusers' flow_prediction has the opposite sign)."""
        signal, sigma = self._levels(t, x_0)
        targets = {
            "epsilon": lambda: noise,
            "sample": lambda: x_0,
            "v_prediction": lambda: signal * noise - sigma * x_0,
            "flow": lambda: x_0 - noise,
        }
        return look_up(targets, prediction_type, "prediction_type")()

    def x_start_and_noise(
        self, prediction_type: str, x_t: Tensor, t: float | Tensor, prediction: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(x_0, noise) in x_t, given what a network of this prediction type predicts. Only "epsilon" divides by the signal, which
        a flow does not have at its start; "sample" divides by the noise, and is not for t = -1."""
        if prediction_type == "epsilon":
            return self.predict_x_start(x_t, t, prediction), prediction
        if prediction_type == "sample":
            return prediction, self.noise_from_x_start(x_t, t, prediction)
        signal, sigma = self._levels(t, x_t)
        if prediction_type == "v_prediction":
            power = signal**2 + sigma**2  # 1, unless the schedule is a flow
            return (signal * x_t - sigma * prediction) / power, (sigma * x_t + signal * prediction) / power
        if prediction_type == "flow":
            total = signal + sigma  # 1 if the schedule is a flow
            return (x_t + sigma * prediction) / total, (x_t - signal * prediction) / total
        raise unknown(prediction_type, PREDICTION_TYPES, "prediction_type")

    def x_start_between(self, x_t: Tensor, t: float | Tensor, x_next: Tensor, t_next: float | Tensor) -> Tensor:
        """The clean image from which a DDIM step leads from x_t to x_next: both with the same image and the same noise."""
        (signal, sigma), (signal_next, sigma_next) = self._levels(t, x_t), self._levels(t_next, x_t)
        return (sigma * x_next - sigma_next * x_t) / (sigma * signal_next - sigma_next * signal)

    def posterior_mean(self, x_t: Tensor, t: float | Tensor, images: Tensor, possible: Tensor | None = None) -> Tensor:
        """E[x_0 | x_t] if x_0 is one of `images` (M, C, H, W), all equally likely: (N, C, H, W), float32. No network can do
        better on these images.

        possible: (N, M) bool, which of the images each x_t can come from; by default all.
        """
        signal, sigma = (level.to(x_t).view(-1, 1) for level in self._levels(t, x_t))
        points, flat = images.flatten(1), x_t.flatten(1)
        # log q(x_t | image), but for what is the same for all images.
        squares = torch.linalg.vector_norm(points, dim=1).square()
        logits = ((points @ (signal * flat).T).T - signal**2 / 2 * squares) / sigma**2
        if possible is not None:
            logits = logits.masked_fill(~possible, -torch.inf)
        return (logits.softmax(1) @ points).view_as(x_t)

    def stride(self, t: float | Tensor, t_prev: float | Tensor) -> tuple[Tensor, Tensor]:
        """(beta, betatilde) of one step from t down to t_prev, float64: the variance of q(x_t | x_t_prev), which equals the
        training beta only if t_prev is t - 1, and of q(x_t_prev | x_t, x_0). A sampler's variance lies between the two."""
        (signal, sigma), (signal_prev, sigma_prev) = self.levels(t), self.levels(t_prev)
        beta = sigma**2 - (signal / signal_prev * sigma_prev) ** 2
        return beta, beta * (sigma_prev / sigma) ** 2

    def posterior_coefficients(self, t: float | Tensor, t_prev: float | Tensor) -> tuple[Tensor, Tensor]:
        """The coefficients of x_0 and of x_t in the mean of q(x_t_prev | x_t, x_0), float64."""
        (signal, sigma), (signal_prev, sigma_prev) = self.levels(t), self.levels(t_prev)
        beta, _ = self.stride(t, t_prev)
        return signal_prev * beta / sigma**2, signal / signal_prev * (sigma_prev / sigma) ** 2

    def q_posterior(self, x_0: Tensor, x_t: Tensor, t: float | Tensor, t_prev: float | Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, C, H, W) and variance (float64, shaped like t) of q(x_t_prev | x_t, x_0), for any t_prev < t."""
        of_x_0, of_x_t = (_expand(one, x_t) for one in self.posterior_coefficients(t, t_prev))
        return of_x_0 * x_0 + of_x_t * x_t, self.stride(t, t_prev)[1]


class Flow(NoiseSchedule):
    """The straight path of flow matching: x_s = (1 - s) x_0 + s noise, for any real s in [0, 1].

    Timestep t is s = (t + 1) / T, and need not be a whole number: t = -1 is the clean image as everywhere, t = T - 1 pure
    noise. The time that a network is told runs the other way, as in the CS180 course: 0 is noise, 1 the clean image.
    """

    is_discrete = False

    def __init__(self, num_train_timesteps: int):
        self.num_train_timesteps = num_train_timesteps

    def levels(self, t):
        s = (self._checked(t) + 1) / self.num_train_timesteps
        return 1 - s, s

    def timestep_of(self, signal, sigma):
        return float(sigma / (signal + sigma) * self.num_train_timesteps - 1)

    def timesteps_at(self, shares):
        return shares.double() * self.num_train_timesteps - 1

    def relative_time(self, t):
        """What a network is told about t: 1 - (t + 1) / T, float64; 0 is pure noise, 1 the clean image."""
        return 1 - (torch.as_tensor(t).to(torch.float64) + 1) / self.num_train_timesteps


class OneLevel(NoiseSchedule):
    """A single timestep, t = 0, that leaves this much signal and adds this much noise."""

    num_train_timesteps = 1

    def __init__(self, signal: float, sigma: float):
        self._levels_of = {0: (signal, sigma), -1: (1.0, 0.0)}

    def levels(self, t):
        t = self._checked(t)
        rows = [self._levels_of[int(one)] for one in t.view(-1)]
        table = torch.tensor(rows, dtype=torch.float64).view(*t.shape, 2)
        return table[..., 0], table[..., 1]


def _expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """A scalar stays one (it never changes a tensor's dtype); (N,) becomes (N, 1, 1, 1) with like's dtype and device."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


SCHEDULES = {"linear": NoiseSchedule.linear, "cosine": NoiseSchedule.cosine, "flow": Flow}


def make_schedule(name: str, *levels: float, **how: float) -> NoiseSchedule:
    """The schedule called `name`: one of SCHEDULES, with T timesteps, or "one_level", with a signal and a sigma."""
    return look_up(SCHEDULES | {"one_level": OneLevel}, name, "schedule")(*levels, **how)


def path_of(own: NoiseSchedule, path: str | None) -> NoiseSchedule:
    """The schedule to walk along from noise to image: the network's own, or the one called `path`, with as many timesteps."""
    return own if path is None else make_schedule(path, own.num_train_timesteps)
