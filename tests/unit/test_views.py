import numpy as np
import pytest
import torch

from fun.diffusion.views import VIEWS, View, identity, make_view

GRID = 16


def views(grid=GRID):
    return [make_view(name, grid, seed) for name in VIEWS for seed in (0, 7)]


@pytest.mark.parametrize("view", views(), ids=lambda view: f"{view.name}-{view.seed}")
@pytest.mark.parametrize("size", [16, 32, 48])
def test_inverse(view, size):
    x = torch.randn(2, 6, size, size)
    assert torch.equal(view.inverse(view.view(x)), x)
    assert torch.equal(view.view(view.inverse(x)), x)


@pytest.mark.parametrize("view", views(8), ids=lambda view: f"{view.name}-{view.seed}")
@pytest.mark.parametrize("size", [8, 16])
def test_orthogonal(view, size):
    basis = torch.eye(size**2, dtype=torch.float64).view(size**2, size, size)
    matrix = view.view(basis).reshape(size**2, size**2)
    assert torch.equal(matrix @ matrix.T, torch.eye(size**2, dtype=torch.float64))


@pytest.mark.parametrize("grid", [16, 64])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("name", VIEWS)
def test_independent_of_resolution(name, grid, factor):
    view = make_view(name, grid, 3)
    x = torch.randn(1, 3, grid, grid)
    large = view.view(torch.kron(x, torch.ones(factor, factor)))
    assert torch.equal(large, torch.kron(view.view(x), torch.ones(factor, factor)))


@pytest.mark.parametrize("name", VIEWS)
def test_variance_moves_with_its_pixels_and_keeps_its_sign(name):
    view = make_view(name, GRID)
    x = torch.randn(1, 3, GRID, GRID)
    assert torch.equal(view.inverse_variance(x).abs(), view.inverse(x.abs()).abs())
    assert (view.inverse_variance(torch.ones(1, 3, GRID, GRID)) == 1).all()


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "identity"])
def test_every_view_changes_the_picture(name):
    x = torch.randn(1, 3, GRID, GRID)
    assert not torch.equal(make_view(name, GRID).view(x), x)


def test_directions():
    x = torch.tensor([[1, 2], [3, 4]])
    expected = {
        "identity": [[1, 2], [3, 4]],
        "negate": [[-1, -2], [-3, -4]],
        "flip_vertical": [[3, 4], [1, 2]],
        "flip_horizontal": [[2, 1], [4, 3]],
        "rotate_90_cw": [[3, 1], [4, 2]],
        "rotate_90_ccw": [[2, 4], [1, 3]],
        "rotate_180": [[4, 3], [2, 1]],
    }
    for name, picture in expected.items():
        assert make_view(name, 2).view(x).tolist() == picture, name


def test_seeds_decide_the_drawn_views():
    x = torch.arange(GRID**2).view(1, GRID, GRID)
    for name in ("pixel_permutation", "patch_permutation", "jigsaw"):
        assert torch.equal(make_view(name, GRID, 1).view(x), make_view(name, GRID, 1).view(x))
        assert not torch.equal(make_view(name, GRID, 1).view(x), make_view(name, GRID, 2).view(x))


def test_jigsaw_keeps_pieces_whole():
    """Away from the cuts, what was next to a pixel is still next to it (above, below, left or right)."""
    size = 64
    seen = make_view("jigsaw", size, 0).view(np.arange(size**2).reshape(size, size))
    y, x = np.divmod(seen, size)
    apart = abs(np.diff(y, axis=1)) + abs(np.diff(x, axis=1))
    assert (apart == 1).mean() > 0.9
    assert (seen != np.arange(size**2).reshape(size, size)).mean() > 0.5


def test_numpy_and_equal_views():
    x = np.random.default_rng(0).normal(size=(3, GRID, GRID))
    view = make_view("jigsaw", GRID, 5)
    assert np.array_equal(view.view(x), view.view(torch.tensor(x)).numpy())
    assert view == make_view("jigsaw", GRID, 5) and hash(view) == hash(make_view("jigsaw", GRID, 5))
    assert identity == View("identity")


def test_refusals_name_what_is_known():
    with pytest.raises(ValueError, match="unknown view 'upside_down'.*rotate_180"):
        make_view("upside_down", 16)
    with pytest.raises(ValueError, match="divisible by 4, not 18"):
        make_view("jigsaw", 18)
    with pytest.raises(ValueError, match="no multiple"):
        make_view("skew", 16).view(torch.zeros(1, 3, 20, 20))
