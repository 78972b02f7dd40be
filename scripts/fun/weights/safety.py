"""What DeepFloyd IF requires of pictures that are shown: black if its safety checker flags them, and its watermark.

Both are applied when pictures are shown; the stages' files keep them as they were drawn. No torch is needed.
"""

import numpy as np
from PIL import Image

from fun.data.images import to_picture
from fun.data.timesteps import timestep_of

DRAWN = ("x_0", "one_step")  # drawn by a network for each sample, (N, 3, H, W)
WAY = ("states", "estimates")  # of one sample only: the first of the noisiest, where timesteps differ, else the first
MARK_SIZE, MARK_MARGIN = 62, 14  # pixels, in a picture of 1024 x 1024


def black_out(arrays: dict[str, np.ndarray], samples: list[dict], flagged: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a stage, where everything that a network drew for the samples `flagged`, (N,) bool, is black."""
    blackened = dict(arrays)
    for name in arrays.keys() & set(DRAWN):
        blackened[name] = np.where(flagged[:, None, None, None], np.float32(-1), arrays[name])
    for name in arrays.keys() & set(WAY):
        longest = max(range(len(samples)), key=lambda i: timestep_of(samples[i].get("timestep", 0)))
        blackened[name] = np.full_like(arrays[name], -1) if flagged[longest] else arrays[name]
    return blackened


def mark(arrays: dict[str, np.ndarray], watermark: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a stage with the watermark on the pictures that it drew, which this rounds to 8 bits per channel."""
    marked = dict(arrays)
    for name in arrays.keys() & {*DRAWN, *WAY}:
        pictures = [np.asarray(paste_watermark(to_picture(x), watermark), dtype=np.float32) for x in arrays[name]]
        marked[name] = np.stack(pictures).transpose(0, 3, 1, 2) / np.float32(127.5) - 1
    return marked


def paste_watermark(picture: Image.Image, watermark: np.ndarray) -> Image.Image:
    """The picture with the watermark (62, 62, 4) uint8 at its lower right, in the size that diffusers' IFWatermarker gives
    it; without the watermark if that is less than a pixel."""
    scale = (picture.width * picture.height / 1024**2) ** 0.5
    size = int(scale * MARK_SIZE)
    if size == 0:
        return picture
    right, lower = (side - int(MARK_MARGIN * scale) for side in picture.size)
    small = Image.fromarray(watermark).resize((size, size), Image.Resampling.BICUBIC)
    marked = picture.copy()
    marked.paste(small, (right - size, lower - size, right, lower), mask=small.getchannel("A"))
    return marked
