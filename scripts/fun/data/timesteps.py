"""Which timesteps a walk from noise to image visits. No torch: the rules refuse a walk that cannot be meant."""

from collections.abc import Sequence


def spaced_timesteps(spacing: str, num_train_timesteps: int, num_steps: int) -> list[int]:
    """Descending timesteps in [0, T - 1].

    "stride" takes every (T // num_steps)-th timestep, from the largest multiple below T down to 0: with 33 steps and
    T = 1000 the 990, 960, ..., 0 of the CS180 assignment (34 values). The others are diffusers': "leading" (957, ...,
    33, 0 for 30 steps), "trailing" (999, 966, ...), "linspace" (999, ..., 0).
    """
    T, n = num_train_timesteps, num_steps
    if not 1 <= n <= T:
        raise ValueError(f"num_steps must be between 1 and {T}, not {n}")
    if spacing == "stride":
        return list(range(0, T, T // n))[::-1]
    if spacing == "leading":
        return [i * (T // n) for i in range(n)][::-1]
    if spacing == "trailing":
        return [round(T - i * T / n) - 1 for i in range(n)]
    if spacing == "linspace":
        return [0] if n == 1 else [round(i * (T - 1) / (n - 1)) for i in range(n)][::-1]
    raise ValueError(f"unknown spacing {spacing!r}; known: stride, leading, trailing, linspace")


def timestep_pairs(timesteps: Sequence[int], start: int | None = None) -> list[tuple[int, int]]:
    """(t, t_prev) of each step; the last step ends at -1, the clean image. With `start` the first step begins there."""
    if start is not None:
        timesteps = [start, *(t for t in timesteps if t < start)]
    return list(zip(timesteps, [*timesteps[1:], -1], strict=True))


def steps_made(sampling: dict, start: int | None = None, num_train_timesteps: int = 1000) -> int:
    """How many steps a walk makes. sampling: has spacing, and steps, the number asked for; start: as for `timestep_pairs`."""
    return len(timestep_pairs(spaced_timesteps(sampling["spacing"], num_train_timesteps, sampling["steps"]), start))


def check_walk(spacing: str, num_train_timesteps: int, num_steps: int) -> None:
    """Raise ValueError for a walk that cannot be meant: one that begins below 0.9 T, where pure noise does not belong, or that
    makes many more steps than it was asked for."""
    T, n = num_train_timesteps, num_steps
    timesteps = spaced_timesteps(spacing, T, n)
    if timesteps[0] < 0.9 * (T - 1):
        raise ValueError(
            f"spacing {spacing} with {n} steps begins at t = {timesteps[0]} of {T - 1}, not at noise: use trailing"
        )
    if len(timesteps) > 1.2 * n:
        raise ValueError(f"spacing {spacing} with {n} steps makes {len(timesteps)}: use trailing, or say so many")
