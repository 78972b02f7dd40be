"""Gaussian blur, and filters that split a picture into frequency bands.

Factorized Diffusion: https://arxiv.org/abs/2404.11615.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(x: Tensor, sigma: float, kernel_size: int | None = None) -> Tensor:
    """Blur (N, C, H, W); the picture is mirrored at its edges.

    sigma is in pixels. Without a kernel_size (odd), the kernel reaches 3 sigma to each side; it never reaches further
    than the picture.
    """
    reach = math.ceil(3 * sigma) if kernel_size is None else kernel_size // 2
    reach = min(reach, x.shape[-1] - 1, x.shape[-2] - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(x.device, x.dtype)
    channels = x.shape[1]
    x = F.pad(x, [reach] * 4, mode="reflect")
    x = F.conv2d(x, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(x, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def frequency_bands(sigmas: Sequence[float], kernel_size: int | None = None) -> list[Callable[[Tensor], Tensor]]:
    """Linear filters that sum to the identity, from coarse to fine: one more than there are sigmas (in pixels,
    descending). With one sigma they are the low-pass and the high-pass filter of a hybrid image."""
    blurs = [partial(gaussian_blur, sigma=sigma, kernel_size=kernel_size) for sigma in sigmas]
    return [_difference(upper, lower) for upper, lower in zip([*blurs, None], [None, *blurs], strict=True)]


def _difference(upper, lower):
    """upper(x) - lower(x), where None stands for x as `upper` and for 0 as `lower`."""

    def band(x: Tensor) -> Tensor:
        kept = x if upper is None else upper(x)
        return kept if lower is None else kept - lower(x)

    return band
