"""Charts as inline SVG: no colours of their own (the page's CSS gives them), no script, the same bytes each time.

A chart is an entry of figure.json: {kind, x: axis, y: axis, series: [{name, x, y, low?, high?}]}.
"""

import math
from itertools import pairwise

from markupsafe import Markup, escape

from fun.reporting.numerals import number_text, superscript

WIDTH, HEIGHT = 400, 275  # user units, about the pixels of a phone, so that the text stays legible there
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 14, 46
MARKERS = {  # a shape for each series, so that they differ without colour; centred on the origin
    0: "M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z",
    1: "M-3.2,-3.2h6.4v6.4h-6.4z",
    2: "M0,-4.4L4.2,3.2H-4.2z",
    3: "M0,-4.6L4.6,0L0,4.6L-4.6,0z",
    4: "M0,4.4L4.2,-3.2H-4.2z",
    5: "M-4,-1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z",
}
MOST_MARKERS = 20  # a curve with more points is drawn without markers, which would hide each other


def chart_svg(chart, description):
    """The chart as an SVG element.

    description: the text for screen readers; the numbers belong in a table beside the chart.
    """
    horizontal = _words_axis(chart) if _has_words(chart) else _number_axis(chart, "x", LEFT, WIDTH - RIGHT)
    vertical = _number_axis(chart, "y", HEIGHT - BOTTOM, TOP, from_zero=chart["kind"] == "bar")
    draw = _bars if chart["kind"] == "bar" else _curve
    count = len(chart["series"])
    body = "".join(draw(series, number, count, horizontal, vertical) for number, series in enumerate(chart["series"]))
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        f"{_frame(chart, horizontal, vertical)}{body}</svg>"
    )


def marker_svg(number, kind):
    """The marker of a series, for the legend."""
    if kind == "bar":
        shape = '<rect class="bar" x="-6" y="-5" width="12" height="10"/>'
    else:
        shape = f'<path class="line" d="M-11,0H11"/><path class="marker" d="{MARKERS[number]}"/>'
    return Markup(
        f'<svg class="key s{number}" viewBox="-11 -6 22 12" width="22" height="12" aria-hidden="true">{shape}</svg>'
    )


def chart_table(chart):
    """The numbers behind a chart: (headings, rows), every cell a string; a row for each x, a column for each series."""
    headings = [axis_title(chart["x"])]
    cells = {}
    for number, series in enumerate(chart["series"]):
        headings.append(series["name"])
        for index, x in enumerate(series["x"]):
            cells.setdefault(x, {})[number] = _cell(series, index)
    keys = list(cells) if _has_words(chart) else sorted(cells)
    rows = [[number_text(x), *(cells[x].get(number, "") for number in range(len(chart["series"])))] for x in keys]
    return headings, rows


def axis_title(axis):
    """The label of an axis with its unit."""
    return f"{axis['label']} ({axis['unit']})" if axis.get("unit") else axis["label"]


def ticks(low, high, log=False):
    """Round numbers to mark on an axis from low to high, both ends included."""
    if log:
        first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        stride = max(1, math.ceil((last - first) / 6))
        steps = (1, 2, 5) if last - first <= 2 else (1,)
        marks = [step * 10.0**power for power in range(first, last + 1, stride) for step in steps]
        return [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]
    step = _round_step((high - low) / 5)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _round_step(rough):
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _number_axis(chart, name, start, end, from_zero=False):
    """(place, ticks): a function from a value to a coordinate, and the marks as (value, text)."""
    axis = chart[name]
    values = [v for series in chart["series"] for v in series[name] if v is not None]
    if name == "y":
        ends = [end for series in chart["series"] for key in ("low", "high") for end in series.get(key, [])]
        values += [end for end in ends if end is not None]
    log = axis.get("log", False)
    if log:
        values = [value for value in values if value > 0]
    low, high = axis.get("min", min(values, default=1)), axis.get("max", max(values, default=1))
    if from_zero and not log:
        low, high = min(low, 0), max(high, 0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    if name == "y" and log:
        low, high = (low if "min" in axis else low * 0.9), (high if "max" in axis else high * 1.1)
    elif name == "y":  # the axis ends at round numbers
        step = _round_step((high - low) / 5)
        low = low if "min" in axis else math.floor(low / step + 1e-9) * step
        high = high if "max" in axis else math.ceil(high / step - 1e-9) * step
    scale = math.log10 if log else float

    def place(value):
        value = max(low, min(high, value))
        return start + (end - start) * (scale(value) - scale(low)) / (scale(high) - scale(low))

    return place, [(value, _tick_text(value, log)) for value in ticks(low, high, log)]


def _words_axis(chart):
    """Like _number_axis, for bars over words: word k is in the middle of the k-th of equal parts."""
    words = list(dict.fromkeys(str(x) for series in chart["series"] for x in series["x"]))
    part = (WIDTH - RIGHT - LEFT) / len(words)
    centres = {word: LEFT + part * (k + 0.5) for k, word in enumerate(words)}
    return (lambda x: centres[str(x)]), [(word, word) for word in words]


def _has_words(chart):
    return chart["kind"] == "bar" or any(isinstance(x, str) for series in chart["series"] for x in series["x"])


def _tick_text(value, log):
    if log and (value >= 10_000 or value < 0.001):
        exponent = math.floor(math.log10(value) + 1e-9)
        factor = round(value / 10.0**exponent)
        return ("" if factor == 1 else f"{factor} × ") + f"10{superscript(exponent)}"
    return number_text(int(value) if value == int(value) else value)


def _frame(chart, horizontal, vertical):
    """Grid lines, ticks and titles of both axes."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value, text in vertical[1]:
        y = f"{vertical[0](value):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT},{y}H{right}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y}" dy="0.35em" text-anchor="end">{escape(text)}</text>')
    longest = max((len(text) for _, text in horizontal[1]), default=1)
    small = " small" if longest * len(horizontal[1]) > 44 else ""
    for value, text in horizontal[1]:
        x = f"{horizontal[0](value):.1f}"
        parts.append(f'<path class="grid" d="M{x},{bottom}v4"/>')
        parts.append(f'<text class="tick{small}" x="{x}" y="{bottom + 17}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT},{bottom}H{right}"/>')
    below = f'x="{(LEFT + right) / 2}" y="{HEIGHT - 8}"'
    beside = f'transform="translate(13 {(TOP + bottom) / 2}) rotate(-90)"'
    for name, where in (("x", below), ("y", beside)):
        parts.append(f'<text class="title" {where} text-anchor="middle">{escape(axis_title(chart[name]))}</text>')
    return "".join(parts)


def _curve(series, number, _, horizontal, vertical):
    """One series as error band, line and markers; a null point interrupts the line."""
    runs = [[]]
    for index, (x, y) in enumerate(zip(series["x"], series["y"], strict=True)):
        if y is None:
            runs.append([])
        else:
            runs[-1].append((index, horizontal[0](x), vertical[0](y)))
    parts = []
    for run in runs:
        banded = [(x, series["low"][i], series["high"][i]) for i, x, _ in run if "low" in series and "high" in series]
        banded = [(x, low, high) for x, low, high in banded if low is not None and high is not None]
        if len(banded) > 1:
            edge = [f"{x:.1f},{vertical[0](low):.1f}" for x, low, _ in banded]
            edge += [f"{x:.1f},{vertical[0](high):.1f}" for x, _, high in reversed(banded)]
            parts.append(f'<path class="band" d="M{"L".join(edge)}z"/>')
        if len(run) > 1:
            parts.append(f'<path class="line" d="M{"L".join(f"{x:.1f},{y:.1f}" for _, x, y in run)}"/>')
        if len(series["x"]) <= MOST_MARKERS:
            for index, x, y in run:
                label = escape(f"{series['name']}: {number_text(series['x'][index])}, {_cell(series, index)}")
                shape = f'<path class="marker" transform="translate({x:.1f} {y:.1f})" d="{MARKERS[number]}">'
                parts.append(f"{shape}<title>{label}</title></path>")
    return f'<g class="s{number}">{"".join(parts)}</g>'


def _bars(series, number, count, horizontal, vertical):
    """One series as bars over the words of the x axis, with error bars."""
    places = sorted({horizontal[0](value) for value, _ in horizontal[1]})
    part = min((b - a for a, b in pairwise(places)), default=WIDTH - RIGHT - LEFT)
    width = min(0.72 * part / count, 46)
    zero = HEIGHT - BOTTOM if vertical[1] and vertical[1][0][0] > 0 else vertical[0](0)
    parts = []
    for index, (word, y) in enumerate(zip(series["x"], series["y"], strict=True)):
        if y is None:
            continue
        left = horizontal[0](word) + (number - count / 2) * width
        top, bottom = sorted((vertical[0](y), zero))
        label = escape(f"{series['name']}, {word}: {_cell(series, index)}")
        parts.append(
            f'<rect class="bar" x="{left + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" height="{bottom - top:.1f}">'
            f"<title>{label}</title></rect>"
        )
        low, high = (series.get(key, [None] * (index + 1))[index] for key in ("low", "high"))
        if low is not None and high is not None:
            middle = left + width / 2
            parts.append(
                f'<path class="error" d="M{middle:.1f},{vertical[0](low):.1f}V{vertical[0](high):.1f}'
                f'M{middle - 4:.1f},{vertical[0](low):.1f}h8M{middle - 4:.1f},{vertical[0](high):.1f}h8"/>'
            )
    return f'<g class="s{number}">{"".join(parts)}</g>'


def _cell(series, index):
    """A value with its interval, as text."""
    text = number_text(series["y"][index])
    low, high = (series.get(key, [None] * (index + 1))[index] for key in ("low", "high"))
    return text if low is None or high is None else f"{text} ({number_text(low)} – {number_text(high)})"
