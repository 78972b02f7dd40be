"""The pictures of a page, each stored in it once."""

import base64
import hashlib
from io import BytesIO

from markupsafe import Markup, escape
from PIL import Image

LARGEST_IN_PAGE = 512  # pixels of a picture's long side
LARGEST_PIXELATED = 128  # pixels: a picture whose short side is no longer is enlarged without smoothing


class Pictures:
    """The pictures of all figures, each stored once in the page.

    A picture shown in one place is an <img>. One shown in several is kept in a sheet (an SVG that is not drawn), and
    each place refers to it with <use>: the only way to show a picture twice without a script.
    """

    def __init__(self, figures, heroes):
        self._data = {}
        self._keys = {}
        uses = {}
        for figure in figures:
            for block in figure.blocks:
                for panel in block["panels"]:
                    self._add(figure, panel, uses)
        for figure, panels in heroes:
            for panel in panels:
                self._add(figure, panel, uses)
        self._sheet = [key for key, count in uses.items() if count > 1]
        self._numbers = {key: number for number, key in enumerate(self._sheet)}

    def _add(self, figure, panel, uses):
        content = figure.picture_bytes(panel["image"])
        key = hashlib.sha256(content).hexdigest()
        self._keys[figure.id, panel["image"]] = key
        self._data[key] = (content, panel["width"], panel["height"])
        uses[key] = uses.get(key, 0) + 1

    def sheet(self):
        """The pictures that are shown in several places, as an SVG that is not drawn."""
        images = [
            f'<image id="picture-{number}" width="{self._data[key][1]}" height="{self._data[key][2]}" href="{self._uri(key)}"/>'
            for number, key in enumerate(self._sheet)
        ]
        return Markup(
            f'<svg class="sheet" width="0" height="0" aria-hidden="true"><defs>{"".join(images)}</defs></svg>'
        )

    def show(self, figure, panel, alt=None):
        """The element that shows a panel's picture. alt: replaces the panel's own; "" for a mere decoration."""
        key = self._keys[figure.id, panel["image"]]
        _, width, height = self._data[key]
        alt = panel["alt"] if alt is None else alt
        name = "picture pixelated" if min(width, height) <= LARGEST_PIXELATED else "picture"
        size = f'class="{name}" width="{width}" height="{height}"'
        if key not in self._numbers:
            return Markup(f'<img {size} src="{self._uri(key)}" alt="{escape(alt)}">')
        role = f'role="img" aria-label="{escape(alt)}"' if alt else 'aria-hidden="true"'
        use = f'<use href="#picture-{self._numbers[key]}"/>'
        return Markup(f'<svg {size} viewBox="0 0 {width} {height}" {role}>{use}</svg>')

    def _uri(self, key):
        kind, content = _for_the_page(self._data[key][0])
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _for_the_page(png):
    """(kind, content) of a picture in the page. A large one is reduced and stored as WebP if that takes fewer bytes:
    otherwise a page of photos would take tens of megabytes. The PNG stays beside its figure."""
    with Image.open(BytesIO(png)) as picture:
        if min(picture.size) <= LARGEST_PIXELATED:
            return "png", png
        picture.thumbnail((LARGEST_IN_PAGE, LARGEST_IN_PAGE), Image.Resampling.LANCZOS)
        encoded = BytesIO()
        picture.save(encoded, "WEBP", quality=90, method=4)
    return ("webp", encoded.getvalue()) if len(encoded.getvalue()) < len(png) else ("png", png)
