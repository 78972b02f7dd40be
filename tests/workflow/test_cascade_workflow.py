"""Part A as a user runs it, on a tiny cascade: whole, again, changed, refused."""

import copy
import hashlib
import os
import re
import resource
import shutil
import time

import numpy as np
import pandas
import pytest
import torch
import yaml
from PIL import Image

from fun.data.images import load_image, load_mask
from fun.data.tensors import load_arrays, save_tensors
from fun.miniature.judge import Judge
from fun.reporting.figure import read_figure
from fun.workflow.experiments import read_schema, stages_of, tasks_of
from fun.workflow.refusals import check
from project import PROJECT, SUPPORT, digests, sentence

EXPERIMENTS = yaml.safe_load((SUPPORT / "experiments_tiny.yaml").read_text())
SCHEMA = read_schema(PROJECT / "rules/experiments.schema.yaml")
CONFIG = {
    "cascade": "tiny",
    "experiments": "tiny.yaml",
    "cascades": {
        "tiny": {
            "text_encoder": {"model": "tiny/stage_1"},
            "stage_1": {"model": "tiny/stage_1"},
            "stage_2": {"model": "tiny/stage_2"},
            "judge": "judge.safetensors",
        }
    },
    "sampling": {"stage_1": {"steps": 4, "spacing": "trailing"}, "stage_2": {"steps": 3, "spacing": "trailing"}},
    "mnist": {
        "models": {"class_conditioned": {"network": "small", "width": 16, "class_conditioned": True}},
        "epochs": 1,
        "images_per_epoch": 100,
        "classifier_epochs": 1,
        "sampling": {"epochs": [], "num_images": 100, "num_images_early": 100, "num_steps": 2},
    },
}
DRAWN_IN = {  # the experiments of each stage
    stage: [name for name, e in EXPERIMENTS.items() if stage in stages_of(e, SCHEMA, {"stage_3": None})]
    for stage in ("stage_1", "stage_2")
}
FIGURES = [f"results/tiny/{name}/figure.json" for name in EXPERIMENTS]


@pytest.fixture(scope="module")
def workflow(new_workflow, short_mnist, tiny_cascade):
    """A copy of the project with every task among its experiments."""
    workflow = new_workflow()
    shutil.copytree(tiny_cascade, workflow.folder / "tiny")
    y, x = np.indices((48, 64))
    colours = np.stack([4 * x, 5 * y, 2 * (x + y)], -1).astype(np.uint8)
    Image.fromarray(colours).save(workflow.folder / "picture.png")
    Image.fromarray((x > 30) & (y < 30)).save(workflow.folder / "mask.png")
    torch.manual_seed(0)
    save_tensors(workflow.folder / "judge.safetensors", Judge().state_dict(), {})
    workflow.configure(CONFIG | {"mnist": CONFIG["mnist"] | {"data": str(short_mnist[0])}})
    write_experiments(workflow, EXPERIMENTS)
    return workflow


def write_experiments(workflow, experiments):
    (workflow.folder / "tiny.yaml").write_text(yaml.safe_dump(experiments, sort_keys=False))


@pytest.fixture(scope="module")
def finished(workflow):
    """The same, run on one core; `.seconds` is the processor time that the cascade's jobs took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    workflow.run("--cores", 1, *FIGURES)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    workflow.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    workflow.run("--cores", 1)
    return workflow


@pytest.fixture
def change(finished):
    """Changes the experiments, {path to an entry: its new value}, until the test ends."""

    def change(changes):
        experiments = copy.deepcopy(EXPERIMENTS)
        for (*way, last), value in changes.items():
            entry = experiments
            for key in way:
                entry = entry[key]
            entry[last] = value
        write_experiments(finished, experiments)

    yield change
    write_experiments(finished, EXPERIMENTS)


def load(workflow, name, stage):
    return load_arrays(workflow.folder / f"results/tiny/{name}/{stage}.safetensors")


def test_every_task_runs_within_three_minutes(finished):
    assert finished.seconds < 180
    assert {experiment["task"] for experiment in EXPERIMENTS.values()} == set(tasks_of(SCHEMA))
    for figure in FIGURES:
        read_figure(finished.folder / figure)


def test_stages_hold_raw_pictures_and_what_made_them(finished):
    for name in EXPERIMENTS:
        for stage, size in (("stage_1", 16), ("stage_2", 32)):
            if name not in DRAWN_IN[stage]:
                assert not (finished.folder / f"results/tiny/{name}/{stage}.safetensors").exists()
                continue
            arrays, made = load(finished, name, stage)
            assert arrays["x_0"].shape[1:] == (3, size, size) and arrays["x_0"].dtype == np.float32
            assert made["model"]["max_batch"] == 64 and len(made["model"]["revision"]) == 12
            assert made["sampling"]["steps"] == {"stage_1": 4, "stage_2": 3}[stage]


def test_stage_2_enlarges_the_chosen_seeds(finished):
    small, made = load(finished, "text_to_image", "stage_1")
    large, chosen = load(finished, "text_to_image", "stage_2")
    assert len(small["x_0"]) == len(made["samples"]) == 8
    assert [sample["seed"] for sample in chosen["samples"]] == [1] * 4 and len(large["x_0"]) == 4


def test_inpainting_keeps_the_known_pixels(finished):
    for stage, size in (("stage_1", 16), ("stage_2", 32)):
        arrays, _ = load(finished, "inpainting", stage)
        unknown = load_mask(finished.folder / "mask.png", 16).repeat(size // 16, 0).repeat(size // 16, 1)
        original = load_image(finished.folder / "picture.png", size)
        assert unknown.any() and np.array_equal(arrays["x_0"][0][:, ~unknown], original[:, ~unknown])


def test_the_report_shows_every_figure_and_no_markup_of_a_prompt(finished):
    page = (finished.folder / "results/report.html").read_text()
    assert all(f"tiny_{name}" in page for name in EXPERIMENTS)
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert str(finished.folder) not in page
    for name in ("picture.png", "mask.png"):
        assert f"{name}, SHA-256 {hashlib.sha256((finished.folder / name).read_bytes()).hexdigest()[:8]}…" in page


def test_snakemakes_own_report_has_every_picture(finished):
    finished.run("--report", "snakemake.html")
    page = (finished.folder / "snakemake.html").read_text()
    pictures = len(list(finished.folder.glob("results/tiny/*/figure/*.png")))
    assert pictures > 40 and page.count('"mime_type": "image/png", "job_properties": {"rule": "figure"') == pictures
    assert '"view": "identity, rotate_180"' in page  # by which it can be filtered


def test_an_anagram_can_be_printed(finished):
    """A sheet for each of its two seeds. Nothing else can."""
    path = "results/tiny/{}/print.pdf"
    finished.run("--cores", 1, path.format("visual_anagram"))
    assert (finished.folder / path.format("visual_anagram")).read_bytes().count(b"/Type /Page\n") == 2
    done = finished.run("--cores", 1, path.format("inpainting"), check=False)
    assert "only anagrams can be printed, and inpainting has no views" in done.stdout
    (finished.folder / path.format("visual_anagram")).unlink()


def test_a_judge_counts_successes(finished):
    figure = read_figure(finished.folder / "results/tiny/visual_anagram/figure.json")
    assert any("all readings at once" in metric["name"] for metric in figure.metrics)
    table = pandas.read_csv(finished.folder / "results/tiny/visual_anagram/figure/stimuli.csv")
    both = table.groupby(["stage", "seed"])[["right", "all_right"]].all()
    assert (both["right"] == both["all_right"]).all()
    assert any(isinstance(panel.get("success"), bool) for block in figure.blocks for panel in block["panels"])


def test_a_second_run_plans_nothing(finished):
    assert finished.planned() == {}


ONE_EXPERIMENT = {"stage_1": 1, "stage_2": 1, "judge": 1, "figure": 1, "report": 1}


@pytest.mark.parametrize(
    "changes, jobs",
    [
        ({("inpainting", "prompt"): "a green seven"}, {"encode_prompts": 1} | ONE_EXPERIMENT),
        ({("visual_anagram", "views", 1, "prompt"): "a green seven"}, {"encode_prompts": 1} | ONE_EXPERIMENT),
        (  # Snakemake does not look for changes downstream of a job that will run
            {("inpainting", "prompt"): "a green seven", ("visual_anagram", "stage_1"): {"steps": 5}},
            {"encode_prompts": 1, "report": 1} | dict.fromkeys(("stage_1", "stage_2", "judge", "figure"), 2),
        ),
        ({("inpainting", "prompt"): "a blue five"}, ONE_EXPERIMENT),  # known from another experiment
        ({("inpainting", "stage_1"): {"steps": 5}}, ONE_EXPERIMENT),
        ({("inpainting", "stage_2"): {"noise_level": 5}}, {"stage_2": 1, "judge": 1, "figure": 1, "report": 1}),
        ({("text_to_image", "upsample"): [0]}, {"stage_2": 1, "judge": 1, "figure": 1, "report": 1}),
        ({("inpainting", "upsample"): []}, {"judge": 1, "figure": 1, "report": 1}),
        ({("upsample", "caption"): "Another one."}, {"figure": 1, "report": 1}),
    ],
    ids=lambda value: "-".join(map(str, next(iter(value)))) if isinstance(next(iter(value)), tuple) else "",
)
def test_a_change_reruns_its_own_experiment_only(finished, change, changes, jobs):
    change(changes)
    assert finished.planned() == jobs


def test_the_order_of_an_experiments_entries_means_nothing(finished, change):
    write_experiments(finished, {name: dict(reversed(entries.items())) for name, entries in EXPERIMENTS.items()})
    assert finished.planned() == {}


@pytest.fixture
def append(finished):
    """Appends a byte to a file until the test ends; its date is then a year ago, as that of a file that was unpacked or
    moved there."""
    kept = {}

    def append(name):
        path = finished.folder / name
        kept[path] = path.read_bytes(), path.stat()
        path.write_bytes(kept[path][0] + b"\n")
        os.utime(path, (time.time() - 3e7,) * 2)

    yield append
    for path, (content, stat) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "rule", "jobs"),
    [
        ("picture.png", "stage_1", len([name for name in DRAWN_IN["stage_1"] if "image" in EXPERIMENTS[name]])),
        ("mask.png", "stage_1", 1),
        ("tiny/stage_2/unet/config.json", "stage_2", len(DRAWN_IN["stage_2"])),
        ("judge.safetensors", "judge", len(EXPERIMENTS) - 1),
    ],
)
def test_what_the_user_replaces_goes_by_its_content_whatever_its_date(finished, append, name, rule, jobs):
    append(name)
    assert finished.planned()[rule] == jobs


def test_what_is_merely_touched_changes_nothing_and_what_is_edited_does(finished):
    """Embeddings included, which are encoded again when the code that encodes has changed."""
    for path in finished.folder.rglob("*"):
        if path.is_file() and not {"results", ".snakemake"} & set(path.relative_to(finished.folder).parts):
            path.touch()
    assert finished.planned() == {}
    path = finished.folder / "scripts/fun/diffusion/text_encoder.py"
    text = path.read_text()
    path.write_text(text + "# edited\n")
    planned = finished.planned()
    path.write_text(text)
    assert planned["encode_prompts"] == 1 and planned["stage_1"] == len(EXPERIMENTS) - 2
    assert finished.planned() == {}


def test_another_text_encoder_reruns_all_that_it_reads(finished):
    path = finished.folder / "tiny/stage_1/tokenizer/tokenizer_config.json"
    before = path.read_text()
    path.write_text(before.replace("}", ', "model_max_length": 99}'))
    plan = finished.planned()
    path.write_text(before)
    assert (
        plan["encode_prompts"] == 1 and plan["stage_1"] == len(EXPERIMENTS) - 2
    )  # neither forward_process nor upsample


@pytest.mark.parametrize(
    ("deleted", "jobs"),
    [("results/scores.csv", {"report": 1}), ("results/tiny/visual_anagram/figure.json", {"figure": 1, "report": 1})],
)
def test_all_makes_again_what_was_deleted(finished, deleted, jobs):
    path = finished.folder / deleted
    path.rename(finished.folder / "aside")
    planned = finished.planned()
    (finished.folder / "aside").rename(path)
    assert planned == jobs and finished.planned() == {}


def test_a_folder_that_was_copied_is_complete(finished):
    """cp gives folders of pictures a new date."""
    times = {path: path.stat() for path in (finished.folder / "results").rglob("figure")}
    for path in times:
        path.touch()
    planned = finished.planned()
    for path, stat in times.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert times and planned == {}


def test_made_again_to_the_bit(finished):
    """An experiment, the prompts that only it has, and the report."""
    made = digests(finished.folder)
    shutil.rmtree(finished.folder / "results/tiny/visual_anagram")
    prompts = [view["prompt"] for view in EXPERIMENTS["visual_anagram"]["views"]]
    for path in (finished.folder / "results/tiny/prompt_embeds").iterdir():
        if load_arrays(path)[1]["prompt"] in prompts:
            path.unlink()
    (finished.folder / "results/report.html").unlink()
    assert finished.planned() == {"encode_prompts": 1} | ONE_EXPERIMENT
    finished.run("--cores", 1)
    assert digests(finished.folder) == made


@pytest.mark.parametrize(
    "experiment, said",
    [
        ({"task": "text_to_video"}, 'x/task must be one of forward_process, .*, not "text_to_video"'),
        (
            {"task": "text_to_image", "prompts": ["a"], "promts": []},
            'x has an unknown entry "promts" .did you mean prompts..; known: .*prompts',
        ),
        ({"task": "text_to_image"}, "x lacks the entry prompts"),
        (
            {"task": "text_to_image", "prompts": ["a"], "stage_1": {"sampler": "euler"}},
            "x/stage_1/sampler must be one of",
        ),
        ({"task": "text_to_image", "prompts": ["a"], "stage_1": {"noise_level": 3}}, "x/stage_1 has an unknown entry"),
        (
            {"task": "visual_anagram", "views": [{"view": "turn", "prompt": "a"}] * 2},
            r"x/views/\d/view must be one of .*jigsaw",
        ),
        ({"task": "image_to_image", "image": "a.png", "starts": [1000]}, "x/starts/0 must be .*at most 999, not 1000"),
        (
            {"task": "inpainting", "image": "a.png", "mask": "left", "upsample": "some"},
            '"some" in x/upsample is not allowed',
        ),
        ({"task": "upsample", "image": "a.png", "seeds": [1, 1]}, "x/seeds must not repeat"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_by_the_schema(experiment, said):
    with pytest.raises(ValueError, match=f"tiny.yaml: {said}"):
        check({"x": experiment}, SCHEMA, "tiny.yaml")


def test_refused_before_any_work(finished, change):
    change({("upsample", "image"): "absent.png"})
    done = finished.run("-n", check=False)
    assert sentence(done) == "tiny.yaml: upsample/image must be a picture: there is no file absent.png"


def test_a_prompt_that_is_too_long_stops_its_own_experiment_only(finished, change):
    change({("inpainting", "prompt"): "one " * 90, ("hybrid_image", "prompts", 0): "a red seven"})
    stages = [f"results/tiny/{name}/stage_1.safetensors" for name in ("inpainting", "hybrid_image")]
    done = finished.run("--cores", 1, *stages, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert re.search(
        r"^tiny_inpainting: the prompt 'one .*' has [0-9]+ tokens, and the text encoder takes 77", done.stdout, re.M
    )
    assert not (finished.folder / stages[0]).exists() and finished.planned("--cores", 1, stages[1]) == {}


def test_a_damaged_picture_is_reported_before_any_job(finished):
    path = finished.folder / "picture.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = finished.run("--cores", 1, "results/tiny/upsample/stage_2.safetensors", check=False)
    path.write_bytes(whole)
    assert "picture.png: damaged or not readable" in sentence(done) and "rule stage_2:" not in done.stdout


def test_the_cascade_can_be_its_own_judge(finished):
    """In place of the judge, without drawing anything again."""
    own = ("--config", "cascades={tiny: {judge: itself}}")
    path = "results/tiny/visual_anagram/figure.json"
    assert finished.planned("--cores", 1, path, *own) == {"self_judge": 1, "figure": 1}
    finished.run("--cores", 1, path, *own)
    names = [metric["name"] for metric in read_figure(finished.folder / path).metrics]
    assert any("all readings at once" in name for name in names)
    finished.run("--cores", 1, path)
