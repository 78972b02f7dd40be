"""Animated WebP files of turns and denoising runs, for use outside the report: lossless and deterministic."""

import math
from io import BytesIO

from PIL import Image, ImageChops, ImageOps

from fun.data.files import write_whole

SMALLEST_SIDE = 128  # pixels: smaller pictures are enlarged by a whole factor, without blurring
LARGEST_SIDE = 512  # pixels: larger ones are reduced, because a turn would take tens of megabytes
TURN_STEPS = 12  # frames from one reading to the other
ROTATIONS = {"rotate_180": 180, "rotate_90_cw": 90, "rotate_90_ccw": -90}  # degrees, clockwise


def write_animation(path, frames, duration=None):
    """Write `frames`, PIL images of one size or (image, milliseconds) pairs, as an endless animated WebP.

    duration: milliseconds of each frame that has none of its own.
    """
    timed = [frame if isinstance(frame, tuple) else (frame, duration or 100) for frame in frames]
    pictures = [enlarge(picture.convert("RGB")) for picture, _ in timed]
    durations = [milliseconds for _, milliseconds in timed]
    timing = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0}
    encoded = BytesIO()
    pictures[0].save(encoded, "WEBP", **timing, lossless=True, quality=20, method=0)
    write_whole(path, encoded.getvalue())


def enlarge(picture):
    """Enlarge a picture by the smallest whole factor that makes its short side at least SMALLEST_SIDE pixels; reduce a
    large one until its short side is LARGEST_SIDE."""
    if min(picture.size) > LARGEST_SIDE:
        return ImageOps.cover(picture, (LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    factor = math.ceil(SMALLEST_SIDE / min(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def scrub_frames(panels):
    """One frame for each state, with its panels side by side; the last frame is held.

    panels: dicts with `picture` and `state`, in order of time.
    """
    states = {}
    for panel in panels:
        states.setdefault(panel.get("state"), []).append(panel["picture"].convert("RGB"))
    frames = [(_side_by_side(pictures), 150) for pictures in states.values()]
    size = frames[0][0].size
    frames = [(frame.resize(size, Image.Resampling.NEAREST), held) for frame, held in frames]
    return frames[:-1] + [(frames[-1][0], 1500)]


def turn_frames(picture, transform, picture_after=None):
    """The frames of a picture that turns into its second reading and back, each reading held for a while."""
    picture = enlarge(picture.convert("RGB"))
    after = enlarge(picture_after.convert("RGB")) if picture_after else None
    fractions = [(1 - math.cos(math.pi * k / TURN_STEPS)) / 2 for k in range(TURN_STEPS + 1)]
    there = [(_turned(picture, transform, after, fraction), 40) for fraction in fractions]
    there[0], there[-1] = (there[0][0], 1000), (there[-1][0], 1000)
    return there + there[-2:0:-1]


def _turned(picture, transform, after, fraction):
    """The picture part of the way (fraction 0 .. 1) to its second reading."""
    if after is not None:
        return Image.blend(picture, after, fraction)
    if transform in ROTATIONS:
        return picture.rotate(-ROTATIONS[transform] * fraction, Image.Resampling.NEAREST)
    if transform == "negate":
        return Image.blend(picture, ImageChops.invert(picture), fraction)
    if transform in ("flip_vertical", "flip_horizontal"):
        return _folded(picture, transform, math.cos(math.pi * fraction))
    return picture


def _folded(picture, transform, extent):
    """The picture as seen while it turns about its middle line; extent: 1 is flat, 0 edge on, -1 flipped."""
    vertical = transform == "flip_vertical"
    if extent < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM if vertical else Image.Transpose.FLIP_LEFT_RIGHT)
    width, height = picture.size
    size = (width, max(1, round(height * abs(extent)))) if vertical else (max(1, round(width * abs(extent))), height)
    canvas = Image.new("RGB", picture.size)
    canvas.paste(picture.resize(size, Image.Resampling.NEAREST), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _side_by_side(pictures):
    gap = max(1, pictures[0].width // 16)
    height = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (sum(picture.width + gap for picture in pictures) - gap, height), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, (height - picture.height) // 2))
        left += picture.width + gap
    return canvas
