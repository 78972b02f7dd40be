"""A figure, or a whole report, inside a notebook."""

from html import escape
from pathlib import Path

from fun.reporting.figure import read_figure
from fun.reporting.page import render_figure

FIT = "this.height = Math.min(this.height, this.contentDocument.body.scrollHeight + 32)"  # a short page in a low frame


class Shown:
    """What a notebook shows as the value of a cell: a page of its own, in a frame."""

    def __init__(self, page: str, height: int):
        self.page, self.height = page, height

    def _repr_html_(self) -> str:
        size = f'width="100%" height="{self.height}" style="border: 0" onload="{FIT}"'
        return f'<iframe srcdoc="{escape(self.page)}" {size}></iframe>'


def show(path: str | Path, height: int = 700) -> Shown:
    """A figure.json as it stands in the report, with its sliders and its pictures that turn; or a report.html.

    height: of the frame at most, in pixels.

    Raises:
        FigureError: the figure is damaged or incomplete; the message names the file.
    """
    path = Path(path)
    page = render_figure(read_figure(path)) if path.suffix == ".json" else path.read_text(encoding="utf-8")
    return Shown(page, height)
