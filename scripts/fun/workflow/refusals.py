"""Checks a document against a JSON schema, says what is wrong in one sentence, and fills in defaults."""

import copy
import json
import math
import re
from collections.abc import Iterable

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

# YAML and Python have NaN and infinity, JSON does not, and no bound of a schema would catch NaN. 3.0 is not accepted as a
# whole number: JSON Schema would accept it, Python's range() does not.
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


StrictValidator = extend(Draft202012Validator, {"pattern": _pattern}, type_checker=_finite)


def _properties(validator, properties, document, schema):
    """The keyword's own check, after filling in the default of each missing entry."""
    for entry, described in properties.items():
        if "default" in described and validator.is_type(document, "object"):
            document.setdefault(entry, copy.deepcopy(described["default"]))
    yield from StrictValidator.VALIDATORS["properties"](validator, properties, document, schema)


FillingValidator = extend(StrictValidator, {"properties": _properties})


def checked(document: dict, schema: dict, name: str) -> dict:
    """The document, completed in place with the schema's defaults. Its entries are in the order in which they were given;
    see `canonical`.

    Raises:
        ValueError: the document does not fit; see `check`.
    """
    check(document, schema, name)
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


def check(document: object, schema: dict, name: str) -> None:
    """Raise ValueError with one sentence, "<name>: <entry> must be ..., not ...", unless the document fits."""
    for entry, problem in _not_json(document):
        raise ValueError(f"{name}: {_way(entry)} {problem}")
    error = best_match(StrictValidator(schema).iter_errors(document))
    if error is not None:
        raise ValueError(f"{name}: {sentence(error)}")


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


def sentence(error: ValidationError) -> str:
    """Which entry is wrong, how, and what is allowed."""
    entry = _way(error.absolute_path)
    allowed, given = error.validator_value, _short(error.instance)
    known = ", ".join(map(str, error.schema.get("properties", {})))
    match error.validator:
        case "additionalProperties":
            unknown = sorted(set(map(str, error.instance)) - set(error.schema.get("properties", {})))
            return f"{entry} has an unknown entry {_short(unknown[0])}; known: {known}"
        case "required":
            missing = [key for key in allowed if key not in error.instance]
            return f"{entry} lacks the entry {', '.join(missing)}"
        case "type":
            return f"{entry} must be {_either(allowed)}, not {given}"
        case "enum":
            return f"{entry} must be one of {', '.join(map(str, allowed))}, not {given}"
        case "const":
            return f"{entry} must be {allowed}, not {given}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return f"{entry} must be {_bounds(error.schema)}, not {given}"
        case "multipleOf":
            return f"{entry} must be a multiple of {allowed}, not {given}"
        case "pattern":
            return f"{given} in {entry} is not allowed: it must match {allowed}"
        case "not":
            return f"{given} in {entry} is reserved"
        case "minItems" | "minProperties" | "minLength":
            return f"{entry} must have a length of at least {allowed}, not {given}"
        case "maxItems" | "maxProperties" | "maxLength":
            return f"{entry} must have a length of at most {allowed}, not {given}"
        case "uniqueItems":
            return f"{entry} must not repeat an item: {given}"
    return f"{entry}: {error.message}"


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
