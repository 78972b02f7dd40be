"""The pieces of a picture, laid anew."""

from itertools import permutations, product

import numpy as np
import pytest

from fun.diffusion.pieces import arrange, lay


def picture(seed, size=8):
    return np.random.default_rng(seed).normal(size=(3, size, size)).astype(np.float32)


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("side", [1, 2, 4, 8])
def test_a_picture_that_was_laid_anew_is_found_again(side, turns):
    source, rng = picture(1), np.random.default_rng(2)
    order = rng.permutation(side**2)
    quarters = rng.integers(4, size=side**2) if turns and side < 8 else np.zeros(side**2, dtype=int)
    target = lay(source, order, quarters)
    found, turned = arrange(source, target, side, turns)
    assert np.array_equal(lay(source, found, turned), target)
    assert np.array_equal(found, order) and np.array_equal(turned, quarters)
    assert np.array_equal(np.sort(target.ravel()), np.sort(source.ravel()))


def test_a_piece_turns_anticlockwise():
    source = picture(1)
    assert np.array_equal(lay(source, np.array([0]), np.array([1])), np.rot90(source, 1, (1, 2)))


@pytest.mark.parametrize("turns", [False, True])
def test_no_other_arrangement_is_closer(turns):
    source, target = picture(3, 4), picture(4, 4)
    distance = np.square(lay(source, *arrange(source, target, 2, turns)) - target).sum()
    ways = product(permutations(range(4)), product(range(4 if turns else 1), repeat=4))
    others = [np.square(lay(source, np.array(order), np.array(quarters)) - target).sum() for order, quarters in ways]
    assert distance == pytest.approx(min(others))


def test_an_arrangement_is_the_same_at_any_size():
    source, order = picture(5, 4), np.random.default_rng(6).permutation(16)
    quarters = np.zeros(16, dtype=int)
    large = source.repeat(3, 1).repeat(3, 2)
    assert np.array_equal(lay(large, order, quarters), lay(source, order, quarters).repeat(3, 1).repeat(3, 2))
