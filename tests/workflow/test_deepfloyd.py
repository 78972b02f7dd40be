"""The shipped cascade `deepfloyd`, end to end, from a hub cache of tiny random weights: one of its shipped experiments for
each task is run, the others are planned.

Only an overlay with fewer steps differs from what a user runs. (MNIST and the report's page have tests of their own.)
"""

import json

import numpy as np
import pandas
import pytest
import yaml
from PIL import Image

from fun.data.prompts import prompts_of
from fun.data.tensors import load_arrays
from fun.reporting.figure import read_figure
from fun.reporting.page import render_page
from hub_cache import hub_cache
from project import PROJECT
from tiny_options import make_clip, make_safety, make_upscaler

CONFIG = yaml.safe_load((PROJECT / "config.yaml").read_text())
CASCADE = CONFIG["cascades"]["deepfloyd"]
EXPERIMENTS = yaml.safe_load((PROJECT / "experiments/deepfloyd.yaml").read_text())
FEW_STEPS = {"sampling": {"steps": 2, "spacing": "trailing"}}
OVERLAY = {"stage_1": FEW_STEPS, "stage_2": FEW_STEPS, "stage_3": {"sampling": {"steps": 2}}}
OVERLAY = {"cascades": {"deepfloyd": OVERLAY}}
RUN = (
    *("forward_process", "denoising", "unguided", "sdedit_coffee", "inpainting_coffee"),
    *("anagram_campfire", "pieces_coffee", "hybrid_skull", "colour_inverse_cat", "motion_skull", "upsample"),
)
ENLARGED = {name for name in RUN if "enlarge" in EXPERIMENTS[name]}
FIGURES = [f"results/deepfloyd/{name}/figure.json" for name in RUN]
# The prompts whose embeddings CS180 hands out.
COURSE = """a high quality photo; a lithograph of a skull; a lithograph of waterfalls; an oil painting of an old man;
an oil painting of people around a campfire; an oil painting of a snowy mountain village; a photo of a dog; a man wearing a hat;
a photo of a hipster barista; a photo of a man; a pencil; a rocket ship; a photo of the amalfi cost"""


@pytest.fixture(scope="module")
def finished(new_workflow, tmp_path_factory):
    """A copy of the project in which RUN has run, on a machine with a filled hub cache, a token, and no network."""
    workflow = new_workflow()
    workflow.hub = hub_cache(tmp_path_factory.mktemp("hf"), CASCADE)
    (workflow.folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY))
    workflow.configuration = ("--configfile", "config.yaml", "small.yaml", "--config", "cascade=deepfloyd")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_HOME", str(workflow.hub))
        environment.setenv("HF_HUB_OFFLINE", "1")
        environment.setenv("HF_TOKEN", "hf_markedToken")
        workflow.run("--resources", "gpu=2", "--cores", "all", *FIGURES, *workflow.configuration)
        yield workflow


def figure(workflow, name):
    return read_figure(workflow.folder / f"results/deepfloyd/{name}/figure.json")


def panels(workflow, name, stage):
    """The panels of an experiment's figure that show pictures of a stage."""
    found = [panel for block in figure(workflow, name).blocks for panel in block["panels"]]
    return [panel for panel in found if panel["provenance"].get("stage") == stage]


def stage(workflow, name, number):
    return load_arrays(workflow.folder / f"results/deepfloyd/{name}/stage_{number}.safetensors")


def test_embeddings_of_the_course_have_every_prompt():
    known = {" ".join(prompt.split()) for prompt in COURSE.split(";")} | {""}
    assert set(sum(map(prompts_of, EXPERIMENTS.values()), [])) <= known


def of_task(task):
    return [experiment for experiment in EXPERIMENTS.values() if experiment["task"] == task]


def test_what_the_course_asks_for_is_shown():
    assert [690] in [experiment.get("timesteps") for experiment in of_task("denoising")]
    compared = {
        experiment["stage_1"]["steps"]: experiment["prompts"]
        for experiment in of_task("text_to_image")
        if "steps" in experiment.get("stage_2", {})
    }
    assert set(compared) == {5, 20} and compared[5] == compared[20] and len(compared[5]) == 3
    prompts = [experiment["prompt"] for experiment in of_task("image_to_image")]
    edited = [prompt for prompt in prompts if prompt != "a high quality photo"]
    assert len(edited) >= 3 and len(prompts) - len(edited) >= 4
    assert len(of_task("inpainting")) >= 3 and len(of_task("hybrid_image")) >= 3
    second = [(e["views"][0]["prompt"], *e["views"][1].values()) for e in of_task("visual_anagram")]
    assert [view for _, view, _ in second].count("flip_vertical") >= 3
    assert ("a lithograph of a skull", "rotate_180", "a lithograph of waterfalls") in second


def test_every_task_of_the_shipped_experiments_is_run(finished):
    assert {EXPERIMENTS[name]["task"] for name in RUN} == {entries["task"] for entries in EXPERIMENTS.values()}


def test_all_experiments_are_planned(finished):
    rest = {name: experiment for name, experiment in EXPERIMENTS.items() if name not in RUN}
    drawn = {name: experiment for name, experiment in rest.items() if experiment["task"] != "forward_process"}
    one_stage = [e for e in drawn.values() if e["task"] in ("denoising", "pieces") or e.get("upsample") == []]
    enlarged = [name for name, experiment in rest.items() if "enlarge" in experiment]
    figures = [f"results/deepfloyd/{name}/figure.json" for name in EXPERIMENTS]
    assert finished.planned("--cores", 1, *figures, *finished.configuration) == {
        "stage_1": len(rest),
        "stage_2": len(drawn) - len(one_stage),
        "stage_3": len(enlarged),
        "safety_check": len(drawn),
        "clip_judge": len(drawn),
        "figure": len(rest),
    }


def test_the_shipped_weights_made_the_pictures(finished):
    for number in (1, 2, 3):
        arrays, made = stage(finished, "anagram_campfire", number)
        shipped = CASCADE[f"stage_{number}"]
        assert {key: made["model"][key] for key in ("model", "revision", "variant", "dtype")} == {
            key: shipped[key] for key in ("model", "revision", "variant", "dtype")
        }
        assert np.isfinite(arrays["x_0"]).all()


def test_stage_3_enlarges_the_chosen_seeds_by_four(finished):
    made_3 = {path.parent.name for path in finished.folder.glob("results/deepfloyd/*/stage_3.safetensors")}
    assert made_3 == ENLARGED
    for name in ENLARGED:
        (small, _), (large, made) = stage(finished, name, 2), stage(finished, name, 3)
        assert large["x_0"].shape[-1] == 4 * small["x_0"].shape[-1]
        assert {sample["seed"] for sample in made["samples"]} == set(EXPERIMENTS[name]["enlarge"])
        assert panels(finished, name, "Stage III")
    assert stage(finished, "anagram_campfire", 3)[1]["samples"][0]["told"] == "an oil painting of an old man"


def test_clip_ranks_the_seeds(finished):
    scores = json.loads((finished.folder / "results/deepfloyd/anagram_campfire/clip_scores.json").read_text())[
        "stage_2"
    ]
    assert sorted(scores["ranks"]) == [f"rank {place} of 4" for place in (1, 2, 3, 4)]
    remarks = [panel["remark"] for panel in panels(finished, "anagram_campfire", "Stage II")]
    assert sorted(set(remarks)) == sorted(scores["ranks"])
    table = pandas.read_csv(finished.folder / "results/deepfloyd/anagram_campfire/figure/stimuli.csv")
    told = {view["prompt"] for view in EXPERIMENTS["anagram_campfire"]["views"]}
    assert set(table["reads"]) <= told and (table["right"] == (table["reads"] == table["prompt"])).all()
    names = [metric["name"] for metric in figure(finished, "anagram_campfire").metrics]
    assert {"Stage II: all readings at once", "Stage II: concealment"} <= set(names)


def test_pictures_have_the_watermark_and_none_is_black(finished):
    drawn = stage(finished, "unguided", 2)[0]["x_0"][0]
    panel = panels(finished, "unguided", "Stage II")[0]
    with Image.open(finished.folder / "results/deepfloyd/unguided" / panel["image"]) as picture:
        shown = np.asarray(picture).transpose(2, 0, 1) / 127.5 - 1
    changed = np.abs(shown - drawn.clip(-1, 1)).max(0) > 0.01
    half = changed.shape[0] // 2
    assert changed[half:, half:].any() and not changed[:half].any() and not changed[:, :half].any()
    assert {"Stage II: blacked out by the safety checker": 0}.items() <= {
        metric["name"]: metric["value"] for metric in figure(finished, "unguided").metrics
    }.items()


def test_the_report_says_whose_the_pictures_are_and_stays_small(finished):
    page = render_page([figure(finished, name) for name in RUN], CONFIG | {"cascade": "deepfloyd"}, {})
    assert "Chelsea the cat" in page and "Rachel Michetti" in page
    assert "DeepFloyd is licensed under the DeepFloyd License" in page and "RAIL++-M" in page
    assert "of these protections" not in page.lower()
    assert str(finished.hub) not in page
    assert len(page) * len(EXPERIMENTS) / len(RUN) < 4e6  # of all experiments


def test_nobody_learns_the_token(finished):
    for top in ("results", ".snakemake"):
        for path in (finished.folder / top).rglob("*"):
            assert not path.is_file() or b"hf_markedToken" not in path.read_bytes(), path


def test_a_second_run_plans_nothing(finished):
    assert finished.planned("--cores", 1, *FIGURES, *finished.configuration) == {}


def with_overlay(workflow, **entries):
    """The arguments of a run that changes entries of the cascade."""
    (workflow.folder / "other.yaml").write_text(yaml.safe_dump({"cascades": {"deepfloyd": entries}}))
    return (
        "--cores",
        1,
        *FIGURES,
        "--configfile",
        "config.yaml",
        "small.yaml",
        "other.yaml",
        "--config",
        "cascade=deepfloyd",
    )


def test_without_stage_3_its_pictures_go_and_nothing_is_drawn_again(finished):
    planned = finished.planned(*with_overlay(finished, stage_3=None))
    assert planned == dict.fromkeys(("safety_check", "clip_judge", "figure"), len(ENLARGED))


def test_a_part_that_is_a_folder_is_drawn_with_again_when_any_of_its_files_changes(finished, tmp_path):
    files = {"stage_3": ("vae/config.json", "unet/config.json", "model_index.json"), "clip_judge": ("config.json",)}
    make_upscaler(tmp_path / "stage_3"), make_clip(tmp_path / "clip_judge")
    entries = {part: {"model": str(tmp_path / part), "revision": None} for part in files}
    planned = finished.run("-n", *with_overlay(finished, **entries)).stdout
    for part, names in files.items():
        inputs = {line for job in planned.split(f"rule {part}:\n")[1:] for line in job.splitlines()[:1]}
        assert inputs and all(f"{tmp_path / part / name}" in line for name in names for line in inputs)


def test_two_judges_are_refused(finished):
    done = finished.run(
        "-n", *with_overlay(finished, judge="resources/miniature/judge/weights.safetensors"), check=False
    )
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "config.yaml: cascades/deepfloyd has both judge and clip_judge: leave one of them out" in done.stdout


def test_a_picture_that_the_checker_blacks_out_says_so(finished, tmp_path):
    for path in make_safety(tmp_path, objects_to=1).glob("safety_checker/*.safetensors"):
        (there,) = finished.hub.rglob(f"snapshots/*/safety_checker/{path.name}")
        there.resolve().write_bytes(path.read_bytes())
    made = "results/deepfloyd/anagram_campfire"
    finished.run("--forcerun", "safety_check", "--cores", 1, f"{made}/figure.json", *finished.configuration)
    shown = panels(finished, "anagram_campfire", "Stage II")
    assert shown and all(panel["remark"] == "blacked out by the safety checker" for panel in shown)
    with Image.open(finished.folder / made / shown[0]["image"]) as picture:
        assert picture.crop((0, 0, picture.width, picture.height // 2)).getbbox() is None
    counted = {metric["name"]: metric for metric in figure(finished, "anagram_campfire").metrics}
    assert counted["Stage II: blacked out by the safety checker"]["value"] == 4
