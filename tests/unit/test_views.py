import numpy as np
import pytest
import torch

from fun.diffusion.views import VIEWS, View, cuts, identity, make_view

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


# --- what a printed picture must be cut into ---


@pytest.mark.parametrize("name", ["identity", "negate", "flip_vertical", "rotate_90_cw", "rotate_180"])
def test_what_moves_as_a_whole_is_not_cut(name):
    assert not any(edges.any() for edges in cuts(make_view(name, 16), 16))


def pieces_between(in_rows, in_columns):
    """(size, size): a number for each set of pixels that no cut separates."""
    size, pieces = len(in_rows), np.full((len(in_rows),) * 2, -1)
    for start in np.ndindex(size, size):
        todo = [start] if pieces[start] < 0 else []
        while todo:
            y, x = todo.pop()
            pieces[y, x] = start[0] * size + start[1]
            todo += [(y, x + 1)] if x + 1 < size and not in_rows[y, x] and pieces[y, x + 1] < 0 else []
            todo += [(y, x - 1)] if x > 0 and not in_rows[y, x - 1] and pieces[y, x - 1] < 0 else []
            todo += [(y + 1, x)] if y + 1 < size and not in_columns[y, x] and pieces[y + 1, x] < 0 else []
            todo += [(y - 1, x)] if y > 0 and not in_columns[y - 1, x] and pieces[y - 1, x] < 0 else []
    return pieces


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("name", ["patch_permutation", "jigsaw", "inner_circle"])
def test_pieces_between_the_cuts_move_as_a_whole(name, size):
    """Each is shifted or turned, never torn."""
    view = make_view(name, 16, seed=3)
    in_rows, in_columns = cuts(view, size)
    pieces = pieces_between(in_rows, in_columns)
    seen = view.view(pieces[None])[0]
    assert 1 < len(np.unique(pieces)) <= 64
    for piece in np.unique(pieces):
        before, after = (np.argwhere(where == piece) for where in (pieces, seen))
        assert sorted(np.ptp(before, axis=0)) == sorted(np.ptp(after, axis=0))  # the same box, perhaps on its side
    if name == "patch_permutation":
        edge = size // 8
        assert set(in_rows.any(0).nonzero()[0].tolist()) <= set(range(edge - 1, size - 1, edge))


def test_a_printout_is_the_same_to_the_byte_and_has_its_lines():
    from fun.reporting.printout import LINE, _sheet, printout

    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
    views = [{"view": name, "prompt": f"a {name} “picture”", "seed": 0} for name in ("identity", "jigsaw", "negate")]
    made = printout(x, [1, 2], views, 16)
    assert made == printout(x, [1, 2], views, 16) and made.startswith(b"%PDF") and made.count(b"/Type /Page\n") == 4
    first, cut, whole = ((make_view(view["view"], 16), view["prompt"]) for view in views)
    for other, lines in ((cut, True), (whole, False)):
        sheet = np.asarray(_sheet(x[0], 1, first, other))
        assert (sheet == LINE).all(-1).any() == lines
