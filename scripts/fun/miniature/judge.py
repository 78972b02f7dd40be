"""The judge of the miniature's pictures: which digit, in which colour, on which colour?"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fun.judging.scores import rate
from fun.miniature.pictures import COLOURS, DIGITS, SIZE, colour_values, draw_batch, paint


class Shown(NamedTuple):
    """What the judge sees in each picture: indices of DIGITS and COLOURS, (N,) int64 each."""

    digit: Tensor
    foreground: Tensor
    background: Tensor


class Judge(nn.Module):
    """Logits of digit (N, 10), foreground (N, 8) and background (N, 8) of pictures (N, 3, 32, 32) in [-1, 1].

    A small CNN reads the digit from the ink alone, so that it works in any colour. The colours are read from the
    background's colour and that of the pixels with the most ink.
    """

    def __init__(self, width: int = 24):
        super().__init__()
        self.digit = nn.Sequential(
            *(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),  # 16 x 16
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * width, 4 * width, 3, padding=1), nn.BatchNorm2d(4 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(4 * width * 16, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, len(DIGITS))),
        )
        self.colours = nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 2 * len(COLOURS)))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ink, colours = find_ink(pictures)
        foreground, background = self.colours(colours).chunk(2, dim=1)
        return self.digit(ink), foreground, background


def find_ink(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The ink (N, 1, 32, 32): how far each pixel is from the background, the border's median colour; 1 is the farthest.
    And three colours, (N, 9): the background's, and the means of the 4 and of the 16 farthest pixels."""
    pixels = pictures.flatten(2)  # (N, 3, 1024)
    inside = F.pad(torch.zeros(SIZE - 4, SIZE - 4), [2] * 4, value=1.0).flatten() == 0
    background = pixels[:, :, ~inside].median(2).values  # (N, 3)
    distance = (pixels - background[:, :, None]).square().sum(1).sqrt()  # (N, 1024)
    far = distance.topk(16).indices[:, None].expand(-1, 3, -1)
    farthest = pixels.gather(2, far)  # (N, 3, 16), the farthest first
    ink = distance / distance.amax(1, keepdim=True).clamp(min=0.1)
    return ink.view(-1, 1, SIZE, SIZE), torch.cat([background, farthest[:, :, :4].mean(2), farthest.mean(2)], dim=1)


def enlarge(pictures: Tensor) -> Tensor:
    """Resize pictures of any size to the judge's (N, 3, 32, 32), bilinearly."""
    return F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=pictures.shape[-1] > SIZE)


def train_judge(
    judge: Judge, digits: Tensor, labels: Tensor, steps: int, seed: int, batch_size: int = 128
) -> Iterator[float]:
    """Train on coloured digits at both stages' sizes, slightly shifted and noisy; yields the loss of each step.

    Args: digits (M, 32, 32) uint8 from `centred_digits`, and their labels (M,).
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    judge.train()
    for _ in range(steps):
        batch = draw_batch(digits, labels, batch_size, generator)
        pictures = batch.pictures.clone()
        small = len(pictures) // 2
        pictures[:small] = enlarge(F.avg_pool2d(pictures[:small], 2))
        dx, dy = torch.randint(-2, 3, (2,), generator=generator).tolist()  # wraps background onto background
        pictures = pictures.roll((dy, dx), (2, 3))
        pictures += 0.1 * torch.rand(1, generator=generator) * torch.randn(pictures.shape, generator=generator)
        targets = (batch.digit, batch.foreground, batch.background)
        loss = sum(F.cross_entropy(logits, target) for logits, target in zip(judge(pictures), targets, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        yield loss.item()
    judge.eval()


@torch.no_grad()
def read_pictures(judge: Judge, pictures: Tensor) -> Shown:
    """What the judge sees in pictures (N, 3, H, W) in about [-1, 1], of any size."""
    chunks = [[logits.argmax(1) for logits in judge(enlarge(chunk.clamp(-1, 1)))] for chunk in pictures.split(256)]
    return Shown(*(torch.cat(column) for column in zip(*chunks, strict=True)))


def coloured_digits(n: int, generator: torch.Generator) -> Shown:
    """n random digits, each in a random colour on a different one."""
    background = torch.randint(len(COLOURS), (n,), generator=generator)
    foreground = (background + torch.randint(1, len(COLOURS), (n,), generator=generator)) % len(COLOURS)
    return Shown(torch.randint(len(DIGITS), (n,), generator=generator), foreground, background)


def paint_digits(digits: Tensor, shown: Shown, generator: torch.Generator) -> Tensor:
    """Paint digits (N, 32, 32) uint8 in the colours of `shown`, jittered: (N, 3, 32, 32)."""
    return paint(digits, colour_values(shown.foreground, generator), colour_values(shown.background, generator))


def compare(seen: Shown, asked: Shown) -> dict[str, dict]:
    """How often digit, foreground, background and all three are as asked: rates with their intervals."""
    right = {name: getattr(seen, name) == getattr(asked, name) for name in Shown._fields}
    right["all three"] = torch.stack(list(right.values())).all(0)
    return {name: rate(int(values.sum()), len(values)) for name, values in right.items()}


def judge_accuracy(judge: Judge, digits: Tensor, labels: Tensor, seed: int) -> dict[str, dict]:
    """The judge's accuracy on real digits (N, 32, 32) uint8 with labels (N,), in random colours, at both stages' sizes."""
    generator = torch.Generator().manual_seed(seed)
    asked = coloured_digits(len(digits), generator)._replace(digit=labels)
    pictures = paint_digits(digits, asked, generator)
    return {
        "32 x 32": compare(read_pictures(judge, pictures), asked),
        "16 x 16": compare(read_pictures(judge, F.avg_pool2d(pictures, 2)), asked),
    }
