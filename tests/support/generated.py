"""Hypothesis strategies: documents that fit a JSON schema, and documents with one entry spoilt."""

import copy
import datetime
import math

from hypothesis import strategies as st

# Text that means something to a shell, a browser, a path, a format string, or a YAML parser.
HOSTILE = [
    "",
    " ",
    ".",
    "..",
    "../../evil",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a\nb",
    "a\0b",
    "-rf",
    "~",
    "$(touch evil)",
    "`touch evil`",
    "; touch evil",
    "| touch evil",
    "'",
    '"',
    "{dog}",
    "{0.__class__}",
    "{{ 7 * 7 }}",
    "<script>alert(1)</script>",
    "&amp;",
    "naïve",
    "Ünïcödé",
    "\u202egnp",
    "🐕",
    "CON",
    "null",
    "yes",
    "1e3",
    "x" * 5000,
    "__proto__",
    "stage_1",
    "con.fig",
]
NUMBERS = [0, -1, 1, 2.5, 1e-320, -0.0, 3.0, 10**6, 10**30, 10**400, 1e308, math.nan, math.inf, -math.inf]

hostile = st.sampled_from(HOSTILE) | st.text(max_size=20)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | hostile
    | st.just(datetime.date(2026, 1, 1))
    | st.binary(max_size=3),
    lambda items: (
        st.lists(items, max_size=3)
        | st.dictionaries(hostile | st.integers() | st.none() | st.booleans(), items, max_size=3)
    ),
    max_leaves=5,
)


def documents(schema, definitions=None):
    """Documents that fit the schema: every entry that it requires, some of the others, values up to their bounds."""
    definitions = definitions or schema.get("$defs", {})
    if "$ref" in schema:
        return documents(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    if "allOf" in schema:  # a rule for each task: if the task is this, then the schema is that
        return st.one_of([_of_task(rule, definitions) for rule in schema["allOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([KINDS[kind](schema, definitions) for kind in kinds])


def _of_task(rule, definitions):
    schema = definitions[rule["then"]["$ref"].removeprefix("#/$defs/")]
    task = {"properties": schema["properties"] | rule["if"]["properties"], "required": [*schema["required"], "task"]}
    return documents(schema | task, definitions)


def _numbers(make):
    def strategy(schema, _):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1000))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 1000))
        if make is st.integers and "multipleOf" in schema:
            step = schema["multipleOf"]
            return st.integers(-(-low // step), high // step).map(lambda n: n * step)
        options = {"exclude_min": "minimum" not in schema, "exclude_max": "maximum" not in schema}
        return make(low, high) if make is st.integers else make(low, high, **options)

    return strategy


def _texts(schema, _):
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: not text.endswith("\n"))
    low, high = schema.get("minLength", 0), schema.get("maxLength", 50)
    return (st.sampled_from(HOSTILE) | st.text(max_size=50)).filter(lambda text: low <= len(text) <= high)


def _lists(schema, definitions):
    items = documents(schema["items"], definitions)
    low, high = schema.get("minItems", 0), min(schema.get("maxItems", 5), schema.get("minItems", 0) + 2)
    unique = repr if schema.get("uniqueItems") else None
    lists = st.lists(items, min_size=low, max_size=high, unique_by=unique)
    return lists.map(sorted) if schema.get("x-ascending") else lists


def _mappings(schema, definitions):
    if isinstance(schema.get("additionalProperties"), dict):
        names = schema["propertyNames"]
        keys = st.from_regex(names["pattern"], fullmatch=True).filter(
            lambda key: not key.endswith("\n") and key not in names.get("not", {}).get("enum", [])
        )
        low = schema.get("minProperties", 0)
        return st.dictionaries(keys, documents(schema["additionalProperties"], definitions), min_size=low, max_size=2)
    if "properties" not in schema:  # "then" is the schema of a mapping that may also be null
        return documents(schema["then"], definitions)
    entries = {key: documents(entry, definitions) for key, entry in schema["properties"].items()}
    required = schema.get("required", [])
    return st.fixed_dictionaries(
        {key: entries[key] for key in required},
        optional={key: entry for key, entry in entries.items() if key not in required},
    )


KINDS = {
    "integer": _numbers(st.integers),
    "number": _numbers(st.floats),
    "string": _texts,
    "boolean": lambda schema, _: st.booleans(),
    "null": lambda schema, _: st.none(),
    "array": _lists,
    "object": _mappings,
}


def places(document, way=()):
    """The path to every entry of a document."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield (*way, key)
        if isinstance(value, dict | list):
            yield from places(value, (*way, key))


@st.composite
def spoilt(draw, whole):
    """(document, path): a whole document with one entry replaced by junk, or an unknown entry added."""
    document = copy.deepcopy(draw(whole))
    way = draw(st.sampled_from(sorted(places(document), key=repr)))
    *parents, last = way
    entry = document
    for key in parents:
        entry = entry[key]
    if isinstance(entry, dict) and draw(st.booleans()):
        last = draw(hostile | st.integers() | st.none())
    entry[last] = draw(junk)
    return document, (*parents, last)
