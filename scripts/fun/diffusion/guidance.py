"""What the network predicts in one step, from one batch: classifier-free guidance, views and parts.

Classifier-free guidance: https://arxiv.org/abs/2207.12598; autoguidance: https://arxiv.org/abs/2406.02507; Visual Anagrams: https://arxiv.org/abs/2311.17919;
Factorized Diffusion (hybrids): https://arxiv.org/abs/2404.11615.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fun.diffusion.sampling import Prediction
from fun.diffusion.schedule import NoiseSchedule
from fun.diffusion.views import View, identity


@dataclass(frozen=True)
class Branch:
    """One reading of the picture: what it should show, under which view, and which part of the prediction it determines.

    A text prompt or a digit is one branch. An anagram of n views is n branches whose part is 1 / n. A hybrid is two or
    more branches with the same view, whose parts are frequency bands, such as a low-pass and a high-pass filter.
    """

    cond: Tensor  # (N, ...): prompt_embeds (N, L, D) or class labels (N,)
    view: View = identity
    part: Callable[[Tensor], Tensor] | None = None  # linear, (N, C, H, W) -> the same shape; None: all of it


def is_guided(own: NoiseSchedule, path: NoiseSchedule, t: float, interval: Sequence[float]) -> bool:
    """Whether a network with the schedule `own`, at the timestep t of another path, is guided: only from interval[0] T to
    interval[1] T of its own timesteps (Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724). In the noisiest steps
    guidance costs variety (docs/measurements.md)."""
    T, (low, high) = own.num_train_timesteps, interval
    return low * T <= (t if own is path else own.along(path, t)[0]) <= high * T


def predict(
    network: Callable[[Tensor, float, Tensor], Prediction],
    x_t: Tensor,
    t: float,
    branches: Sequence[Branch],
    guidance_scale: float | Tensor = 1.0,
    unconditional: Tensor | None = None,
    companion: Tensor | None = None,
    max_batch: int | None = None,
    guide: Callable[[Tensor, float, Tensor], Prediction] | None = None,
) -> Prediction:
    """What all branches make of x_t together. They go through the network as one batch (and through `guide` as another).

    Each branch sees view(x_t). Its prediction is guided, u + scale (c - u), then the inverse view is applied, then its
    part; the results of the branches are summed. All of this is done to the estimate of x_0 and to the noise alike.

    Args:
        network: (x, t, cond) -> Prediction.
        guidance_scale: a number, or (N,), one per sample; if it is the number 1, the unconditional half is not computed.
        unconditional: (N, ...) like a branch's cond: the embedding of the empty or a negative prompt, or the "no class" label.
        companion: (N, C, H, W), what the network sees in addition to x_t, under the same view (stage II's enlarged picture).
        max_batch: the largest number of samples per call; a larger batch is split.
        guide: the network that is asked for the unconditional half, if it is not `network` itself: a weaker one of its kind,
            such as an earlier checkpoint, whose errors guidance leads away from (autoguidance, Karras et al. 2024).

    Returns:
        the Prediction; its v comes from the conditional half, as in guided-diffusion; of several branches it is the plain mean,
            neither filtered nor clamped, as in the code of Visual Anagrams.
    """
    guided = unconditional is not None and (torch.is_tensor(guidance_scale) or guidance_scale != 1)
    x = x_t if companion is None else torch.cat([x_t, companion], 1)

    asked: list[tuple[Callable, View, Tensor]] = []
    unconditional_at: dict[View, int] = {}
    conditional_at: list[int] = []
    for branch in branches:
        if guided and branch.view not in unconditional_at:  # does not depend on the prompt: once for each view
            unconditional_at[branch.view] = len(asked)
            asked.append((guide or network, branch.view, unconditional))
        conditional_at.append(len(asked))
        asked.append((network, branch.view, branch.cond))
    answers: list[Prediction | None] = [None] * len(asked)
    for one in dict.fromkeys(which for which, _, _ in asked):
        at = [i for i, (which, _, _) in enumerate(asked) if which is one]
        views, conds = torch.cat([asked[i][1].view(x) for i in at]), torch.cat([asked[i][2] for i in at])
        for i, answer in zip(at, _split(_call(one, views, t, conds, max_batch), len(x)), strict=True):
            answers[i] = answer

    scale = guidance_scale.to(x_t).view(-1, 1, 1, 1) if torch.is_tensor(guidance_scale) else guidance_scale

    def combined(what):
        total = 0
        for branch, c in zip(branches, conditional_at, strict=True):
            found = getattr(answers[c], what)
            if guided:
                u = getattr(answers[unconditional_at[branch.view]], what)
                found = u + scale * (found - u)
            found = branch.view.inverse(found)
            total = total + (found if branch.part is None else branch.part(found))
        return total

    v = None
    if answers[conditional_at[0]].v is not None:
        vs = [branch.view.inverse_variance(answers[c].v) for branch, c in zip(branches, conditional_at, strict=True)]
        v = sum(vs) / len(vs)
    return Prediction(combined("x_0"), combined("noise"), v)


def _call(network: Callable, x: Tensor, t: float, cond: Tensor, max_batch: int | None) -> Prediction:
    """network(x, t, cond), at most max_batch samples at a time."""
    if max_batch is None or len(x) <= max_batch:
        return Prediction(*network(x, t, cond))
    chunks = zip(x.split(max_batch), cond.split(max_batch), strict=True)
    answers = zip(*(network(x_chunk, t, cond_chunk) for x_chunk, cond_chunk in chunks), strict=True)
    return Prediction(*(None if parts[0] is None else torch.cat(parts) for parts in answers))


def _split(answer: Prediction, n: int) -> list[Prediction]:
    """The answer for a batch, as one for each n samples."""
    parts = [[None] * (len(answer.x_0) // n) if part is None else part.split(n) for part in answer]
    return [Prediction(*one) for one in zip(*parts, strict=True)]
