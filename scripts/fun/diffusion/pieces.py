"""A picture cut into pieces, and the pieces laid anew so that they show something else.

Making Images from Images: https://arxiv.org/abs/2411.15925. Pictures are numpy arrays (C, S, S); no torch is needed.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment


def arrange(source: np.ndarray, target: np.ndarray, side: int, turns: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """How the side x side pieces of `source` come closest to `target`, in squared distance.

    Args:
        turns: whether a piece may be turned by quarters.

    Returns: for each place, row by row, the piece that lies there, and how often it is turned by 90 degrees anticlockwise:
        (side * side,) int64 each.
    """
    pieces, places = _cut(source, side), _cut(target, side)
    turned = np.stack([np.rot90(pieces, quarters, (2, 3)) for quarters in range(4 if turns else 1)])
    # The lengths of pieces and places are in every arrangement alike: the least distance is the largest product.
    product = np.einsum("qpchw,tchw->qtp", turned, places, optimize=True)
    order = linear_sum_assignment(product.max(0), maximize=True)[1]
    return order, product.argmax(0)[np.arange(len(order)), order]


def lay(source: np.ndarray, order: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """The pieces of `source` (C, S, S), as many as `order` has entries, laid as `arrange` says. S may be any multiple of the
    number of pieces on a side."""
    side = round(len(order) ** 0.5)
    pieces = _cut(source, side)[order]
    turned = np.stack([np.rot90(piece, k, (1, 2)) for piece, k in zip(pieces, quarters, strict=True)])
    channels, size = source.shape[0], source.shape[-1]
    rows = turned.reshape(side, side, channels, size // side, size // side)
    return rows.transpose(2, 0, 3, 1, 4).reshape(source.shape)


def _cut(x, side):
    """(C, S, S) -> (side * side, C, S / side, S / side), row by row."""
    channels, size = x.shape[0], x.shape[-1]
    pieces = x.reshape(channels, side, size // side, side, size // side).transpose(1, 3, 0, 2, 4)
    return pieces.reshape(side * side, channels, size // side, size // side)
