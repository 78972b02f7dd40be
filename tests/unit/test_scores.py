"""The judge of digits, and what its numbers mean."""

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from fun.judging.scores import (
    FEATURES,
    DigitClassifier,
    FrechetDistance,
    frechet_floors,
    labels_of_floor,
    rate,
    read_digits,
    train_classifier,
    wilson_interval,
)


def test_wilson_interval():
    low, high = wilson_interval(95, 100)
    assert (low, high) == pytest.approx((0.8882, 0.9785), abs=1e-4)  # Newcombe 1998, by the formula
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert rate(3, 4) == {"value": 0.75, "low": wilson_interval(3, 4)[0], "high": wilson_interval(3, 4)[1], "n": 4}


def test_a_floor_has_enough_real_digits_whatever_is_drawn():
    """The test set has fewer of some digit than its size would say: 10,000 in the training set's proportions are not there."""
    test_labels = torch.arange(10).repeat(100)
    train_labels = torch.cat([test_labels, torch.zeros(9, dtype=torch.int64)])  # more zeros than the test set has
    features, sums = torch.randn(1000, 64), []
    for n in (100, 800, 50_000):
        labels = labels_of_floor(train_labels, test_labels, n)
        assert len(labels) == min(n, 800)
        sums.append(frechet_floors(lambda x: float(len(x)), features, test_labels, labels, seed=0))
    assert sums == [[100.0] * 5, [800.0] * 5, [800.0] * 5]


def test_frechet_distance_of_known_normals():
    """Between N(0, I) and N(m, s^2 I) it is |m|^2 + d (1 - s)^2."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(200_000, FEATURES, generator=generator)
    distance = FrechetDistance()
    distance.add_reference(draw)
    other = torch.randn(200_000, FEATURES, generator=generator)
    assert distance(other) == pytest.approx(0, abs=0.03)
    assert distance(2 * other + 0.5) == pytest.approx(FEATURES * (0.5**2 + 1), rel=0.01)


def test_frechet_distance_is_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    reference, samples = torch.rand(2, 500, FEATURES, generator=generator)
    samples = samples**1.3
    extract = nn.Identity()
    extract.num_features = FEATURES
    theirs = FrechetInceptionDistance(feature=extract).set_dtype(torch.float64)
    theirs.update(reference.double(), real=True)
    theirs.update(samples.double(), real=False)
    ours = FrechetDistance()
    ours.add_reference(reference)
    assert ours(samples) == pytest.approx(float(theirs.compute()), rel=1e-9)


def test_the_reference_can_be_kept():
    generator = torch.Generator().manual_seed(0)
    reference, samples = torch.randn(2, 500, FEATURES, generator=generator)
    distance = FrechetDistance()
    distance.add_reference(reference)
    again = FrechetDistance(distance.summary())
    assert again(samples) == distance(samples) == again(samples)


def test_the_classifier_learns_and_repeats_itself():
    """Labels written into four quadrants, bit by bit, are read correctly after a few steps, with the same bits each time."""
    images = torch.full((200, 1, 28, 28), -1.0)
    labels = torch.arange(200) % 10
    for image, label in zip(images, labels, strict=True):
        for bit in range(4):
            if int(label) >> bit & 1:
                row, column = 14 * (bit // 2) + 4, 14 * (bit % 2) + 4
                image[0, row : row + 6, column : column + 6] = 1

    def trained():
        torch.manual_seed(0)
        classifier = DigitClassifier()
        losses = list(train_classifier(classifier, images, labels, 8, seed=0, batch_size=20))
        return classifier, losses

    classifier, losses = trained()
    assert losses[-1] < losses[0] / 3
    assert losses == trained()[1]
    seen, features = read_digits(classifier, images)
    assert seen.shape == (200,)
    torch.testing.assert_close(features.square().mean(1).sqrt(), torch.ones(200))
