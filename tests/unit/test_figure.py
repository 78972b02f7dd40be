"""figure.json: what is written is read back; what breaks the contract is refused, naming the file and the entry."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fun.reporting.animation import turn_frames
from fun.reporting.figure import FigureError, read_figure, write_figure
from fun.reporting.file_names import labels_of, name_panels


def picture(seed=0, size=28):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def panel(seed=0, **entries):
    return {"picture": picture(seed), "label": f"seed {seed}", "alt": "noise", "provenance": {"seed": seed}} | entries


def write(folder, blocks, **entries):
    known = {"id": "noise", "title": "Noise", "caption": "Only noise.", "section": "forward_process"}
    return write_figure(folder, blocks=blocks, **known | entries)


def test_what_is_written_is_read_back(tmp_path):
    path = write(
        tmp_path,
        [{"layout": "row", "panels": [panel(0), panel(1)]}],
        metrics=[{"name": "accuracy", "value": np.float32(0.5), "n": np.int64(4)}],
        provenance={"model": "a", "guidance_scale": None},
    )
    figure = read_figure(path)
    assert figure.title == "Noise" and figure.provenance == {"model": "a", "guidance_scale": None}
    assert figure.metrics == [{"name": "accuracy", "value": 0.5, "n": 4}]
    stored = figure.blocks[0]["panels"][1]
    assert stored["provenance"] == {"seed": 1} and (stored["width"], stored["height"]) == (28, 28)
    with Image.open(figure.folder / stored["image"]) as read:
        assert np.array_equal(read, picture(1))
    assert figure.picture_bytes(stored["image"]) == (tmp_path / stored["image"]).read_bytes()


def test_equal_pictures_are_stored_once_and_old_ones_are_gone(tmp_path):
    write(tmp_path, [{"layout": "row", "panels": [panel(seed) for seed in range(5)]}])
    write(tmp_path, [{"layout": "grid", "columns": 2, "panels": [panel(0), panel(1), panel(0)]}])
    assert sorted(file.name for file in (tmp_path / "figure").iterdir()) == ["seed_0.png", "seed_1.png"]


def test_written_twice_is_equal_to_the_byte(tmp_path):
    def blocks():
        source = picture(2)
        source.info["dpi"] = (72, 72)  # metadata of the source must not be passed on
        flip = [panel(3, state="seed 3", **turn) for turn in ({}, {"transform": "rotate_90_cw"})]
        return [
            {"layout": "row", "panels": [panel(0, picture=source)]},
            {"layout": "scrub", "panels": [panel(0, state="t = 1"), panel(1, state="t = 0")]},
            {"layout": "flip", "panels": flip},
        ]

    files = []
    for name in ("a", "b"):
        write(tmp_path / name, blocks())
        found = sorted((tmp_path / name).rglob("*"))
        files.append({str(file.relative_to(tmp_path / name)): file.read_bytes() for file in found if file.is_file()})
    assert files[0] == files[1]
    assert {"figure/scrub.webp", "figure/turn_seed_3.webp"} <= set(files[0])


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([], "blocks"),
        ([{"layout": "spiral", "panels": [panel()]}], "blocks/0/layout"),
        ([{"layout": "row", "panels": []}], "blocks/0/panels"),
        ([{"layout": "row", "panels": [panel(alt="")]}], "blocks/0/panels/0/alt"),
        ([{"layout": "row", "panels": [panel(success="yes")]}], "blocks/0/panels/0/success"),
        ([{"layout": "row", "panels": [panel(provenance={"seed": [1]})]}], "blocks/0/panels/0/provenance/seed"),
        ([{"layout": "grid", "panels": [panel()]}], "'columns' is a required property"),
        ([{"layout": "compare", "panels": [panel()]}], "blocks/0/panels"),
        ([{"layout": "scrub", "panels": [panel()]}], "'state' is a required property"),
        ([{"layout": "flip", "panels": [panel()]}], "'state' is a required property"),
        ([{"layout": "flip", "panels": [panel(state="a", transform="melt")]}], "blocks/0/panels/0/transform"),
        ([{"layout": "chart", "panels": []}], "'chart' is a required property"),
        ([{"layout": "row", "panels": [panel(score=float("nan"))]}], "JSON"),
    ],
)
def test_a_figure_that_breaks_the_contract_is_refused_and_not_written(tmp_path, blocks, named):
    with pytest.raises(FigureError) as refused:
        write(tmp_path, blocks)
    assert named in str(refused.value) and str(tmp_path / "figure.json") in str(refused.value)
    assert not (tmp_path / "figure.json").exists()


def test_curves_of_unequal_length_are_refused(tmp_path):
    chart = {"kind": "line", "x": {"label": "t"}, "y": {"label": "y"}, "series": [{"name": "a", "x": [1, 2], "y": [1]}]}
    with pytest.raises(FigureError, match="blocks/0/chart/series/0"):
        write(tmp_path, [{"layout": "chart", "panels": [], "chart": chart}])


def _missing(folder, document):
    (folder / "figure" / "seed_0.png").unlink()


def _truncated(folder, document):
    file = folder / "figure" / "seed_0.png"
    file.write_bytes(file.read_bytes()[:200])


def _wrong_size(folder, document):
    document["blocks"][0]["panels"][0]["width"] = 64


def _outside(folder, document):
    document["blocks"][0]["panels"][0]["image"] = "../figure/seed_0.png"


def _other_version(folder, document):
    document["version"] = 1


def _unknown_key(folder, document):
    document["blocks"][0]["panels"][0]["colour"] = "red"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_missing, "blocks/0/panels/0/image"),
        (_truncated, "blocks/0/panels/0/image"),
        (_wrong_size, "blocks/0/panels/0/image"),
        (_outside, "blocks/0/panels/0/image"),
        (_other_version, "version"),
        (_unknown_key, "colour"),
    ],
)
def test_a_damaged_figure_is_refused_naming_file_and_entry(tmp_path, damage, named):
    path = write(tmp_path, [{"layout": "row", "panels": [panel()]}])
    document = json.loads(path.read_text())
    damage(tmp_path, document)
    path.write_text(json.dumps(document))
    with pytest.raises(FigureError) as refused:
        read_figure(path)
    assert named in str(refused.value) and str(path) in str(refused.value)


def test_any_flipped_byte_is_seen(tmp_path):
    """Even one after which the figure still fits the contract: a digit of a score, a letter, an animation's colour."""
    path = write(
        tmp_path,
        [{"layout": "scrub", "panels": [panel(0, state="a"), panel(1, state="b")]}],
        metrics=[{"name": "accuracy", "value": 0.25}],
    )
    for file in (path, *sorted((tmp_path / "figure").iterdir())):
        content = file.read_bytes()
        for position in range(0, len(content), 31):
            file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            with pytest.raises(FigureError, match=r"figure\.json"):
                read_figure(path)
        file.write_bytes(content)
    read_figure(path)


def test_not_json_is_refused(tmp_path):
    path = Path(tmp_path / "figure.json")
    path.write_text("{")
    with pytest.raises(FigureError, match=r"figure\.json: not a JSON file"):
        read_figure(path)


def named(panels, **entries):
    """The names of the files of a figure of one block, without the ending."""
    panels = [{"picture": picture(number), "label": "", "alt": "noise"} | p for number, p in enumerate(panels)]
    return list(name_panels(panels, entries.get("rows", [""] * len(panels)), range(len(panels))).values())


def made(**entries):
    return {"provenance": entries}


def test_a_file_is_named_after_what_distinguishes_its_picture():
    scales = [made(stage="Stage I", seed=3, guidance_scale=scale, start=900) for scale in (1, 7.5)]
    second = {"stage": "Stage II", "seed": 3, "guidance_scale": 1.0}
    assert named([*scales, made(**second)]) == [
        "stage_1_seed_3_guidance_1",
        "stage_1_seed_3_guidance_7_5",
        "stage_2_seed_3",
    ]
    two = [made(**second, stage_1_guidance_scale=scale) for scale in (1, 7)]
    assert named(two) == ["stage_2_seed_3_guidance_1", "stage_2_seed_3_guidance_7"]
    views = [made(stage="Stage II", seed=3, view=view) for view in ("identity", "jigsaw")]
    assert named(views) == ["stage_2_seed_3", "stage_2_seed_3_jigsaw"]
    states = [
        made(stage="Stage I", seed=0) | {"state": f"t = {t}", "label": label}
        for t in (690, 0)
        for label in ("xₜ: what the loop holds", "x₀: the estimate")
    ]
    assert named(states)[:3] == ["stage_1_seed_0_t_690_xt", "stage_1_seed_0_t_690_x0", "stage_1_seed_0_t_0_xt"]
    assert named([{"label": "σ = 0.5: 20 dB"}, {"label": "the picture"}]) == ["sigma_0_5", "the_picture"]


def test_a_name_is_read_back_as_the_columns_of_snakemakes_report():
    prompts, views = ["", "a red seven", "a white eight"], ["identity", "rotate_180"]
    assert labels_of("stage_2_seed_13_a_white_eight_from_960", prompts, []) == {
        "stage": "2", "seed": "13", "prompt": "a white eight", "view": "", "shown": "from 960"
    }  # fmt: skip
    assert labels_of("stage_1_seed_0", prompts, views) == {
        "stage": "1", "seed": "0", "prompt": "a red seven | a white eight", "view": "identity, rotate_180", "shown": ""
    }  # fmt: skip
    assert labels_of("the_picture", [], []) == {
        "stage": "",
        "seed": "",
        "prompt": "",
        "view": "",
        "shown": "the picture",
    }


def test_names_are_safe_short_and_different():
    hostile = ["a/../b", "C:\\con", "ÄÖ ß\n", "水墨画", "山水", "same", "same", "same 2", "x" * 300, "x" * 301, "", "."]
    prompts = [made(stage="Stage III", seed=2**63, prompt=prompt) | {"label": prompt} for prompt in hostile]
    for names in (named(prompts), named([{"label": prompt} for prompt in hostile])):
        assert len(set(names)) == len(hostile)
        assert all(re.fullmatch("[a-z0-9_]{1,80}", name) for name in names), names


def test_a_table_of_stimuli_names_the_files(tmp_path):
    rows = [{"file": picture(seed), "prompt": "a, “b”", "right": ""} for seed in (1, 0)]
    path = write(tmp_path, [{"layout": "row", "panels": [panel(0), panel(1)]}], stimuli=rows)
    text = (tmp_path / "figure/stimuli.csv").read_text()
    assert text == 'file,prompt,right\nseed_1.png,"a, “b”",\nseed_0.png,"a, “b”",\n'
    read_figure(path)
    (tmp_path / "figure/stimuli.csv").write_text(text.replace("seed_1", "seed_2"))
    with pytest.raises(FigureError, match="has changed"):
        read_figure(path)


def test_a_sample_turns_into_each_of_its_readings_in_one_file(tmp_path):
    turns = ({}, {"transform": "rotate_180"}, {"picture": picture(7)})
    path = write(tmp_path, [{"layout": "flip", "panels": [panel(3, state="seed 3", **turn) for turn in turns]}])
    first, turned, other = read_figure(path).blocks[0]["panels"]
    assert first["image"] == turned["image"] != other["image"]
    assert "animation" not in turned and "animation" not in other
    with Image.open(tmp_path / first["animation"]) as animation:
        assert animation.n_frames == 2 * len(turn_frames(picture(3), "rotate_180"))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("rotate_180", lambda pixels: pixels[::-1, ::-1]),
        ("rotate_90_cw", lambda pixels: np.rot90(pixels, -1)),
        ("rotate_90_ccw", lambda pixels: np.rot90(pixels, 1)),
        ("flip_vertical", lambda pixels: pixels[::-1]),
        ("flip_horizontal", lambda pixels: pixels[:, ::-1]),
        ("negate", lambda pixels: 255 - pixels),
    ],
)
def test_a_turn_begins_with_the_picture_and_reaches_the_second_reading(transform, expected):
    source = picture(5, size=200)  # large enough not to be enlarged
    frames = turn_frames(source, transform)
    assert np.array_equal(frames[0][0], source)
    assert np.array_equal(frames[len(frames) // 2][0], expected(np.asarray(source)))
