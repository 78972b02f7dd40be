import pytest
import torch
from torchvision.transforms.functional import gaussian_blur as torchvision_blur

from fun.diffusion.filters import frequency_bands, gaussian_blur


@pytest.mark.parametrize("sigma, kernel_size", [(2.0, 33), (2.0, None), (0.75, None), (1.5, 7)])
def test_blur_is_torchvisions(sigma, kernel_size):
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    size = kernel_size or {2.0: 13, 0.75: 7}[sigma]
    assert (gaussian_blur(x, sigma, kernel_size) - torchvision_blur(x, size, sigma)).abs().max() < 1e-6


def test_a_kernel_never_reaches_beyond_the_picture():
    x = torch.full((1, 3, 8, 8), 0.5)
    assert torch.allclose(gaussian_blur(x, 9.0), x)


@pytest.mark.parametrize("sigmas", [[2.0], [1.0], [3.0, 1.0]])
def test_bands_sum_to_the_picture(sigmas):
    x = torch.randn(2, 3, 32, 32)
    bands = [band(x) for band in frequency_bands(sigmas)]
    assert len(bands) == len(sigmas) + 1
    assert (sum(bands) - x).abs().max() < 1e-5
    assert torch.equal(bands[0], gaussian_blur(x, sigmas[0]))
    constant = torch.ones(1, 3, 32, 32)
    assert (frequency_bands(sigmas)[0](constant) - 1).abs().max() < 1e-6
    assert all(band(constant).abs().max() < 1e-6 for band in frequency_bands(sigmas)[1:])
