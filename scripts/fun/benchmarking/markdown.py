"""Measured numbers as tables in Markdown, without pandas, which a machine with a GPU need not have."""

import math
from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows of words as a table in Markdown."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in (headings, *rows))
    return "\n".join([first, "|---" * len(headings) + "|", *others]) + "\n"


def number(value: float) -> str:
    """A number with three significant digits, from 100 on without decimals; "not reached" for infinity."""
    if math.isinf(value):
        return "not reached"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
