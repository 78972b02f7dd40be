"""Pictures and masks from files to arrays, and back, without torch.

Pictures are (3, size, size) float32 in [-1, 1]; a picture's size is its size when it is upright, as its EXIF orientation
says. A file that cannot be used raises ImageError.
"""

import contextlib
import re
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

MAX_PIXELS = 64_000_000  # such as 8,000 x 8,000; 200 MB when decoded
KINDS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF")
READ = f"{', '.join(KINDS[:-1])} and {KINDS[-1]} are read, of up to {MAX_PIXELS:,} pixels"
# How files begin that are often taken for pictures, and what to say of them.
NOT_READ = {
    rb".{4}ftyp(hei|hev|mif1|msf1)": "is HEIC: export it as JPEG",
    rb"version https://git-lfs": "is a git-LFS pointer: fetch the picture itself with git lfs pull",
    rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|script|!--)": "is a web page: save the picture itself",
    rb"$": "is empty",
}
LIGHT = 128  # of 255: the grey level from which a mask is light


class ImageError(ValueError):
    """A picture that cannot be used. The message is one sentence that names the file."""


def load_image(path: str | Path, size: int) -> np.ndarray:
    """The picture `path`, scaled so that its short side is `size` and cropped to the centre: (3, size, size) in [-1, 1].
    Warns if only one colour is left.

    Raises:
        ImageError: see `read_picture`.
    """
    picture = ImageOps.fit(read_picture(path), (size, size), Image.Resampling.LANCZOS)
    if all(low == high for low, high in picture.getextrema()):
        warnings.warn(f"{path} has the same colour everywhere", stacklevel=2)
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1


def load_mask(path: str | Path, size: int) -> np.ndarray:
    """The mask `path`, scaled and cropped like a picture: (size, size) bool, True where it is light.

    Raises:
        ImageError: see `read_picture`; or the mask is light everywhere or nowhere.
    """
    light = np.asarray(ImageOps.fit(read_mask(path), (size, size), Image.Resampling.BOX)) >= LIGHT
    if light.all() or not light.any():
        raise ImageError(
            f"{path}, scaled to {size} x {size}, is light in {light.sum():,} of {light.size:,} pixels "
            f"({100 * light.mean():.0f} %) and must be light in some and dark in others: a pixel is light if its grey level (its "
            f"opacity, if the mask has transparency) is at least {LIGHT} of 255; pure red has 76"
        )
    return light


def check_picture(path: str | Path) -> None:
    """Raise ImageError if the picture `path` is of no known kind or too large. Reads no more than its header."""
    with _opened(path):
        pass


def check_shape(mask: str | Path, picture: str | Path) -> None:
    """Raise ImageError unless mask and picture, both upright, have the same aspect ratio to within a pixel."""
    (width, height), (w, h) = _upright_size(picture), _upright_size(mask)
    if abs(w * height - h * width) >= max(width, height):
        raise ImageError(
            f"{mask} has {w} x {h} pixels, but must have the aspect ratio of {picture}, which has {width} x {height} "
            "when it is upright"
        )


def read_picture(path: str | Path) -> Image.Image:
    """The picture `path` at full size: RGB in sRGB, upright, on white; of an animation the first frame.

    Raises:
        ImageError: the file is missing, not a picture, damaged or too large, or its format does not define white.
    """
    with _opened(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        colours, alpha = _colours_and_alpha(picture, path)
        rgb = _to_srgb(colours, picture.info.get("icc_profile"))
    if alpha is None:
        return rgb
    rgb.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")


def read_mask(path: str | Path) -> Image.Image:
    """The mask `path` at full size, upright, as greys: its alpha channel if that varies, else its lightness; stretched
    to 255 if the largest value is 1.

    Raises:
        ImageError: see `read_picture`.
    """
    with _opened(path) as mask:
        mask = ImageOps.exif_transpose(mask)
        if mask.mode[0] in "IF" and (levels := np.asarray(mask)).max() == 1:
            return Image.fromarray((255 * levels.clip(0)).astype(np.uint8))
        colours, alpha = _colours_and_alpha(mask, path)
    greys = colours.convert("L")
    if alpha is not None and len(set(alpha.getextrema())) == 2:
        greys = alpha
    return greys.point(lambda level: 255 * level) if greys.getextrema()[1] == 1 else greys


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


def heat_map(x: np.ndarray) -> Image.Image:
    """Numbers (H, W) in [0, 1] as colours from black through red and yellow to white."""
    ramps = [np.clip(3 * x - start, 0, 1) for start in (0, 1, 2)]
    return Image.fromarray((np.stack(ramps, axis=-1) * 255).round().astype(np.uint8))


@contextlib.contextmanager
def _opened(path):
    """The picture `path`, of which only the header has been read. What goes wrong inside is an ImageError, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is less
            with Image.open(path, formats=KINDS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield picture
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels: {READ}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path} {_what_it_is(path)}") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow raises all kinds for broken files
        raise ImageError(f"{path}: damaged or not readable ({error})") from error


def _what_it_is(path):
    """What to say of a file that is no picture."""
    with open(path, "rb") as file:
        head = file.read(200)
    known = (said for begins, said in NOT_READ.items() if re.match(begins, head, re.DOTALL | re.IGNORECASE))
    return f"{next(known, 'is damaged or not a picture of a known kind')} ({READ})"


def _upright_size(path):
    with _opened(path) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return picture.size[::-1] if turned and picture.format != "TIFF" else picture.size  # Pillow turns TIFFs itself


def _colours_and_alpha(picture, path):
    """The picture with 8 bits per channel in mode L, RGB or CMYK, and its alpha channel, None if it has none."""
    if picture.mode.startswith("I"):  # 16-bit greys: Pillow's own conversion clips them at 255
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"{path}: greys of more than 16 bits do not define which value is white")
        opaque = levels != picture.info.get("transparency")
        alpha = None if opaque.all() else Image.fromarray(255 * opaque.astype(np.uint8))
        return Image.fromarray((levels // 257).astype(np.uint8)), alpha
    if picture.mode == "F":
        raise ImageError(f"{path}: floating-point pixels do not define which value is white")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    if not picture.has_transparency_data:
        return picture.convert(mode), None
    picture = picture.convert("RGBA")
    return picture.convert(mode), picture.getchannel("A")


def _to_srgb(picture, profile):
    """The picture as RGB in sRGB, from the colours of its ICC profile if it has one that fits."""
    if profile:
        # A profile that is damaged, or of other channels, is ignored, as browsers do.
        with contextlib.suppress(OSError, ImageCms.PyCMSError):
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return picture.convert("RGB")
