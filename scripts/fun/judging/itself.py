"""The generator as a judge: the condition under which a network removes noise best is what a picture shows.

Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier", https://arxiv.org/abs/2303.16203.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fun.data.prompts import normalise
from fun.diffusion.cascade import Stage
from fun.diffusion.sampling import Prediction, randn
from fun.diffusion.schedule import NoiseSchedule
from fun.judging.clip_readings import rank_seeds, rates_of
from fun.judging.readings import readings_of

# Of T, where timesteps are drawn: below, every condition removes noise alike; above, nothing can be seen.
SHARES = (0.5, 0.9)
DRAWS, SEED = 10, 0


@torch.no_grad()
def denoising_errors(
    schedule: NoiseSchedule,
    network: Callable[[Tensor, int, Tensor], Prediction],
    x_0: Tensor,
    conds: Sequence[Tensor],
    draws: int,
    seed: int,
    max_batch: int | None = None,
) -> Tensor:
    """How far off the noise is that the network finds in the pictures under each condition: (N, len(conds)), mean squares.

    Args:
        network: (x_t, t, cond) -> Prediction.
        x_0: (N, C, H, W), what a sampler would finish.
        conds: each (N, ...), as the network takes them.
        draws: pairs of timestep and noise, the same for all conditions and pictures: what differs between two errors of a picture
            is the condition alone, and no picture's depend on the others. The timesteps are spread evenly over SHARES of T.
        max_batch: the most pictures in one call of the network.
    """
    if max_batch is not None and len(x_0) > max_batch:
        chunks = zip(x_0.split(max_batch), *(cond.split(max_batch) for cond in conds), strict=True)
        return torch.cat([denoising_errors(schedule, network, chunk, told, draws, seed) for chunk, *told in chunks])
    T, generator = schedule.num_train_timesteps, torch.Generator().manual_seed(seed)
    low, high = (share * T for share in SHARES)
    errors = torch.zeros(len(x_0), len(conds))
    for draw in range(draws):
        t = int(low + (draw + 0.5) / draws * (high - low))
        noise = randn(x_0.shape[1:], [generator], x_0.device)
        x_t = schedule.q_sample(x_0, t, noise)
        for i, cond in enumerate(conds):
            found = network(x_t, t, cond)[1]
            errors[:, i] += (found - noise).square().flatten(1).mean(1).cpu() / draws
    return errors


def judge_by_itself(
    stage: Stage, embeds: dict[str, Tensor], experiment: dict, x_0: Tensor, samples: list[dict], max_batch: int | None
) -> dict:
    """Read pictures x_0 (N, 3, H, W), of any size, with the network of stage I that drew them: which of the experiment's prompts lets it
    remove noise best. It ranks these prompts only, and is blind to what it cannot draw.

    Args:
        embeds: {prompt: (L, D)}.
        experiment, samples: as for `readings_of`.
        max_batch: the most pictures in one call of the network.

    Returns: as `judge_by_clip` does; without prompts to choose from, nothing is right or wrong.
    """
    small = F.interpolate(x_0, (stage.size, stage.size), mode="area")
    readings = readings_of(experiment, small, samples, stage.size)
    prompts = sorted({prompt for reading in readings for prompt in reading.prompts})
    if len(prompts) == 1:
        nobody = [None] * len(samples)
        return {"success": nobody, "reads": [""] * len(samples), "ranks": nobody, "metrics": []}
    told = [embeds[normalise(prompt)].to(stage.device).expand(len(small), -1, -1) for prompt in prompts]

    def errors_of(pictures):
        pictures = pictures.clamp(-1, 1).to(stage.device)
        return denoising_errors(stage.schedule, stage.network, pictures, told, DRAWS, SEED, max_batch)

    errors = torch.stack([errors_of(reading.pictures) for reading in readings], dim=1)  # (N, R, P)
    own = torch.tensor([[prompts.index(prompt) for prompt in reading.prompts] for reading in readings]).T[..., None]
    best = errors.argmin(2)  # (N, R)
    right = best == own[..., 0]
    others = errors.scatter(2, own, torch.inf).min(2).values
    margin = (others - errors.gather(2, own)[..., 0]).min(1).values
    seen = [[prompts[place] for place in places] for places in best.T.tolist()]
    judged = {
        "success": right.all(1).tolist(),
        "reads": [
            ", ".join(
                f"{reading.name}: “{reads[i]}”".removeprefix(": ")
                for reading, reads in zip(readings, seen, strict=True)
            )
            for i in range(len(samples))
        ],
        "ranks": rank_seeds(samples, margin),
        "metrics": rates_of(readings, right),
    }
    if len(readings) == 1:
        return judged
    pairs = zip(seen, right.T.tolist(), strict=True)
    return judged | {"readings": [{"reads": reads, "right": one} for reads, one in pairs]}
