"""How good are the digits? A classifier of real digits judges them.

Class accuracy: how often it reads the digit that was asked for. Fréchet distance (Heusel et al. 2017,
https://arxiv.org/abs/1706.08500): how far its features of the samples are from those of the training digits.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fun.data.mnist import pick, proportional_labels

FEATURES = 64
BATCH_SIZE = 64  # for training the classifier


class DigitClassifier(nn.Module):
    """A small CNN: images (N, 1, 28, 28) in [-1, 1] to logits (N, 10). `features` (N, 64) feed its last layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU()),  # 14 x 14
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),  # 7 x 7
            *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, FEATURES), nn.ReLU()),
        )
        self.features.to(memory_format=torch.channels_last)  # faster
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def train_classifier(
    classifier: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int, batch_size: int = BATCH_SIZE
) -> Iterator[float]:
    """Train on images (N, 1, 28, 28) in [-1, 1], each batch shifted by up to two pixels; yields the loss of each step."""
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(images) / batch_size)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    classifier.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(batch_size):
            dx, dy = torch.randint(-2, 3, (2,), generator=generator).tolist()  # the border is black: nothing wraps
            loss = F.cross_entropy(classifier(images[chosen].roll((dy, dx), (2, 3))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            yield loss.item()
    classifier.eval()


@torch.no_grad()
def read_digits(classifier: DigitClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """The digit seen in each image, (N,) int64, and its features (N, 64) float32, scaled to a root mean square of 1:
    unscaled, a few digits with long feature vectors dominate a Fréchet distance, and its floor varies by half."""
    features = torch.cat([classifier.features(chunk) for chunk in images.split(1000)])
    return classifier.head(features).argmax(1), F.normalize(features) * FEATURES**0.5


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of the rate of `successes` in n trials (Wilson 1927): within [0, 1], and valid at 0 and n too."""
    centre = (successes + z * z / 2) / (n + z * z)
    half = z * math.sqrt(successes * (n - successes) / n + z * z / 4) / (n + z * z)
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(successes: int, n: int) -> dict:
    """A measured rate as every scores.json stores it: value, 95 % interval and n."""
    low, high = wilson_interval(successes, n)
    return {"value": successes / n, "low": low, "high": high, "n": n}


class FrechetDistance:
    """Distance between normal distributions fitted to two sets of features (N, 64), in float64.

    The reference is summarised once (`summary`) and read back, so that 60,000 digits are classified only once.
    """

    def __init__(self, summary: dict[str, Tensor] | None = None):
        self._summary = summary

    def add_reference(self, features: Tensor) -> None:
        self._summary = _sums(features)

    def summary(self) -> dict[str, Tensor]:
        return self._summary

    def __call__(self, features: Tensor) -> float:
        """The distance of `features` from the reference, >= 0; it shrinks as N grows, so report N with it."""
        (mean, covariance), (real_mean, real_covariance) = _moments(_sums(features)), _moments(self._summary)
        # The trace of a square root is the sum of its eigenvalues, which are real for a product of covariances.
        overlap = torch.linalg.eigvals(covariance @ real_covariance).sqrt().real.sum()
        squares = (mean - real_mean).square().sum()
        return float(squares + covariance.trace() + real_covariance.trace() - 2 * overlap)


def _sums(features):
    """The sum of the features, the sum of their outer products, and their number: enough for mean and covariance."""
    features = features.double()
    return {"sum": features.sum(0), "outer": features.T @ features, "n": torch.tensor(len(features))}


def _moments(sums):
    """Mean (64,) and covariance (64, 64), from `_sums`."""
    n, mean = int(sums["n"]), sums["sum"] / sums["n"]
    return mean, (sums["outer"] - n * torch.outer(mean, mean)) / (n - 1)


def labels_of_floor(train_labels: Tensor, test_labels: Tensor, n: int) -> Tensor:
    """The labels of n real test digits in the training set's proportions, or of four fifths of the test set, if n is more: of each
    digit there are enough then."""
    return proportional_labels(train_labels, min(n, 4 * len(test_labels) // 5))


def frechet_floors(
    distance: FrechetDistance, test_features: Tensor, test_labels: Tensor, wanted: Tensor, seed: int
) -> list[float]:
    """What the distance of as many real test digits is, with the labels `wanted`: of five draws. The test set is shuffled first,
    because its first half is tidier."""
    generator, floors = torch.Generator().manual_seed(seed), []
    for _ in range(5):
        order = torch.randperm(len(test_labels), generator=generator)
        floors.append(distance(test_features[order[pick(test_labels[order], wanted)]]))
    return floors
