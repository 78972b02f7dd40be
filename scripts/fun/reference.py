"""What `make docs` writes: the pages of docs/ that are made from the schemas and the docstrings, and the project's address.

The address stands in pyproject.toml, [project.urls]; README.md, CITATION.cff and the notebook follow it.
"""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from fun import api
from fun.data.files import write_whole
from fun.workflow.experiments import read_schema, tasks_of

PROJECT = Path(__file__).parents[2]
ADDRESSED = ("README.md", "CITATION.cff", "notebooks/fun.ipynb")
STAGES = ("stage_1", "stage_2")  # of an experiment: the same keys in each task
MADE = "<!-- Made by `make docs`: do not edit. -->"


def configuration() -> str:
    """docs/configuration.md: every key of config.yaml and of an experiment, with what it means, what it may be, and its default."""
    config = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text(encoding="utf-8"))
    lines = [
        "# Every key",
        MADE,
        "What `config.yaml` and the files of `experiments/` may say. A key that is not here is refused. `--config 'mnist={epochs: 3}'` on "
        "the command line sets one for a single run. Where the default is – the description says what holds, or, for how to sample, the "
        "more general setting: an experiment's `stage_1` goes before its cascade's `stage_1/sampling`, which goes before `sampling`.",
        "## config.yaml",
    ]
    sections = {name: entry for name, entry in config["properties"].items() if entry["type"] == "object"}
    lines.append(
        _table(_keys({name: entry for name, entry in config["properties"].items() if name not in sections}, config))
    )
    for name, entry in sections.items():
        lines += [f"### {name}", entry["description"], _table(_inside(name, entry, config))]
    schema = read_schema(PROJECT / "rules/experiments.schema.yaml")
    tasks = {name: schema["$defs"][name] for name in tasks_of(schema)}
    first, *others = (task["properties"] for task in tasks.values())
    shared = {key: entry for key, entry in first.items() if all(key in one for one in others)}
    lines += ["## Experiments", "Each has a `task`, and these keys:", _table(_keys(shared, schema))]
    for name in STAGES:
        lines += [
            f"### {name}",
            schema["$defs"][name]["description"],
            _table(_inside(name, schema["$defs"][name], schema)),
        ]
    for name, task in tasks.items():
        own = {key: entry for key, entry in task["properties"].items() if key not in shared}
        own |= {
            name: {"description": f"As {name} above.", "x-allowed": "keys, above", "default": {}}
            for name in STAGES
            if name in own
        }
        lines += [f"### {name}", task["description"]]
        if own:
            lines.append(_table(_keys(own, schema, task.get("required", []))))
    return "\n\n".join(lines) + "\n"


def _keys(entries, schema, required=(), above="") -> Iterator[tuple]:
    """A row (key, meaning, allowed, default) for each entry, and those of the keys inside it. above: where they stand."""
    for name, entry in entries.items():
        entry = _resolved(entry, schema)
        default = f"`{_text(entry['default'])}`" if "default" in entry else "–"
        yield (
            f"`{above}{name}`",
            entry.get("description", ""),
            _allowed(entry),
            "required" if name in required else default,
        )
        yield from _inside(f"{above}{name}", entry, schema)


def _inside(path, entry, schema) -> Iterator[tuple]:
    """The rows of the keys inside an entry: its own, or, of a list or of a mapping from names, those that each in it has."""
    each = entry.get("additionalProperties")
    named = each if isinstance(each, dict) else {}
    for one, above in ((entry, path), (named, f"{path}/NAME"), (entry.get("items", {}), path)):
        yield from _keys(one.get("properties", {}), schema, one.get("required", []), f"{above}/")


def _resolved(entry, schema):
    """An entry with what it refers to written out."""
    found = entry.get("$ref") or entry.get("then", {}).get("$ref")  # then: if it is not null
    return schema["$defs"][found.rsplit("/", 1)[1]] | entry if found else entry


def _allowed(entry) -> str:
    """What an entry may be, in words."""
    kinds = entry.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "x-allowed" in entry:
        text = entry["x-allowed"]
    elif "const" in entry or "enum" in entry:
        text = ", ".join(f"`{_text(value)}`" for value in entry.get("enum", [entry.get("const")]) if value is not None)
    elif "array" in kinds:
        items = entry.get("items", {})
        counts = _bounds(entry.get("minItems"), entry.get("maxItems"))
        of = _allowed(items) if items.get("type") != "object" else ""
        text = " ".join(filter(None, ["a list", f"of {counts}" if counts else "", f"({of})" if of else ""]))
    else:
        names = {
            "integer": "whole number",
            "number": "number",
            "boolean": "`true`, `false`",
            "string": "text",
            "object": "keys, below",
        }
        low = f"above {entry['exclusiveMinimum']}" if "exclusiveMinimum" in entry else entry.get("minimum")
        high = f"below {entry['exclusiveMaximum']}" if "exclusiveMaximum" in entry else entry.get("maximum")
        text = " ".join(filter(None, [", ".join(names[kind] for kind in kinds if kind in names), _bounds(low, high)]))
    return f"{text}; `null`" if "null" in kinds else text


def _bounds(low, high) -> str:
    """The bounds of a number, or of a count; each a number, a text such as "above 0", or None."""
    if low is not None and low == high:
        return f"{low}"
    if isinstance(low, int | float) and isinstance(high, int | float):
        return f"{low} to {high}"
    ends = [(word, end) for word, end in (("at least", low), ("at most", high)) if end is not None]
    return ", ".join(end if isinstance(end, str) else f"{word} {end}" for word, end in ends)


def _text(value) -> str:
    """A value as YAML writes it."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _table(rows) -> str:
    """Rows as a table of Markdown."""
    lines = ["| key | what it is | may be | default |", "|---|---|---|---|"]
    for row in rows:
        cells = (re.sub(r"\s+", " ", cell).replace("|", "\\|").replace("<", "&lt;") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def library() -> str:
    """docs/library.md: the names of `fun.api`, with their docstrings."""
    about = inspect.getdoc(api).split("\n\n")
    lines = [
        "# The library",
        MADE,
        about[0],
        f"```\n{inspect.cleandoc(about[1])}\n```",
        "[examples/minimal.py](../examples/minimal.py) is one screen of it.",
    ]
    for title, names in api.GROUPS.items():
        lines.append(f"## {title}")
        for name in names:
            lines += _described(name, getattr(api, name))
    return "\n\n".join(lines) + "\n"


def _described(name, thing) -> list[str]:
    """A name of the library: its signature, its docstring, and those of its methods."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return [f"### {name} = {thing!r}", "The label of an image whose class is hidden."]
    lines = [f"### {name}", f"```python\n{name}{_signature(thing)}\n```", _docstring(thing)]
    for method, defined in vars(thing).items() if inspect.isclass(thing) else ():
        function = getattr(thing, method) if isinstance(defined, classmethod) else defined
        if (
            not method.startswith("_")
            and inspect.isfunction(getattr(function, "__func__", function))
            and inspect.getdoc(function)
        ):
            lines += [f"**`{name}.{method}{_signature(function)}`**", _docstring(function)]
    return lines


def _signature(thing) -> str:
    """A signature without the names of the modules in which its types are."""
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", str(inspect.signature(thing))).replace("'", "")


def _docstring(thing) -> str:
    """A docstring as Markdown: its lists of arguments and errors stay as they are laid out."""
    first, *rest = re.split(r"\n\n(?=(?:Args|Returns|Raises):)", inspect.getdoc(thing) or "")
    return "\n\n".join([first, *(f"```\n{part}\n```" for part in rest)])


def address() -> dict[str, str]:
    """The project's addresses: "Repository" and "Report"."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]


def addressed(text: str, known: dict[str, str]) -> str:
    """A text with the addresses of `address` in place of those `known` so far; the repository's also where it is only named."""
    both = {known[name]: now for name, now in address().items()}
    both |= {
        old.removeprefix("https://github.com/"): now.removeprefix("https://github.com/") for old, now in both.items()
    }
    pattern = "|".join(re.escape(old) for old in sorted(both, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])(?:{pattern})(?![\w.-])", lambda match: both[match[0]], text)


def known_address() -> dict[str, str]:
    """The addresses that the README has."""
    found = re.findall(
        r"^\[(repository|report)\]: (\S+)$", (PROJECT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    return {name.capitalize(): url for name, url in found}


if __name__ == "__main__":
    known = known_address()
    for file in ADDRESSED:
        path = PROJECT / file
        write_whole(path, addressed(path.read_text(encoding="utf-8"), known))
    write_whole(PROJECT / "docs/configuration.md", configuration())
    write_whole(PROJECT / "docs/library.md", library())
