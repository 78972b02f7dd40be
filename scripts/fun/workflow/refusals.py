"""Checks a document against a JSON schema, says what is wrong in one sentence, and fills in defaults."""

import contextlib
import copy
import datetime
import json
import math
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import pairwise

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

Typed = Callable[[Iterable[str | int]], str | None]  # see fun.workflow.documents

# YAML and Python have NaN and infinity, JSON does not, and no bound of a schema would catch NaN. 3.0 is not a whole number:
# JSON Schema would accept it, Python's range() does not; `checked` makes 3 of it.
_types = Draft202012Validator.TYPE_CHECKER
_finite = _types.redefine_many(
    {
        "number": lambda checker, value: (
            _types.is_type(value, "number") and (isinstance(value, int) or math.isfinite(value))
        ),
        "integer": lambda checker, value: _types.is_type(value, "integer") and isinstance(value, int),
    }
)


def _pattern(validator, pattern, value, schema):
    """The whole text must match: "$" alone would allow a newline after it, and names become names of folders."""
    if validator.is_type(value, "string") and not re.fullmatch(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _ascending(validator, wanted, value, schema):
    """The numbers of a list must not descend; what is no number is another keyword's affair."""
    numbers = [item for item in value if validator.is_type(item, "number")] if validator.is_type(value, "array") else []
    if any(a > b for a, b in pairwise(numbers)):
        yield ValidationError(f"{value} descends")


_keywords = {"pattern": _pattern, "x-ascending": _ascending}
StrictValidator = extend(Draft202012Validator, _keywords, type_checker=_finite)


def _type(validator, kinds, value, schema):
    """Where null is allowed, the text null means it: Snakemake reads --config cascade=null as text."""
    if value == "null" and "null" in kinds:
        yield ValidationError("null is nothing")
    else:
        yield from StrictValidator.VALIDATORS["type"](validator, kinds, value, schema)


UnderstandingValidator = extend(StrictValidator, {"type": _type})


def _properties(validator, properties, document, schema):
    """The keyword's own check, after filling in the default of each missing entry."""
    for entry, described in properties.items():
        if "default" in described and validator.is_type(document, "object"):
            document.setdefault(entry, copy.deepcopy(described["default"]))
    yield from StrictValidator.VALIDATORS["properties"](validator, properties, document, schema)


FillingValidator = extend(StrictValidator, {"properties": _properties})


def checked(
    document: dict, schema: dict, name: str | Callable[[Iterable], str], typed: Typed = lambda way: None
) -> dict:
    """The document, completed in place with the schema's defaults. Its entries are in the order in which they were given;
    see `canonical`. Where the schema asks for a number or a truth, one that was written in another way is understood: 1e-3,
    6000.0, and everything inside of --config 'mnist={epochs: 3}', which Snakemake reads as text.

    Args:
        name: of the document, for messages, or a function from an entry to the file that it stands in.
        typed: tells what was typed at an entry.

    Raises:
        ValueError: the document does not fit; see `check`.
    """
    if not any(_not_json(document)):
        for error in list(UnderstandingValidator(schema).iter_errors(document)):
            if error.validator in ("type", "enum") and error.absolute_path:
                *way, last = error.absolute_path
                inside = document
                for part in way:
                    inside = inside[part]
                meant = _as_meant(error.instance, error.validator_value)
                if error.validator == "type" or meant in error.validator_value:
                    inside[last] = meant
    check(document, schema, name, typed)
    for _ in FillingValidator(schema).iter_errors(document):
        pass
    return document


def canonical(entries):
    """The same entries in one form: sorted by name, and 3 for 3.0. Snakemake compares parameters as text, so that another
    order or another way to write a number would be a change."""
    if isinstance(entries, dict):
        return {key: canonical(entries[key]) for key in sorted(entries)}
    if isinstance(entries, list):
        return [canonical(entry) for entry in entries]
    return int(entries) if isinstance(entries, float) and entries.is_integer() else entries


def _as_meant(value, kinds):
    """The value as one of the kinds of a schema, if it can be read so; otherwise the value."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, yaml.YAMLError):
            value = float(value) if re.fullmatch(r"[+-]?[0-9.]+[eE][+-]?[0-9]+", value) else yaml.safe_load(value)
    if isinstance(value, float) and value.is_integer() and "integer" in kinds:
        return int(value)
    return value


def check(
    document: object, schema: dict, name: str | Callable[[Iterable], str], typed: Typed = lambda way: None
) -> None:
    """Raise ValueError with one sentence, "<name>: <entry> must be ..., not ...", unless the document fits.

    name, typed: as for `checked`.
    """

    def file_of(way):
        return name if isinstance(name, str) else name(way)

    if document is None:
        raise ValueError(f"{file_of(())} is empty")
    for entry, problem in _not_json(document):
        raise ValueError(f"{file_of(entry)}: {_way(entry)} {problem}")
    error = best_match(StrictValidator(schema).iter_errors(document))
    if error is not None:
        way = [*error.absolute_path, *_unknown(error)[:1]]
        raise ValueError(f"{file_of(way)}: {sentence(error, typed(error.absolute_path))}")


def _unknown(error):
    """The entries that nobody knows, if that is the error."""
    known = error.schema.get("properties", {})
    return sorted(set(map(str, error.instance)) - set(known)) if error.validator == "additionalProperties" else []


def _not_json(document, entry=(), inside=()):
    """Yield (entry, problem) for what YAML can express and a schema cannot check."""
    if id(document) in inside:
        yield entry, "contains itself"
    elif isinstance(document, dict):
        for key, value in document.items():
            if not isinstance(key, str):
                yield entry, f"has the entry {_short(key)}, whose name is not text: put it in quotes"
                return
            yield from _not_json(value, (*entry, key), (*inside, id(document)))
    elif isinstance(document, list):
        for i, value in enumerate(document):
            yield from _not_json(value, (*entry, str(i)), (*inside, id(document)))
    elif isinstance(document, int) and abs(document) > 10**300:
        yield entry, "is a larger number than can be used"
    elif isinstance(document, str) and any("\ud800" <= character <= "\udfff" for character in document):
        yield entry, f"has half of a character that takes two (a surrogate): {_short(document)}"


def sentence(error: ValidationError, typed: str | None = None) -> str:
    """Which entry is wrong, how, and what is allowed. typed: what was typed there, if it is known."""
    entry = _way(error.absolute_path)
    allowed, given = error.validator_value, _as_typed(error.instance, typed)
    known = error.schema.get("properties", {})
    match error.validator:
        case "additionalProperties":
            unknown = _unknown(error)[0]
            return f"{entry} has an unknown entry {_short(unknown)}{nearest(unknown, known)}; known: {', '.join(known)}"
        case "required":
            missing = [key for key in allowed if key not in error.instance]
            return f"{entry} lacks the entry {', '.join(missing)}"
        case "type":
            if "array" in allowed and "x-allowed" in error.schema:
                return f"{entry} must be {error.schema['x-allowed']}, not {given}"
            return f"{entry} must be {_either(allowed)}, not {given}{_in_quotes(error.instance, allowed, typed)}"
        case "enum":
            here = error.schema.get("x-elsewhere", {}).get(str(error.instance))
            meant = f", which is called {here} here" if here else nearest(str(error.instance), allowed)
            return f"{entry} must be one of {', '.join('null' if one is None else str(one) for one in allowed)}, not {given}{meant}"
        case "const":
            return f"{entry} must be {allowed}, not {given}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return f"{entry} must be {_bounds(error.schema)}, not {given}"
        case "multipleOf":
            return f"{entry} must be a multiple of {allowed}, not {given}"
        case "pattern":
            return f"{given} in {entry} is not allowed: it must be {error.schema['x-allowed']}"
        case "not":
            return f"{given} in {entry} is reserved"
        case "minItems" | "minProperties" | "minLength":
            return f"{entry} must have a length of at least {allowed}, not {given}"
        case "maxItems" | "maxProperties" | "maxLength":
            return f"{entry} must have a length of at most {allowed}, not {given}"
        case "x-ascending":
            return f"{entry} must be in ascending order, not {given}"
        case "uniqueItems":
            return f"{entry} must not repeat an item: {given}"
    return f"{entry}: {error.message}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for the known name that is most like a mistyped one, in brackets; "" if none is like it."""
    found = get_close_matches(name.lower(), list(map(str, known)), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _as_typed(value, typed):
    """A value, and what was typed if YAML has made something else of it. typed: as in the file, None if that is not known."""
    read = "a date" if isinstance(value, datetime.date) else _short(value)
    # What --config gives in place of a file's entry was not typed there.
    if typed is None or isinstance(value, str | list | dict) or yaml.safe_load(typed) != value:
        return read
    if typed == "":
        return f"{read} (nothing is written there)"
    with contextlib.suppress(ValueError, TypeError):
        if float(typed) == value:  # 2.50 is 2.5
            return read
    return read if typed.lower() == read else f"{typed}, which YAML reads as {read}"


def _in_quotes(value, kinds, typed):
    """What to do about a text that YAML has made something else of; "" if it has not, or if nothing was written."""
    if "string" not in kinds or value is None or isinstance(value, str | list) or typed == "":
        return ""
    return ": put text with a colon or braces in quotes" if isinstance(value, dict) else ": put it in quotes"


def _way(parts: Iterable) -> str:
    """The path of an entry, as a/b/c, with special characters escaped and long names cut off."""
    names = [json.dumps(str(part))[1:-1] for part in parts]
    return "/".join(name if len(name) <= 60 else name[:57] + "..." for name in names) or "the document"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str, skipkeys=True)
    return text if len(text) <= 80 else text[:77] + "..."


def _either(types: str | list[str]) -> str:
    names = {
        "object": "a mapping",
        "array": "a list",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
    }
    names |= {"boolean": "true or false", "null": "nothing"}
    return " or ".join(names[kind] for kind in ([types] if isinstance(types, str) else types))


def _bounds(schema: dict) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return " and ".join(f"{word} {schema[key]}" for key, word in words.items() if key in schema)
