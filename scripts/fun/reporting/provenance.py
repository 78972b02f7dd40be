"""What made the pictures, as tables: what they have in common once, and a row for each with what differs."""

import shlex
from pathlib import Path

from fun.reporting.numerals import number_text

HIDDEN = {"licence"}  # shown elsewhere
PATHS = {
    "model",
    "judge",
    "data",
    "prompt_embeds",
    "image",
    "mask",
    "experiments",
}  # entries that may name a file or folder
MISSING = object()


def made_table(figure, block):
    """What made the pictures of a block, as (common, columns, rows): what all have in common, [(key, text, whether it is said
    of the whole figure)]; the other keys, [key]; and a row of texts for each panel, None for a picture that nothing made."""
    made = [figure.provenance | panel["provenance"] if panel["provenance"] else None for panel in block["panels"]]
    drawn = [entries for entries in made if entries] or [figure.provenance]
    keys = dict.fromkeys(key for entries in drawn for key, value in entries.items() if value is not None)
    keys = [key for key in keys if key not in HIDDEN]
    shared = [key for key in keys if len({repr(entries.get(key, MISSING)) for entries in drawn}) == 1]
    columns = [key for key in keys if key not in shared]
    common = [(key_text(key), value_text(drawn[0][key]), key in figure.provenance) for key in shared]
    rows = [entries and [value_text(entries.get(key)) for key in columns] for entries in made]
    return common, [key_text(key) for key in columns], rows


def command_of(figure, options):
    """The command that makes the figure again. options: those that gave the run its configuration, quoted for a shell."""
    return f"snakemake --cores 1 {shlex.quote((figure.folder / 'figure.json').as_posix())} {options}".rstrip()


def made_with(figures, key):
    """The distinct values of an entry of provenance, over all panels, in order of appearance; None is left out."""
    values = []
    for figure in figures:
        made = [panel["provenance"] for block in figure.blocks for panel in block["panels"]]
        values += [entries[key] for entries in (figure.provenance, *made) if entries.get(key) is not None]
    return list(dict.fromkeys(values))


def without_folders(value, entry=None):
    """The configuration with every absolute path cut to its last part, to hide where things are on a machine. Only in entries
    that name files: a prompt may begin with a slash."""
    if isinstance(value, dict):
        return {key: without_folders(inside, key) for key, inside in value.items()}
    if isinstance(value, list):
        return [without_folders(inside, entry) for inside in value]
    hidden = entry in PATHS and isinstance(value, str) and Path(value).is_absolute()
    return f"…/{Path(value).name}" if hidden else value


def key_text(key):
    """The name of an entry in words: "guidance_scale" is "guidance scale"."""
    return key.replace("_", " ")


def value_text(value):
    """A value as one would type it: no thousands separators; an empty prompt is "(empty)"."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.6g}"
        return number_text(value) if "e" in text or abs(value) < 1e-3 else text
    return str(value) if value != "" else "(empty)"
