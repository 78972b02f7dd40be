"""The table of a benchmark: a row for each thing measured, with its range and the goal that was set for it."""

import math
from collections.abc import Iterable

import pandas as pd

from fun.benchmarking.markdown import markdown_table, number

COLOURS = ("#0b6a94", "#2f86ad", "#5aa5c8", "#b34a00", "#1f7a4d", "#96387f")
STYLE = (
    ".grid,.axis{stroke:#999;stroke-width:.5;fill:none}.line{fill:none;stroke:var(--c);stroke-width:2}"
    ".marker{fill:var(--c)}text{font:13px sans-serif;fill:#333}"
)


class Table:
    def __init__(self):
        self.rows = []

    def add(
        self,
        part: str,
        what: str,
        values: Iterable[float],
        unit: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a row: the median and range of the values. Infinity stands for never reached."""
        values = sorted(value for value in map(float, values) if not math.isnan(value))
        median = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        row = {"part": part, "what": what, "unit": unit, "median": median, "lowest": values[0], "highest": values[-1]}
        row |= {"of": len(values), "goal": "", "met": ""}
        if at_least is not None:
            row |= {"goal": f"at least {at_least:g}", "met": "yes" if median >= at_least else "no"}
        if at_most is not None:
            row |= {"goal": f"at most {at_most:g}", "met": "yes" if median <= at_most else "no"}
        self.rows.append(row)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def markdown(self) -> str:
        """The table in Markdown, for the docs."""
        rows = []
        for row in self.rows:
            unit = f" {row['unit']}" if row["unit"] and math.isfinite(row["median"]) else ""
            spread = f"{number(row['lowest'])} – {number(row['highest'])}" if row["of"] > 1 else ""
            cells = [row["part"], row["what"], number(row["median"]) + unit, spread, row["goal"], row["met"]]
            rows.append(cells)
        return markdown_table(("", "", "median", "range", "goal", "met"), rows)

    @staticmethod
    def standalone(svg: str, series: list[dict]) -> str:
        """A chart of fun.reporting.charts as a file of its own, with the colours that the report's page would give it and
        a legend."""
        colours = "".join(f".s{i}{{--c:{colour}}}" for i, colour in enumerate(COLOURS))
        legend = "".join(
            f'<text x="390" y="{200 - 15 * i}" text-anchor="end" style="fill:{COLOURS[i]}">{one["name"]}</text>'
            for i, one in enumerate(series)
        )
        head, body = str(svg).split(">", 1)  # no longer Markup, which would escape what is added
        head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="800" ')
        return f"{head}><style>{STYLE}{colours}</style>{body.removesuffix('</svg>')}{legend}</svg>\n"


def seconds_to(runs: pd.DataFrame, score: str, target: float) -> float:
    """The seconds after which a contender's score first reached the target; infinity if it never did."""
    good = runs[runs[score] >= target] if score == "class_accuracy" else runs[runs[score] <= target]
    return float(good["seconds"].min()) if len(good) else math.inf


def shares(jobs: pd.DataFrame) -> tuple[float, float]:
    """Seconds of a whole run on one core: outside useful work, and in all. Each planned job counts as long, and takes as
    long to start, as the measured ones of its rule; the time between two jobs is added."""
    outside = (jobs["planned"] * (jobs["first_step"].clip(upper=jobs["seconds"]) + jobs["between"])).sum()
    return float(outside), float((jobs["planned"] * (jobs["seconds"] + jobs["between"])).sum())
