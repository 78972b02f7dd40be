from functools import partial

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur as torchvision_blur

from fun.diffusion.filters import gaussian_blur, grey, motion_blur, parts


@pytest.mark.parametrize("sigma, kernel_size", [(2.0, 33), (2.0, None), (0.75, None), (1.5, 7)])
def test_blur_is_torchvisions(sigma, kernel_size):
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    size = kernel_size or {2.0: 13, 0.75: 7}[sigma]
    assert (gaussian_blur(x, sigma, kernel_size) - torchvision_blur(x, size, sigma)).abs().max() < 1e-6


def test_a_kernel_never_reaches_beyond_the_picture():
    x = torch.full((1, 3, 8, 8), 0.5)
    assert torch.allclose(gaussian_blur(x, 9.0), x)


FILTERS = {
    "one band": [partial(gaussian_blur, sigma=2.0)],
    "three bands": [partial(gaussian_blur, sigma=3.0), partial(gaussian_blur, sigma=1.0)],
    "grey": [grey],
    "motion": [partial(motion_blur, length=7, angle=30)],
    "none": [],
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_parts_sum_to_the_picture(filters):
    x = torch.randn(2, 3, 32, 32)
    found = [part(x) for part in parts(filters)]
    assert len(found) == len(filters) + 1
    assert (sum(found) - x).abs().max() < 1e-5
    constant = torch.ones(1, 3, 32, 32)
    assert (parts(filters)[0](constant) - 1).abs().max() < 1e-6
    assert all(part(constant).abs().max() < 1e-6 for part in parts(filters)[1:])
    if filters:
        assert torch.equal(found[0], filters[0](x))


def test_grey_is_the_mean_over_the_colours():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(grey(x), torch.stack([x.mean(1)] * 3, 1))
    assert torch.allclose(grey(grey(x)), grey(x), atol=1e-6)


@pytest.mark.parametrize("angle, along, across", [(0, (0, 1), (1, 0)), (90, (1, 0), (0, 1)), (45, (-1, 1), (1, 1))])
def test_a_motion_blurs_along_its_line_only(angle, along, across):
    """A line along the motion stays, a line across it is spread."""
    down, right = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")

    def line(direction):
        return ((down * direction[1] - right * direction[0]) == 0).float().expand(1, 3, -1, -1)

    def middle(x):
        return motion_blur(x, 6, angle)[0, 0, 10, 10].item()

    kept = middle(line(along))
    assert kept > 0.6 and middle(line(across)) < 0.35
    assert kept > 0.99 or angle == 45  # between the axes, a point of the line is shared by its neighbours


def test_no_motion_is_no_blur_and_opposite_ways_are_one():
    x = torch.randn(1, 3, 16, 16)
    assert torch.allclose(motion_blur(x, 1e-9, 20), x, atol=1e-5)
    assert torch.allclose(motion_blur(x, 5, 20), motion_blur(x, 5, 200), atol=1e-5)
    assert torch.allclose(motion_blur(x, 5, 20).flip(-1), motion_blur(x.flip(-1), 5, 160), atol=1e-5)
