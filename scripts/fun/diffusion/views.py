"""Orthogonal views of a picture (Visual Anagrams, https://arxiv.org/abs/2311.17919).

A view must be orthogonal, so that noise stays standard normal under it: every view here permutes the pixels or negates
all values. It must also not depend on the resolution, so that both stages see the same picture: views that are random or
follow a curved edge are defined on stage I's grid and expanded to the pixels of stage II.
No torch is needed: views apply to numpy arrays and to tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SKEW = 1.5  # columns move by this many pixels per pixel of distance from the centre


@dataclass(frozen=True)
class View:
    """One way to look at square pictures (..., size, size), where size is a multiple of `grid`.

    Args:
        name: one of `PERMUTATIONS`, or "identity" or "negate".
        grid: side length in pixels of stage I's pictures.
        seed: for random views.
    """

    name: str = "identity"
    grid: int = 1
    seed: int = 0

    def view(self, x):
        """The picture as seen under this view."""
        return -x if self.name == "negate" else _rearrange(x, _order(self, x.shape[-1]))

    def inverse(self, x):
        """inverse(view(x)) == x."""
        return -x if self.name == "negate" else self.inverse_variance(x)

    def inverse_variance(self, v):
        """The inverse for the variance channels, which move with their pixels but never change sign."""
        order = _order(self, v.shape[-1])
        return v if order is None else _rearrange(v, np.argsort(order))


def make_view(name: str, grid: int, seed: int = 0) -> View:
    """The view called `name` for a cascade whose stage I makes pictures of grid x grid pixels.

    Raises:
        ValueError: the name is unknown (the message lists the known ones), or the view does not fit this grid.
    """
    if name not in VIEWS:
        raise ValueError(f"unknown view {name!r}; known: {', '.join(VIEWS)}")
    if name in MULTIPLE_OF and grid % MULTIPLE_OF[name]:
        raise ValueError(f"the view {name} needs a size divisible by {MULTIPLE_OF[name]}, not {grid}")
    return View(name, grid, seed)


identity = View()


def cuts(view: View, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a picture of size x size pixels must be cut, so that its pieces can be laid as a view shows it: (size, size - 1)
    bool between neighbours in a row, and (size - 1, size) between neighbours in a column. None are cut by a view that moves
    the picture as a whole."""
    order = _order(view, size)
    places = np.arange(size**2) if order is None else np.argsort(order)
    row, column = (place.reshape(size, size) for place in np.divmod(places, size))
    return tuple(abs(np.diff(row, axis=axis)) + abs(np.diff(column, axis=axis)) != 1 for axis in (1, 0))


# Each function below returns a permutation, (size, size) int64: for each place, the flat index of the pixel that moves
# there. `pixels` is the identity permutation of this size; `grid` and `seed` are the view's.


def flip_vertical(pixels, grid, seed):
    """Upside down."""
    return np.flipud(pixels)


def flip_horizontal(pixels, grid, seed):
    """Left to right."""
    return np.fliplr(pixels)


def rotate_90_cw(pixels, grid, seed):
    return np.rot90(pixels, -1)


def rotate_90_ccw(pixels, grid, seed):
    return np.rot90(pixels, 1)


def rotate_180(pixels, grid, seed):
    return np.rot90(pixels, 2)


def skew(pixels, grid, seed):
    """Each column of stage I rolls down by SKEW pixels per pixel to the right of the centre; those to the left of it roll up.

    In stage II such a column rolls as a whole, so that both stages see the same picture: shearing at stage II's own
    resolution, as the code of Visual Anagrams does, has finer edges and loses readings (docs/measurements.md).
    """
    row, column = np.indices((grid, grid))
    return _expand((row - (SKEW * (column - grid // 2)).astype(int)) % grid * grid + column, pixels)


def patch_permutation(pixels, grid, seed):
    """8 x 8 patches in random order."""
    patches = np.random.default_rng(seed).permutation(64).reshape(8, 8)
    return _expand(_expand(patches, _pixels(grid)), pixels)


def pixel_permutation(pixels, grid, seed):
    """The pixels of stage I in random order."""
    return _expand(np.random.default_rng(seed).permutation(grid**2).reshape(grid, grid), pixels)


def inner_circle(pixels, grid, seed):
    """A centred disc, three quarters of the width across, turns by 180 degrees; the rest stays."""
    y, x = np.indices((grid, grid)) - (grid - 1) / 2
    disc = _enlarge(x**2 + y**2 < (3 / 8 * grid) ** 2, pixels)
    return np.where(disc, np.rot90(pixels, 2), pixels)


def square_hinge(pixels, grid, seed):
    """Nine squares (3 x 3) turn by 90 degrees, neighbours in opposite directions, as if hinged at their corners. Pixels
    left over at the right and the bottom stay."""
    side = grid // 3 * (len(pixels) // grid)
    turned = pixels.copy()
    for i in range(3):
        for j in range(3):
            square = np.s_[i * side : (i + 1) * side, j * side : (j + 1) * side]
            turned[square] = np.rot90(pixels[square], -1 if (i + j) % 2 == 0 else 1)
    return turned


def jigsaw(pixels, grid, seed):
    """The 4 x 4 pieces of a jigsaw puzzle change places.

    The puzzle's outlines look the same when turned by 90 degrees, so the pieces come in groups of four with the same
    shape; within each group they are exchanged at random.
    """
    orbit, quarter = (_enlarge(part, pixels) for part in np.divmod(_jigsaw_pieces(grid), 4))
    rng = np.random.default_rng(seed)
    result = pixels.copy()
    for shape in range(4):
        for place, source in enumerate(rng.permutation(4)):
            here = (orbit == shape) & (quarter == place)
            result[here] = np.rot90(pixels, place - source)[here]
    return result


def _jigsaw_pieces(grid):
    """(grid, grid) labels 4 * shape + quarter; the piece of quarter q is the piece of quarter 0 turned q times by rot90."""
    cells = np.zeros((4, 4), dtype=int)
    for shape, corner in enumerate([(0, 0), (0, 1), (0, 2), (1, 1)]):
        for quarter in range(4):
            mark = np.zeros((4, 4), dtype=int)
            mark[corner] = 1
            cells[np.rot90(mark, quarter) == 1] = 4 * shape + quarter
    pieces = _enlarge(cells, _pixels(grid))
    # Exact arithmetic: pixel centres and tabs are multiples of 1/16 of a pixel from the centre of the board.
    y, x = np.indices((grid, grid)) - (grid - 1) / 2
    cell = grid / 4
    # One edge between two cells for each of the six kinds of edges: its middle, and the step from the cell with the tab
    # to the cell with the matching hole. In units of cells; (0, 0) is the centre of the board.
    edges = [
        ((-1.5, -1), (0, 1)),
        ((-1.5, 0), (0, -1)),
        ((-1.5, 1), (0, 1)),
        ((-1, -0.5), (1, 0)),
        ((-1, 0.5), (-1, 0)),
        ((-0.5, 0), (0, 1)),
    ]
    for (middle_y, middle_x), (step_y, step_x) in edges:
        centre_y, centre_x = (middle_y + step_y / 8) * cell, (middle_x + step_x / 8) * cell
        tab = (y - centre_y) ** 2 + (x - centre_x) ** 2 <= (cell / 4) ** 2
        giver = cells[int(middle_y - step_y / 2 + 2), int(middle_x - step_x / 2 + 2)]
        for quarter in range(4):
            pieces[np.rot90(tab, quarter)] = giver // 4 * 4 + (giver + quarter) % 4
    return pieces


PERMUTATIONS: dict[str, Callable] = {
    "flip_vertical": flip_vertical,
    "flip_horizontal": flip_horizontal,
    "rotate_90_cw": rotate_90_cw,
    "rotate_90_ccw": rotate_90_ccw,
    "rotate_180": rotate_180,
    "skew": skew,
    "patch_permutation": patch_permutation,
    "pixel_permutation": pixel_permutation,
    "jigsaw": jigsaw,
    "inner_circle": inner_circle,
    "square_hinge": square_hinge,
}
VIEWS = ("identity", "negate", *PERMUTATIONS)
MULTIPLE_OF = {"patch_permutation": 8, "jigsaw": 4}


def _pixels(size):
    return np.arange(size**2).reshape(size, size)


@lru_cache(maxsize=64)
def _order(view, size):
    """(size * size,): the flat index of the pixel that moves to each place, or None if all stay."""
    if view.name not in PERMUTATIONS:
        return None
    if size % view.grid:
        raise ValueError(f"the view {view.name} is laid out on {view.grid} pixels, and {size} is no multiple of that")
    return np.ascontiguousarray(PERMUTATIONS[view.name](_pixels(size), view.grid, view.seed)).ravel()


def _rearrange(x, order):
    return x if order is None else x.reshape(*x.shape[:-2], -1)[..., order].reshape(x.shape)


def _enlarge(coarse, pixels):
    """`coarse` enlarged to the size of `pixels`: each cell becomes a square."""
    factor = len(pixels) // len(coarse)
    return coarse.repeat(factor, 0).repeat(factor, 1)


def _expand(coarse, pixels):
    """The permutation `coarse` of squares as a permutation of `pixels`: each square moves as a whole, without turning."""
    factor = len(pixels) // len(coarse)
    row, column = np.divmod(_enlarge(coarse, pixels), len(coarse))
    inside_y, inside_x = np.indices(pixels.shape) % factor
    return (row * factor + inside_y) * len(pixels) + column * factor + inside_x
