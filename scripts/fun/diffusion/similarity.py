"""How similar pictures are to an original. Pictures are (N, C, H, W), clipped to [-1, 1]; originals (1 or N, C, H, W)."""

import torch
from torch import Tensor

from fun.diffusion.filters import gaussian_blur


def psnr(x: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (N,)."""
    x, original = _pairs(x, original)
    return -10 * (x - original).square().flatten(1).mean(1).log10()


def ssim(x: Tensor, original: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), (N,), at most 1."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes seconds to import

    return structural_similarity_index_measure(*_pairs(x, original), data_range=1.0, reduction="none").view(-1)


def best_blur(x: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture under the Gaussian blur that brings it closest to the original by PSNR, and that blur's sigma (N,) in
    pixels. It is the best that blurring can do: choosing it requires the original."""
    sigmas = original.shape[-1] / 8 * torch.arange(1, 33) / 32
    blurred = torch.stack([x, *(gaussian_blur(x, sigma.item()) for sigma in sigmas)])  # (S, N, 3, H, W)
    best = torch.stack([psnr(candidate, original) for candidate in blurred]).argmax(0).cpu()
    return blurred[best, torch.arange(len(x))], torch.cat([torch.zeros(1), sigmas])[best]


def _pairs(x, original):
    """Both scaled to [0, 1], with as many originals as pictures."""
    return (x.clamp(-1, 1) + 1) / 2, ((original + 1) / 2).expand_as(x)
