"""Two small drawings without axes: a logarithmic ruler, and a rate with its interval."""

import math

from markupsafe import Markup, escape

from fun.reporting.numerals import superscript


def ruler_svg(points, description):
    """A logarithmic ruler with a mark and a line of words for each (value, words), as wide as its container.

    Coordinates along the ruler are percentages, so that the text keeps its size on every screen.
    """
    low = math.floor(math.log10(min(value for value, _ in points)))
    high = max(math.ceil(math.log10(max(value for value, _ in points))), low + 1)
    axis = 26 * len(points) + 12
    parts = []
    for power in range(low, high + 1):
        at, anchor = _along(10.0**power, low, high)
        parts.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{axis - 4}" y2="{axis + 4}"/>')
        parts.append(
            f'<text class="tick" x="{at}" y="{axis + 20}" text-anchor="{anchor}">10{superscript(power)}</text>'
        )
    parts.append(f'<line class="axis" x1="2%" x2="98%" y1="{axis}" y2="{axis}"/>')
    for row, (value, words) in enumerate(sorted(points, key=lambda point: point[0])):
        at, _ = _along(value, low, high)
        anchor, dx = ("start", 9) if float(at[:-1]) < 50 else ("end", -9)
        y = 18 + 26 * row
        parts.append(f'<line class="stem" x1="{at}" x2="{at}" y1="{y - 8}" y2="{axis}"/>')
        parts.append(f'<circle class="dot" cx="{at}" cy="{axis}" r="5"/>')
        parts.append(f'<text class="words" x="{at}" dx="{dx}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>')
    opening = f'<svg class="ruler" width="100%" height="{axis + 26}" role="img" aria-label="{escape(description)}">'
    return Markup(f"{opening}{''.join(parts)}</svg>")


def _along(value, low, high):
    """The place of a value on a ruler from 10^low to 10^high, and how a label under it is anchored."""
    fraction = (math.log10(value) - low) / (high - low)
    anchor = "start" if fraction < 0.02 else "end" if fraction > 0.98 else "middle"
    return f"{2 + 96 * fraction:.2f}%", anchor


def interval_svg(value, low, high):
    """A percentage with its interval as a small bar from 0 to 100."""
    body = "".join(
        f'<rect class="{name}" width="{width:.1f}" height="6" y="3" rx="3"/>'
        for name, width in (("track", 100), ("part", value))
    )
    if low is not None and high is not None:
        body += f'<path class="error" d="M{low:.1f},6H{high:.1f}M{low:.1f},2.5v7M{high:.1f},2.5v7"/>'
    return Markup(
        f'<svg class="interval" viewBox="-2 0 104 12" width="104" height="12" aria-hidden="true">{body}</svg>'
    )
