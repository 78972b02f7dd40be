"""The miniature cascade's pictures: handwritten digits in eight colours, each with a prompt that says what it shows.

Colours are the corners of the RGB cube, so the negative of a picture also has two known colours.
Pictures are (N, 3, 32, 32) float32 in [-1, 1]; stage I sees their 2 x 2 means, (N, 3, 16, 16).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")  # index = 4 red + 2 green + blue
BLACK = 0
UNNAMED = -1  # a digit or a colour that the prompt does not name
SIZE = 32  # pixels of a stage II picture
DIGIT_SIZE = 24  # pixels of a digit's longer side
JITTER = 0.12  # how far a channel may be from full or from zero, as a share of the whole range

# Each kind of prompt, how often it is drawn, and whether its background is black without being named.
TEMPLATES = (
    ("a {foreground} {digit} on a {background} background", 0.45, False),
    ("a {foreground} handwritten {digit} on a {background} background", 0.25, False),
    ("a {foreground} handwritten {digit}", 0.12, True),
    ("a handwritten {digit}", 0.08, True),
    ("a {foreground} digit on a {background} background", 0.05, False),
    ("a high quality photo", 0.05, False),
)
VOCABULARY = tuple(sorted({word for text, *_ in TEMPLATES for word in text.split() if "{" not in word}))
VOCABULARY += DIGITS + COLOURS


class Prompt(NamedTuple):
    """A prompt and what it names: digit 0 .. 9, colours 0 .. 7, UNNAMED for what it does not name."""

    text: str
    digit: int
    foreground: int
    background: int


class Batch(NamedTuple):
    """Pictures and what they show: N of each; `prompt` indexes PROMPTS."""

    pictures: Tensor  # (N, 3, 32, 32) float32 in [-1, 1]
    prompt: Tensor  # (N,) int64
    digit: Tensor
    foreground: Tensor
    background: Tensor


def _all_prompts() -> tuple[list[Prompt], Tensor]:
    """Every distinct prompt, the empty one first, and their indices in that list by kind, digit, foreground, background."""
    prompts = {"": Prompt("", UNNAMED, UNNAMED, UNNAMED)}
    index = torch.zeros(len(TEMPLATES), len(DIGITS), len(COLOURS), len(COLOURS), dtype=torch.int64)
    for kind, (template, _, on_black) in enumerate(TEMPLATES):
        for digit, foreground, background in torch.cartesian_prod(*map(torch.arange, index.shape[1:])).tolist():
            if foreground == background or (on_black and background != BLACK):
                continue
            text = template.format(digit=DIGITS[digit], foreground=COLOURS[foreground], background=COLOURS[background])
            named = Prompt(
                text,
                digit if "{digit}" in template else UNNAMED,
                foreground if "{foreground}" in template else UNNAMED,
                background if "{background}" in template else BLACK if on_black else UNNAMED,
            )
            prompts.setdefault(text, named)
            index[kind, digit, foreground, background] = list(prompts).index(text) if kind > 2 else len(prompts) - 1
    return list(prompts.values()), index


PROMPTS, _PROMPT_INDEX = _all_prompts()


def centred_digits(images: Tensor) -> Tensor:
    """MNIST digits cut to their bounding box, scaled so that the longer side has 24 pixels, and centred.

    Args:
        images: (N, 28, 28) uint8, bright ink on black.
    Returns: (N, 32, 32) uint8.
    """
    ink = images > 0
    spans = []
    for pixels in (ink.any(1), ink.any(2)):  # columns, then rows: (N, 28)
        first = pixels.int().argmax(1)
        last = 27 - pixels.flip(1).int().argmax(1)
        spans.append((first, last + 1))
    (left, right), (top, bottom) = spans
    # Maps output coordinates in [-1, 1] to input coordinates: one scale for both axes, about the centre of the box.
    scale = torch.maximum(right - left, bottom - top) / 28 * (SIZE / DIGIT_SIZE)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, 0, 2] = (left + right) / 28 - 1
    theta[:, 1, 2] = (top + bottom) / 28 - 1
    grid = F.affine_grid(theta, (len(images), 1, SIZE, SIZE), align_corners=False)
    return F.grid_sample(images[:, None].float(), grid, align_corners=False)[:, 0].round().byte()


def colour_values(colours: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Indices of COLOURS (N,) to RGB (N, 3) in [-1, 1]: the exact corner, or with a generator, jittered towards grey."""
    corners = torch.stack([colours >> 2 & 1, colours >> 1 & 1, colours & 1], dim=1) * 2.0 - 1.0
    if generator is None:
        return corners
    return corners * (1 - 2 * JITTER * torch.rand(corners.shape, generator=generator))


def paint(digits: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Paint digits (N, 32, 32) uint8 in foreground colours (N, 3) on background colours (N, 3): (N, 3, 32, 32)."""
    ink = digits[:, None].float() / 255
    return torch.lerp(background[:, :, None, None], foreground[:, :, None, None], ink)


def draw_batch(digits: Tensor, labels: Tensor, n: int, generator: torch.Generator) -> Batch:
    """Draw n of the digits (M, 32, 32) uint8 with labels (M,), coloured at random, each with a prompt that fits."""
    chosen = torch.randint(len(digits), (n,), generator=generator)
    kind = torch.multinomial(torch.tensor([share for _, share, _ in TEMPLATES]), n, True, generator=generator)
    background = torch.randint(len(COLOURS), (n,), generator=generator)
    background[torch.tensor([on_black for *_, on_black in TEMPLATES])[kind]] = BLACK
    # Any colour but the background's.
    foreground = (background + torch.randint(1, len(COLOURS), (n,), generator=generator)) % len(COLOURS)
    digit = labels[chosen].long()
    pictures = paint(digits[chosen], colour_values(foreground, generator), colour_values(background, generator))
    return Batch(pictures, _PROMPT_INDEX[kind, digit, foreground, background], digit, foreground, background)
