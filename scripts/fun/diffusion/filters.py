"""Filters, and how they split a picture into parts: frequency bands, grey and colour, along a motion and the rest.

Factorized Diffusion: https://arxiv.org/abs/2404.11615.
"""

import math
from collections.abc import Callable, Sequence

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


def motion_blur(x: Tensor, length: float, angle: float) -> Tensor:
    """Blur (N, C, H, W) along a line, as if the picture had moved while it was taken; it is mirrored at its edges.

    length is in pixels, angle in degrees, anticlockwise: at 0 the picture moves from left to right, at 45 up to the right.
    """
    reach = min(math.ceil(length / 2), x.shape[-1] - 1, x.shape[-2] - 1)
    steps = torch.linspace(-length / 2, length / 2, 16 * reach + 1, dtype=torch.float64)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    # A point of the line is shared by the four pixels around it: (pixels, points) down and across.
    down = (1 - (offsets[:, None] + steps * math.sin(math.radians(angle))).abs()).clamp(min=0)
    across = (1 - (offsets[:, None] - steps * math.cos(math.radians(angle))).abs()).clamp(min=0)
    kernel = down @ across.T
    kernel = (kernel / kernel.sum()).to(x.device, x.dtype)
    x_padded = F.pad(x, [reach] * 4, mode="reflect")
    return F.conv2d(x_padded, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


def grey(x: Tensor) -> Tensor:
    """The mean over the colours of (N, C, H, W), as a grey picture."""
    return x.mean(1, keepdim=True).expand_as(x)


def parts(filters: Sequence[Callable[[Tensor], Tensor]]) -> list[Callable[[Tensor], Tensor]]:
    """Linear parts of a picture that sum to it, one more than there are filters: what the first filter keeps, what the second
    keeps besides, and so on; last, what none of them keeps. With Gaussian blurs from wide to narrow these are frequency
    bands, from coarse to fine."""
    return [_difference(upper, lower) for upper, lower in zip([*filters, None], [None, *filters], strict=True)]


def _difference(upper, lower):
    """upper(x) - lower(x), where None stands for x as `upper` and for 0 as `lower`."""

    def part(x: Tensor) -> Tensor:
        kept = x if upper is None else upper(x)
        return kept if lower is None else kept - lower(x)

    return part
