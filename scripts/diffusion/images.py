"""Pictures from files to arrays and back, without torch: a user's picture in, a figure's picture out.

Arrays are (3, size, size) float32 in [-1, 1]. What cannot be used is refused in one sentence that names the file.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 64_000_000  # 16 times a 4K screen: decoded, 200 MB


class ImageError(ValueError):
    """A picture that cannot be used. The message names the file."""


def load_image(path: str | Path, size: int) -> np.ndarray:
    """The picture `path`, its short side scaled to `size` and its centre cut out: (3, size, size) in [-1, 1].

    It is turned as its EXIF orientation says, and what is transparent becomes white. Of an animation the first frame
    counts.

    Raises:
        ImageError: the file is missing, no picture, damaged, too large, or of a kind whose white is not known.
    """
    picture = ImageOps.fit(_open(path), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1


def load_mask(path: str | Path, size: int) -> np.ndarray:
    """The mask `path`, cut like a picture: (size, size) bool, True where it is light, which is what to make anew."""
    picture = ImageOps.fit(_open(path).convert("L"), (size, size), Image.Resampling.BOX)
    return np.asarray(picture) >= 128


def make_mask(shape: str, size: int) -> np.ndarray:
    """The mask called `shape`: (size, size) bool, True where the picture is made anew."""
    if shape not in MASKS:
        raise ValueError(f"unknown mask {shape!r}; known: {', '.join(MASKS)}")
    y, x = (np.indices((size, size)) + 0.5) / size  # pixel centres, the picture being 1 x 1
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
    """(3, H, W) in about [-1, 1] as a picture of 8 bits a channel; what lies outside is clipped."""
    levels = np.rint((x.astype(np.float64) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return Image.fromarray(levels.transpose(1, 2, 0))


def _open(path):
    """The whole picture as RGB, upright, on white."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ImageError(f"{path}: {picture.width} x {picture.height} pixels are more than can be used")
                picture.load()
                return _on_white(_eight_bits(ImageOps.exif_transpose(picture), path))
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: more pixels than can be used") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture of a known kind") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for broken files of many kinds
        raise ImageError(f"{path}: damaged or not readable ({error})") from error


def _eight_bits(picture, path):
    """16-bit greys scaled to 8: Pillow's own conversion would cut them off at 255."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"{path}: greys beyond 16 bits have no known white")
        return Image.fromarray((levels // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ImageError(f"{path}: a picture of floating point numbers has no known white")
    return picture


def _on_white(picture):
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
