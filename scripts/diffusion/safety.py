"""What DeepFloyd IF asks of the pictures that are shown: black where its safety checker saw something, and its watermark.

Pictures stay as they were drawn in the stages' files; this is done where they are shown. No torch is needed.
"""

import numpy as np
from PIL import Image

from diffusion.images import to_picture

DRAWN = ("x_0", "one_step")  # what a network draws of a sample, (N, 3, H, W) each
WAY = ("states", "estimates")  # and on the longest way of the first sample that has it
MARK_SIZE, MARK_MARGIN = 62, 14  # pixels, in a picture of 1024


def black_out(arrays: dict[str, np.ndarray], samples: list[dict], flagged: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a stage with everything black that a network drew of those samples that are `flagged`, (N,) bool."""
    blackened = dict(arrays)
    for name in arrays.keys() & set(DRAWN):
        blackened[name] = np.where(flagged[:, None, None, None], np.float32(-1), arrays[name])
    for name in arrays.keys() & set(WAY):
        longest = max(range(len(samples)), key=lambda i: samples[i]["timestep"])
        blackened[name] = np.full_like(arrays[name], -1) if flagged[longest] else arrays[name]
    return blackened


def mark(arrays: dict[str, np.ndarray], watermark: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a stage with the watermark on its finished pictures, which thereby have 8 bits a channel."""
    marked = [np.asarray(paste_watermark(to_picture(x), watermark), dtype=np.float32) for x in arrays["x_0"]]
    return arrays | {"x_0": np.stack(marked).transpose(0, 3, 1, 2) / np.float32(127.5) - 1}


def paste_watermark(picture: Image.Image, watermark: np.ndarray) -> Image.Image:
    """The picture with the watermark (62, 62, 4) uint8 at its lower right, as large as diffusers' IFWatermarker makes it;
    none where it would be less than a pixel."""
    scale = (picture.width * picture.height / 1024**2) ** 0.5
    size = int(scale * MARK_SIZE)
    if size == 0:
        return picture
    right, lower = (side - int(MARK_MARGIN * scale) for side in picture.size)
    small = Image.fromarray(watermark).resize((size, size), Image.Resampling.BICUBIC)
    marked = picture.copy()
    marked.paste(small, (right - size, lower - size, right, lower), mask=small.getchannel("A"))
    return marked
