"""Pictures from files to arrays and back, without torch.

Arrays are (3, size, size) float32 in [-1, 1]. A file that cannot be used raises ImageError.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 64_000_000  # such as 8,000 x 8,000; 200 MB when decoded


class ImageError(ValueError):
    """A picture that cannot be used. The message is one sentence that names the file."""


def load_image(path: str | Path, size: int) -> np.ndarray:
    """The picture `path`, scaled so that its short side is `size` and cropped to the centre: (3, size, size) in [-1, 1].

    It is rotated as its EXIF orientation says, and transparency becomes white. Of an animation the first frame is used.

    Raises:
        ImageError: the file is missing, not a picture, damaged or too large, or its format does not define white.
    """
    picture = ImageOps.fit(_open(path), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1


def load_mask(path: str | Path, size: int) -> np.ndarray:
    """The mask `path`, scaled and cropped like a picture: (size, size) bool, True where it is light (to be repainted)."""
    picture = ImageOps.fit(_open(path).convert("L"), (size, size), Image.Resampling.BOX)
    return np.asarray(picture) >= 128


def make_mask(shape: str, size: int) -> np.ndarray:
    """The mask called `shape`: (size, size) bool, True where the picture is to be repainted."""
    if shape not in MASKS:
        raise ValueError(f"unknown mask {shape!r}; known: {', '.join(MASKS)}")
    y, x = (np.indices((size, size)) + 0.5) / size  # pixel centres in a 1 x 1 picture
    return MASKS[shape](x, y)


MASKS = {
    "left": lambda x, y: x < 1 / 2,
    "right": lambda x, y: x > 1 / 2,
    "top": lambda x, y: y < 1 / 2,
    "bottom": lambda x, y: y > 1 / 2,
    "hole": lambda x, y: np.maximum(abs(x - 1 / 2), abs(y - 1 / 2)) < 1 / 4,
    "frame": lambda x, y: np.maximum(abs(x - 1 / 2), abs(y - 1 / 2)) > 1 / 4,
}


def to_picture(x: np.ndarray) -> Image.Image:
    """(3, H, W) in about [-1, 1] as a picture with 8 bits per channel; values outside are clipped."""
    levels = np.rint((x.astype(np.float64) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return Image.fromarray(levels.transpose(1, 2, 0))


def _open(path):
    """The picture at full size, as RGB, upright, on white."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ImageError(f"{path}: {picture.width} x {picture.height} pixels are too many")
                picture.load()
                return _on_white(_eight_bits(ImageOps.exif_transpose(picture), path))
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: too many pixels") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture of a known kind") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for broken files
        raise ImageError(f"{path}: damaged or not readable ({error})") from error


def _eight_bits(picture, path):
    """The picture with 16-bit greys scaled to 8 bits: Pillow's own conversion clips them at 255."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"{path}: greys of more than 16 bits do not define which value is white")
        return Image.fromarray((levels // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ImageError(f"{path}: floating-point pixels do not define which value is white")
    return picture


def _on_white(picture):
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
