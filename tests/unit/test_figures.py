"""Each experiment's figure from its pictures, without the workflow."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
import yaml
from PIL import Image

from fun.data.images import make_mask, to_picture
from fun.data.prompts import prompts_of
from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import make_samples, run
from fun.diffusion.filters import motion_blur
from fun.diffusion.sampler import Sampler
from fun.diffusion.views import make_view
from fun.reporting.blocks import states
from fun.reporting.drawn import STAGES, Drawn
from fun.reporting.experiment_figures import FIGURES
from fun.reporting.figure import read_figure, write_figure
from fun.reporting.illusion_figures import stimuli
from fun.workflow.experiments import pictures_of, read_experiments, read_schema, tasks_of
from project import PROJECT

EXPERIMENTS = yaml.safe_load((PROJECT / "tests/support/experiments_tiny.yaml").read_text()) | {
    "three_views": {
        "task": "visual_anagram",
        "views": [
            {"view": "flip_vertical", "prompt": "a red two"},
            {"view": "negate", "prompt": "a blue three"},
            {"view": "jigsaw", "prompt": "a green four", "seed": 3},
        ],
        "seeds": [8],
    },
    "many_seeds": {"task": "hybrid_image", "prompts": ["one", "two"], "sigmas": [1.0], "seeds": 20},
}
SCHEMA = read_schema(PROJECT / "rules/experiments.schema.yaml")
ILLUSIONS = ("visual_anagram", "prompt_pairs", "hybrid_image", "colour_hybrid", "motion_hybrid")
SAMPLING = {"sampler": "ddpm", "steps": 2, "spacing": "leading", "variance": "learned", "thresholding": True}


@pytest.fixture(scope="module")
def stages(tiny_cascade):
    cpu = torch.device("cpu")
    loaded = {"stage_1": (None,), "stage_2": (50,)}
    return {name: load_stage(tiny_cascade / name, *level, None, torch.float32, cpu) for name, level in loaded.items()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 50).save(folder / "picture.png")
    Image.fromarray(make_mask("left", 40)).save(folder / "mask.png")
    return folder


@pytest.fixture(scope="module")
def experiments(pictures):
    """The experiments as the workflow gives them to its jobs."""
    (pictures / "experiments.yaml").write_text(yaml.safe_dump(EXPERIMENTS))
    found = read_experiments("experiments.yaml", SCHEMA, pictures, 16)
    for experiment in found.values():
        files = pictures_of(experiment, SCHEMA["x-masks"])
        experiment |= {entry: str(pictures / path) for entry, path in files.items()}
    return found


@pytest.fixture(scope="module")
def drawn(stages, experiments):
    """{experiment: (experiment, what its stages made)}."""

    def draw(name):
        experiment = experiments[name]
        made, low = {}, None
        embeds = {prompt: torch.randn(77, 32) for prompt in prompts_of(experiment)}
        samples = make_samples(experiment["task"], experiment)
        for stage in tasks_of(SCHEMA)[experiment["task"]]["stages"]:
            sampler = Sampler(stages[stage], embeds, 16, **SAMPLING, guidance_scale=3.0)
            tensors = run(experiment["task"], experiment, sampler, samples, low)
            arrays, low = {key: tensor.numpy() for key, tensor in tensors.items()}, tensors["x_0"]
            rates = [{"name": f"prompt seen, from t = {t}", "value": 0.5, "low": 0.2, "high": 0.8} for t in (390, 690)]
            judged = {"success": [True] * len(samples), "reads": ["red"] * len(samples), "metrics": rates}
            if experiment["task"] in ILLUSIONS:
                ways = range(len(experiment.get("views", "12")))
                judged["readings"] = [
                    {"reads": [f"reading {way}"] * len(samples), "right": [way != 1] * len(samples)} for way in ways
                ]
            made[stage] = Drawn(
                STAGES[stage], arrays, samples, {"model": "tiny"}, SAMPLING | {"guidance_scale": 3.0}, judged
            )
        return experiment, {stage: made[stage] for stage in STAGES if stage in made}

    return {name: draw(name) for name in EXPERIMENTS}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_figure(drawn, name, tmp_path):
    experiment, made = drawn[name]
    blocks, metrics = FIGURES[experiment["task"]](experiment, made)
    path = write_figure(
        tmp_path, id=name, title=name, caption="", section=experiment["task"], blocks=blocks, metrics=metrics
    )
    figure = read_figure(path)
    shown = [panel for block in figure.blocks for panel in block["panels"]]
    seeds = {panel["provenance"]["seed"] for panel in shown if "seed" in panel["provenance"]}
    if experiment["task"] not in ("denoising", "prompt_pairs"):  # they show one seed (the best), and measure all
        assert seeds >= set(experiment["seeds"]), "every seed is shown"
    for stage in made.values():
        if experiment["task"] not in ("forward_process", "denoising", "prompt_pairs", "pieces"):
            blocks = [block for block in figure.blocks if block.get("title", "").startswith(stage.title)]
            panels = [panel for block in blocks for panel in block["panels"] if "transform" not in panel]
            samples = [one for b in blocks for one in (states(b["panels"]) if b["layout"] == "flip" else b["panels"])]
            if experiment["task"] in ILLUSIONS:
                assert len({panel["image"] for panel in panels}) == len(panels), "no picture is shown twice"
                assert len(samples) >= len(stage.samples)
            else:
                assert len(samples) == len(stage.samples)


def test_a_grid_shows_all_samples_with_their_success(drawn):
    experiment, made = drawn["text_to_image"]
    grid = FIGURES["text_to_image"](experiment, made)[0][2]
    assert grid["columns"] == 2 and len(grid["panels"]) == 4
    assert grid["title"] == "Stage I, 16 × 16 pixels: “a red one”"
    assert len(grid["rows"]) == 2 and grid["rows"][0] == "guidance 1"
    assert [panel["label"] for panel in grid["panels"]] == ["seed 0", "seed 1"] * 2
    assert all(panel["success"] for panel in grid["panels"])
    assert (
        grid["panels"][0]["provenance"] | {"prompt": "a red one", "seed": 0, "steps": 2, "stage": "Stage I"}
        == (grid["panels"][0]["provenance"])
    )


def test_a_stage_is_shown_with_the_guidance_that_it_ran_with(drawn):
    experiment, made = drawn["text_to_image"]
    panels = [
        panel["provenance"] for block in FIGURES["text_to_image"](experiment, made)[0] for panel in block["panels"]
    ]
    shown = {
        stage: {(p["guidance_scale"], p.get("stage_1_guidance_scale")) for p in panels if p["stage"] == stage}
        for stage in ("Stage I", "Stage II")
    }
    assert shown == {"Stage I": {(1, None), (7, None)}, "Stage II": {(3.0, 1), (3.0, 7)}}


def test_an_anagram_is_shown_in_each_of_its_views(drawn):
    experiment, made = drawn["visual_anagram"]
    blocks = FIGURES["visual_anagram"](experiment, made)[0]
    first, turned = blocks[0]["panels"][:2]
    assert first["state"] == turned["state"] and first["picture"] == turned["picture"]
    assert (first["label"], turned["label"]) == ("a red six", "a red nine")
    assert "transform" not in first and turned["transform"] == "rotate_180"
    assert (first["success"], turned["success"]) == (True, False), "the judge's mark is each view's own"
    assert turned["provenance"]["seen_as"] == "reading 1"

    experiment, made = drawn["three_views"]
    flip, *grids = FIGURES["visual_anagram"](experiment, made)[0]
    assert [panel["label"] for panel in flip["panels"]] == ["a red two", "a blue three", "a green four"]
    upright = np.asarray(flip["panels"][0]["picture"])[::-1]  # the first view is upside down
    jigsaw = make_view("jigsaw", 16, 3).view(upright.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(flip["panels"][2]["picture"]), jigsaw)
    assert np.array_equal(np.asarray(grids[0]["panels"][0]["picture"]), upright), "no view shows it as it was drawn"


def test_what_is_shown_in_all_readings_is_in_no_grid(drawn):
    experiment, made = drawn["visual_anagram"]
    layouts = [(block["layout"], block["title"]) for block in FIGURES["visual_anagram"](experiment, made)[0]]
    assert layouts == [("flip", made["stage_2"].title), ("grid", made["stage_1"].title)]
    experiment, made = drawn["many_seeds"]
    flip, *grids = FIGURES["hybrid_image"](experiment, {"stage_1": made["stage_1"]})[0]
    assert [panel["label"] for panel in flip["panels"][:3]] == ["near", "2 times as far", "4 times as far"]
    assert flip["caption"] == "4 times as far: “one”; near: “two”." and flip["panels"][0]["alt"].startswith(
        "The hybrid, near: two,"
    )
    assert [panel["success"] for panel in flip["panels"][:3]] == [False, None, True]
    assert len(flip["panels"]) == 8 * 3 and [len(grid["panels"]) for grid in grids] == [12]
    assert grids[0]["title"].endswith(": the others")


def test_stimuli_have_a_row_for_each_sample_stage_and_view(drawn, tmp_path):
    for name in ("visual_anagram", "three_views"):
        experiment, made = drawn[name]
        rows, blocks = stimuli(experiment, made), FIGURES["visual_anagram"](experiment, made)[0]
        samples = sum(len(stage.samples) for stage in made.values())
        assert len(rows) == samples * len(experiment["views"])
        write_figure(tmp_path / name, id=name, title=name, caption="", section=name, blocks=blocks, stimuli=rows)
        table = pandas.read_csv(tmp_path / name / "figure/stimuli.csv")
        for row in table.itertuples():
            stage = made[row.stage]
            i = next(i for i, sample in enumerate(stage.samples) if sample["seed"] == row.seed)
            with Image.open(tmp_path / name / "figure" / row.file) as drawn_picture:
                assert np.array_equal(drawn_picture, to_picture(stage.arrays["x_0"][i])), "as it was drawn"
        assert table["right"].tolist() == [view != 1 for view in range(len(experiment["views"]))] * samples
        assert table["all_right"].all() and table["prompt"][1] == experiment["views"][1]["prompt"]
    assert stimuli(*drawn["text_to_image"]) == []
    experiment, made = drawn["visual_anagram"]
    unjudged = stimuli(experiment, {name: replace(stage, judged=None) for name, stage in made.items()})
    assert {(row["reads"], row["right"], row["all_right"]) for row in unjudged} == {("", "", "")}


def test_pairs_stand_in_a_table_with_what_came_of_them(drawn):
    """Of two samples a pair: both readings right; one right, the first alone; none right."""
    experiment, made = drawn["prompt_pairs"]
    stage = made["stage_1"]
    right = [(True, True), (True, True), (False, False), (True, False), (False, False), (False, False)]
    readings = [{"reads": ["a"] * 6, "right": list(column)} for column in zip(*right, strict=True)]
    stage = replace(stage, judged=stage.judged | {"readings": readings})
    (table,), _ = FIGURES["prompt_pairs"](experiment, {"stage_1": stage})
    assert table["rows"] == ["eight", "three", "one"] and table["columns"] == 3
    assert [panel["label"] for panel in table["panels"]] == table["rows"] * 3, "they name the columns"
    told = np.array([panel.get("remark", panel["label"]) for panel in table["panels"]]).reshape(3, 3)
    assert told.tolist() == [
        ["eight", "2 of 2", "0 of 2"],
        ["–", "three", "0 of 2"],
        ["only eight, 1 of 2", "neither, 2 of 2", "one"],
    ]
    pictures = [np.asarray(panel["picture"]) for panel in table["panels"]]
    assert np.array_equal(pictures[3], pictures[1][::-1, ::-1])  # the same picture under the view
    x_0 = stage.arrays["x_0"]
    assert np.array_equal(pictures[2], np.asarray(to_picture(x_0[3])))  # the better of the two
    unjudged, _ = FIGURES["prompt_pairs"](experiment, {"stage_1": replace(stage, judged=None)})
    assert unjudged[0]["panels"][1]["remark"] == "2 drawn"


def test_pieces_travel_from_the_picture_to_their_arrangement(drawn):
    experiment, made = drawn["pieces"]
    (travel, grid), _ = FIGURES["pieces"](experiment, made)
    source = np.asarray(to_picture(made["stage_1"].arrays["source"][0]))
    assert [panel["label"] for panel in travel["panels"][:2]] == ["4 pieces", "16 pieces"]
    for panel, last, laid in zip(travel["panels"][:2], travel["panels"][-2:], grid["panels"], strict=True):
        assert np.array_equal(np.asarray(panel["picture"]), source)
        assert np.array_equal(np.asarray(last["picture"]), np.asarray(laid["picture"]))
        assert sorted(np.asarray(laid["picture"]).ravel()) == sorted(source.ravel())


def test_pieces_that_the_safety_checker_flags_are_black(drawn):
    experiment, made = drawn["pieces"]
    flagged = replace(made["stage_1"], blacked_out=np.array([True, False]))
    travel, grid = FIGURES["pieces"](experiment, {"stage_1": flagged})[0]
    black = [not np.asarray(panel["picture"]).any() for panel in (*travel["panels"][-2:], *grid["panels"])]
    assert black == [True, False, True, False]


def test_a_colour_hybrid_is_seen_grey_coloured_and_in_its_colours_alone(drawn):
    experiment, made = drawn["colour_hybrid"]  # the grey part of a picture
    given, flip, grid = FIGURES["colour_hybrid"](experiment, made)[0]
    assert len(given["panels"]) == 1 and grid["title"].startswith("Stage I,")
    labels = ["without its colours", "half", "with its colours", "the colours alone"]
    assert [panel["label"] for panel in flip["panels"]] == labels
    assert flip["caption"] == "With its colours: “a red eight”."
    assert [panel["success"] for panel in flip["panels"]] == [None, None, True, None]
    grey, _, whole, colour = [np.asarray(panel["picture"]).astype(int) for panel in flip["panels"]]
    assert np.ptp(grey, axis=2).max() == 0 and np.ptp(whole, axis=2).max() > 0
    assert np.median(np.abs(colour.mean(2) - 127.5)) < 1  # but where a colour is out of range


def test_a_motion_hybrid_is_seen_at_rest_and_moving(drawn):
    experiment, made = drawn["motion_hybrid"]
    (flip,) = FIGURES["motion_hybrid"](experiment, {"stage_1": made["stage_1"]})[0]
    assert [panel["label"] for panel in flip["panels"]] == ["at rest", "slowly", "in motion"]
    assert flip["caption"] == "In motion: “a red eight”; at rest: “a red three”."
    assert [panel["success"] for panel in flip["panels"]] == [False, None, True]
    still, _, last = [np.asarray(panel["picture"]).astype(float) for panel in flip["panels"]]
    x_0 = torch.from_numpy(made["stage_1"].arrays["x_0"]).clamp(-1, 1)
    blurred = np.asarray(to_picture(motion_blur(x_0, 4, 45)[0].numpy()))
    assert np.abs(last - blurred).mean() < 3 < np.abs(still - blurred).mean()  # grey levels


def test_denoising_tells_what_was_measured(drawn):
    experiment, made = drawn["denoising"]
    blocks, metrics = FIGURES["denoising"](experiment, made)
    arrays = made["stage_1"].arrays
    value = {metric["name"]: metric for metric in metrics}["PSNR, t = 250, one step"]
    assert value["value"] == pytest.approx(arrays["psnr_one_step"][2:].mean()) and value["n"] == 2
    assert len(metrics) == 2 * 2 * 5
    states = [panel["state"] for panel in blocks[-1]["panels"]]
    assert states[0] == states[1] == "t = 0" and states[-1] == "finished"


def test_the_steps_that_a_figure_tells_are_those_that_were_made(drawn):
    """With two steps, leading: t = 500 and 0. A picture that starts below 500 makes two, one that starts at 0 makes one."""
    experiment, made = drawn["image_to_image"]
    low = next(t for t in experiment["starts"] if t < 500)
    panels = [panel for block in FIGURES["image_to_image"](experiment, made)[0] for panel in block["panels"]]
    told = {
        (p["provenance"]["stage"], p["provenance"]["start"]): p["provenance"]["steps"]
        for p in panels
        if "start" in p["provenance"]
    }
    assert told["Stage I", low] == 2 and told["Stage I", max(experiment["starts"])] == 3
    assert told["Stage II", low] == told["Stage II", max(experiment["starts"])] == 2  # from pure noise
    experiment, made = drawn["denoising"]
    panels = [panel for block in FIGURES["denoising"](experiment, made)[0] for panel in block["panels"]]
    assert {p["provenance"]["steps"] for p in panels if p["provenance"].get("way") == "one step"} == {1}


def test_on_a_flow_the_figure_shows_where_the_picture_is_to_move():
    """The true update, the predicted one on the same scale, and a heat map of the error."""
    clean, noise = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
    times = [0.25, 0.5, 0.75]
    x_t = np.stack([(1 - t) * noise + t * clean for t in times])
    one = clean[None].repeat(3, 0) + np.array([0.2, 0.1, 0], np.float32)[:, None, None, None]
    arrays = {"original": clean[None], "noisy": x_t, "one_step": one, "x_0": one}
    arrays |= {"blur": one, "fair_blur": one, "sigma_blur": np.ones(3), "sigma_fair_blur": np.ones(3)}
    arrays |= {
        f"{score}_{way}": np.ones(3)
        for score in ("psnr", "ssim")
        for way in ("noisy", "blur", "fair_blur", "one_step", "x_0")
    }
    arrays |= {"states": one[:1], "estimates": one[:1], "timesteps": np.array([499])}
    samples = [{"timestep": t, "seed": 0} for t in times]
    sampling = SAMPLING | {"path": "flow", "spacing": "trailing", "steps": 50}
    blocks, _ = FIGURES["denoising"]({}, {"stage_1": Drawn("Stage I", arrays, samples, {}, sampling)})
    updates = blocks[1]
    assert updates["columns"] == 3 and updates["rows"] == ["true: picture − xₜ", "predicted: (1 − t) u", "error"]
    labels = [panel["label"] for panel in updates["panels"]]
    assert labels[:3] == ["t = 0.25", "t = 0.5", "t = 0.75"] and labels[6:] == [
        "t = 0.25: 0.20",
        "t = 0.5: 0.10",
        "t = 0.75: 0.00",
    ]
    pixels = [np.asarray(panel["picture"]).astype(int) for panel in updates["panels"]]
    assert (pixels[2] == pixels[5]).all() and (pixels[0] != pixels[3]).any(), "right at t = 0.75 and wrong at t = 0.25"
    assert (pixels[6] == 255).all() and (pixels[8] == 0).all(), "from the largest error, white, to none, black"
    assert pixels[0].mean() == pytest.approx(127.5, abs=8), "no change is grey"
    assert [panel["state"] for panel in blocks[-1]["panels"]] == ["t = 0.5"] * 2
