"""An illusion to print: a sheet of A4 for each picture and view, with the lines to cut along and what to do."""

import time
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fun.data.images import to_picture
from fun.diffusion.views import View, cuts, make_view

DPI = 150
SHEET = (round(8.27 * DPI), round(11.69 * DPI))  # pixels
PICTURE, SMALL, MARGIN = round(6.7 * DPI), round(2.2 * DPI), round(0.78 * DPI)
INK, LINE = (30, 30, 30), (230, 0, 120)
MOST_CUT = 0.25  # of the borders between pixels: beyond that nobody would cut it
WHAT_TO_DO = {
    "negate": "Look at it in negative: photograph it, and invert the colours.",
    "flip_vertical": "Hold it above a mirror that lies on the table, or against the light, upside down.",
    "flip_horizontal": "Hold it in front of a mirror, or against the light from behind.",
    "rotate_90_cw": "Turn it by a quarter to the right.",
    "rotate_90_ccw": "Turn it by a quarter to the left.",
    "rotate_180": "Turn it upside down.",
    "inner_circle": "Cut out the disc, and turn it by half.",
    "square_hinge": "Cut out the squares, and turn each by a quarter, neighbours in opposite directions.",
}


def printout(pictures: np.ndarray, seeds: list[int], views: list[dict], grid: int) -> bytes:
    """A PDF of an anagram, the same to the byte each time.

    Args:
        pictures: (N, 3, H, W) in about [-1, 1], as they were drawn.
        seeds: N, for the captions.
        views: of the experiment; each with "view", "prompt" and "seed".
        grid: the side of stage I's pictures in pixels.
    """
    first, *others = [(make_view(view["view"], grid, view["seed"]), view["prompt"]) for view in views]
    sheets = [_sheet(x, seed, first, other) for x, seed in zip(pictures, seeds, strict=True) for other in others]
    encoded, made = BytesIO(), time.gmtime(0)
    dates = {"creationDate": made, "modDate": made}
    sheets[0].save(encoded, "PDF", save_all=True, append_images=sheets[1:], resolution=DPI, quality=95, **dates)
    return encoded.getvalue()


def _sheet(x, seed, first, other):
    """A picture as the first view shows it, and how to see the other one."""
    (view, prompt), (view_after, prompt_after) = first, other
    sheet = Image.new("RGB", SHEET, "white")
    draw, left = ImageDraw.Draw(sheet), (SHEET[0] - PICTURE) // 2
    picture = to_picture(view.view(x))
    resample = Image.Resampling.NEAREST if picture.width < 128 else Image.Resampling.LANCZOS
    sheet.paste(picture.resize((PICTURE, PICTURE), resample), (left, MARGIN))
    # What is printed is the first view; the other one rearranges the picture as it was drawn.
    across = cuts(view_after, picture.width) if view == View(grid=view.grid, seed=view.seed) else None
    cut = across is not None and 0 < np.mean([edge.mean() for edge in across]) < MOST_CUT
    if cut:
        _draw_cuts(draw, across, picture.width, left, MARGIN)
    top = MARGIN + PICTURE + MARGIN // 2
    small = to_picture(view_after.view(x)).resize((SMALL, SMALL), resample)
    sheet.paste(small, (left + PICTURE - SMALL, top))
    words = WHAT_TO_DO.get(view_after.name) or (
        "Cut along the lines, and lay the pieces as on the right." if cut else "The second picture is on the right."
    )
    lines = [f'"{prompt}"', words, f'"{prompt_after}"', f"seed {seed}"]
    _write(draw, lines, (left, top), PICTURE - SMALL - MARGIN // 2)
    return sheet


def _draw_cuts(draw, across, size, left, top):
    """A line along each border that is cut."""
    scale = PICTURE / size
    in_rows, in_columns = across
    for y, x in zip(*in_rows.nonzero(), strict=True):
        at = left + (x + 1) * scale
        draw.line([at, top + y * scale, at, top + (y + 1) * scale], fill=LINE, width=2)
    for y, x in zip(*in_columns.nonzero(), strict=True):
        at = top + (y + 1) * scale
        draw.line([left + x * scale, at, left + (x + 1) * scale, at], fill=LINE, width=2)


def _write(draw, lines, place, width):
    """Lines of text below each other, broken where they are wider than `width` pixels."""
    font, (x, y) = ImageFont.load_default(DPI // 6), place
    for line in lines:
        words, row = line.split(), ""
        for word in [*words, None]:
            if word is None or (row and draw.textlength(f"{row} {word}", font) > width):
                draw.text((x, y), row, INK, font)
                y, row = y + DPI // 4, ""
            row = f"{row} {word}".strip()
        y += DPI // 12
