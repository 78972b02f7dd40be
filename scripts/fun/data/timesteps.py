"""Which timesteps a walk from noise to image visits. No torch: the rules refuse a walk that cannot be meant."""

from collections.abc import Sequence

IF_TIMESTEPS = 1000  # of DeepFloyd IF, and of all that has its format


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


def timestep_of(time: float) -> int:
    """The timestep, of IF_TIMESTEPS, that is written as a number of 1 or more, or, as a flow's time between 0 (noise) and 1 (the
    clean image): 0.02 is 979."""
    return max(0, round(IF_TIMESTEPS * (1 - time)) - 1) if 0 < time < 1 else int(time)


def time_text(t: int, path: str | None) -> str:
    """A timestep in words, as it is counted on the path: "t = 690", on a flow "t = 0.309"; "finished" at the end."""
    if t < 0:
        return "finished"
    return f"t = {1 - (t + 1) / IF_TIMESTEPS:.3g}" if path == "flow" else f"t = {t}"


def timestep_pairs(timesteps: Sequence[int], start: int | None = None) -> list[tuple[int, int]]:
    """(t, t_prev) of each step; the last step ends at -1, the clean image. With `start` the first step begins there."""
    if start is not None:
        timesteps = [start, *(t for t in timesteps if t < start)]
    return list(zip(timesteps, [*timesteps[1:], -1], strict=True))


def steps_made(sampling: dict, start: float | None = None) -> int:
    """How many steps a walk makes. sampling: has spacing, and steps, the number asked for; start: as for `timestep_of`."""
    timesteps = spaced_timesteps(sampling["spacing"], IF_TIMESTEPS, sampling["steps"])
    return len(timestep_pairs(timesteps, None if start is None else timestep_of(start)))


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
