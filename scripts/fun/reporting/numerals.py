"""Numbers as text for readers."""

import math


def number_text(value):
    """A number as text: at most four significant digits, thousands separated; words stay as they are."""
    if value is None:
        return "–"
    if isinstance(value, (str, bool)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 9999.5:  # rounds to five digits
        return f"{round(value):,}".replace(",", "\u202f").replace("-", "−")
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa} × 10{superscript(int(exponent))}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def percent_text(share):
    """A share from 0 to 1 as a percentage: 0.98765 is 98.77 %."""
    return f"{number_text(100 * share)}\u00a0%"


def superscript(exponent):
    """An integer exponent in superscript digits."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def size_text(value):
    """A count in thousands, millions, billions or trillions, to three digits: 388000 is 388 thousand."""
    for power, word in ((12, "trillion"), (9, "billion"), (6, "million"), (3, "thousand")):
        if value >= 0.9995 * 10**power:  # rounds to 1
            return f"{value / 10**power:.3g} {word}"
    return f"{value:.3g}"


def factor_text(ratio):
    """A ratio to two significant digits: 11107 is 11 000, 2.296 is 2.3."""
    digits = 1 - math.floor(math.log10(ratio))
    return number_text(round(ratio, digits) if digits > 0 else round(ratio / 10**-digits) * 10**-digits)


def exponent_text(ratio):
    """The base-10 logarithm of a ratio, to one decimal: 11107 is 4.0."""
    return f"{math.log10(ratio):.1f}"
