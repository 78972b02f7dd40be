"""A figure on disk: `figure.json`, with its pictures beside it in `figure/`.

Everything that makes pictures writes figures with `write_figure`; the report reads them with `read_figure` and knows
nothing else about where a picture came from. `resources/report/figure.schema.json` describes every entry of the file.
"""

import csv
import hashlib
import json
import shutil
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import jsonschema
from PIL import Image

from fun.data.files import write_json, write_whole
from fun.reporting.animation import scrub_frames, turn_frames, write_animation
from fun.reporting.file_names import name_panels, number_name, slug

SCHEMA_PATH = Path(__file__).parents[3] / "resources" / "report" / "figure.schema.json"
VERSION = 2
MAX_PIXELS = 4096 * 4096  # a larger picture is a mistake, and would not fit on a page


class FigureError(ValueError):
    """A figure that breaks the contract. The message names the file and the entry."""


@dataclass(frozen=True)
class Figure:
    """One figure as read from disk: the entries of figure.json, and the folder that holds it."""

    folder: Path
    id: str
    title: str
    caption: str
    note: str
    section: str
    blocks: list
    metrics: list
    provenance: dict

    def picture_bytes(self, image):
        """The PNG file that a panel's `image` names, as bytes."""
        return (self.folder / image).read_bytes()


def write_figure(folder, *, id, title, caption, section, blocks, metrics=(), provenance=None, stimuli=(), note=""):
    """Write `folder/figure.json`, its pictures and its animations, and return the path of figure.json.

    blocks: as in figure.json, but a panel holds a PIL image: `picture` instead of `image`, `width` and `height`. Equal
    pictures are stored once. Panels of a scrub or flip that share a `state` are shown side by side.
    stimuli: rows of `figure/stimuli.csv`, dicts with the same keys, if there are any. `file` is a picture that a panel
    shows, too; its file's name stands in the table.

    Each sample of a flip and every scrub block also gets an animated WebP in `folder/figure/`. figure.json is written last,
    so that an interrupted job leaves none. Raises FigureError if the result would break the contract.
    """
    folder = Path(folder)
    path = folder / "figure.json"
    path.unlink(missing_ok=True)
    shutil.rmtree(folder / "figure", ignore_errors=True)
    (folder / "figure").mkdir(parents=True)
    names = _name_pictures(blocks)
    document = {
        "version": VERSION,
        "id": id,
        "title": title,
        "caption": caption,
        "note": note,
        "section": section,
        "blocks": [_store_block(folder, block, names) for block in blocks],
        "metrics": list(metrics),
        "provenance": dict(provenance or {}),
    }
    if stimuli:
        _write_table(folder / "figure" / "stimuli.csv", stimuli, names)
    try:
        # a scalar of numpy or torch becomes a number; NaN and infinity are not JSON
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, default=lambda value: value.item())
    except (ValueError, AttributeError) as error:
        raise FigureError(f"{path}: an entry cannot be written as JSON: {error}") from error
    document = json.loads(text)
    document["sha256"] = checksum(folder, document)
    _validate(document, path)
    write_json(path, document)
    return path


def read_figure(path):
    """Read and check one figure.json.

    Raises FigureError, naming the file and the entry, if the file is not JSON or does not follow the schema, if a picture
    is missing, damaged, too large or not of the stated size, or if anything has changed since it was written.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FigureError(f"{path}: not a JSON file: {error}") from error
    _validate(document, path)
    for entry, panel in _panels(document):
        _check_picture(path, f"{entry}/image", panel["image"], (panel["width"], panel["height"]))
    if checksum(path.parent, document) != document["sha256"]:
        raise FigureError(f"{path}: it or a file in figure/ beside it has changed (the SHA-256 differs): delete it")
    fields = ("id", "title", "caption", "note", "section", "blocks", "metrics", "provenance")
    return Figure(path.parent, *(document[field] for field in fields))


def row_of(block, index):
    """The label of the row of a grid that holds the panel of that index; "" if the rows have no labels."""
    row = index // block.get("columns", 1)
    return "".join(block.get("rows", [])[row : row + 1])


def checksum(folder, document):
    """SHA-256 of the entries of figure.json and of the files in figure/ beside it."""
    said = json.dumps({key: entry for key, entry in document.items() if key != "sha256"}, sort_keys=True)
    digest = hashlib.sha256(said.encode())
    for file in sorted(
        (folder / "figure").glob("[!.]*")
    ):  # Snakemake keeps a file of its own there: .snakemake_timestamp
        digest.update(f"\n{file.name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _store_block(folder, block, names):
    """Store a block's pictures and animations, and return the block as figure.json has it."""
    stored = dict(block)
    panels = block.get("panels", [])
    stored["panels"] = [_store_panel(folder, panel, names) for panel in panels]
    if block["layout"] == "scrub" and panels:
        name = f"scrub_{slug(block.get('title', ''))}".rstrip("_")
        stored["animation"] = _store_animation(folder, name, scrub_frames(panels))
    if block["layout"] == "flip":
        readings = {}
        for panel, entry in zip(panels, stored["panels"], strict=True):
            readings.setdefault(panel.get("state"), []).append((panel, entry))
        for (first, entry), *others in readings.values():
            frames = [frame for panel, _ in others for frame in _turn(first, panel)]
            if frames:
                entry["animation"] = _store_animation(folder, f"turn_{Path(entry['image']).stem}", frames)
    return stored


def _turn(first, panel):
    """The frames of a flip's first picture that turns into another of its readings, and back."""
    transform = panel.get("transform")
    return turn_frames(first["picture"], transform, None if transform else panel["picture"])


def _store_animation(folder, name, frames):
    taken = {file.stem for file in (folder / "figure").glob("*.webp")}
    path = f"figure/{number_name(name, taken)}.webp"
    write_animation(folder / path, frames)
    return path


def _store_panel(folder, panel, names):
    """Store a panel's picture as PNG, unless an equal one is already stored, and return the panel as figure.json has it."""
    stored = {key: value for key, value in panel.items() if key != "picture"}
    key = _content(panel["picture"])
    stored["image"] = f"figure/{names[key]}.png"
    if not (folder / stored["image"]).exists():
        encoded = BytesIO()
        bare = Image.frombytes(*key)  # without the metadata of the file that the picture came from
        bare.save(encoded, "PNG", optimize=True)
        write_whole(folder / stored["image"], encoded.getvalue())
    stored["width"], stored["height"] = panel["picture"].size
    made = panel.get("provenance", {})
    interval = {key: " – ".join(map(str, made[key])) for key in ("guidance_interval",) if key in made}
    stored["provenance"] = made | interval
    return stored


def _write_table(path, rows, names):
    text = StringIO()
    table = csv.DictWriter(text, rows[0], lineterminator="\n")
    table.writeheader()
    table.writerows(row | {"file": f"{names[_content(row['file'])]}.png"} for row in rows)
    write_whole(path, text.getvalue())


def _name_pictures(blocks):
    """{content of a picture: its name} for all pictures of a figure."""
    shown = [(panel, row_of(block, index)) for block in blocks for index, panel in enumerate(block.get("panels", []))]
    return name_panels(*zip(*shown, strict=True), [_content(panel["picture"]) for panel, _ in shown]) if shown else {}


def _content(picture):
    """Mode, size and bytes of a picture as it is stored."""
    picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    return picture.mode, picture.size, picture.tobytes()


def _validate(document, path):
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(document))
    if error is not None:
        entry = "/".join(str(part) for part in error.absolute_path) or "the document"
        raise FigureError(f"{path}: {entry}: {error.message[:300]}")
    for number, block in enumerate(document["blocks"]):
        if "rows" in block and len(block["rows"]) * block["columns"] != len(block["panels"]):
            raise FigureError(f"{path}: blocks/{number}/rows: {len(block['panels'])} panels do not fill them")
        for index, series in enumerate(block.get("chart", {}).get("series", [])):
            if any(len(series[key]) != len(series["x"]) for key in ("y", "low", "high") if key in series):
                raise FigureError(f"{path}: blocks/{number}/chart/series/{index}: x, y, low and high differ in length")


def _panels(document):
    """Each panel of the document with the name of its entry."""
    for number, block in enumerate(document["blocks"]):
        for index, panel in enumerate(block["panels"]):
            yield f"blocks/{number}/panels/{index}", panel


def _check_picture(path, entry, name, size):
    try:
        with Image.open(path.parent / name, formats=("PNG",)) as picture:
            if picture.size != size:
                raise FigureError(f"{path}: {entry}: {name} is {picture.size}, but figure.json says {size}")
            if size[0] * size[1] > MAX_PIXELS:
                raise FigureError(f"{path}: {entry}: {name} has more than {MAX_PIXELS} pixels")
            picture.load()
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise FigureError(f"{path}: {entry}: {name} cannot be read as PNG: {error}") from error
