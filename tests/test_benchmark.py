"""The benchmark: its arithmetic, what it times, and the whole of it on the smallest settings."""

import math
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch
import yaml

from benchmarking.rates import convolution_seconds, in_turn
from benchmarking.table import Table, number, seconds_to, shares
from conftest import PROJECT
from diffusion.schedule import NoiseSchedule
from diffusion.unet import SmallUNet
from reporting.charts import chart_svg


def test_a_goal_is_met_by_the_median():
    table = Table()
    table.add("a", "slow", [3, 1, 9], "s", at_most=3)
    table.add("a", "fast", [1, 2, float("nan"), 4, 8], at_least=3.5)
    slow, fast = table.frame().to_dict("records")
    assert (slow["median"], slow["lowest"], slow["highest"], slow["of"], slow["met"]) == (3, 1, 9, 3, "yes")
    assert (fast["median"], fast["of"], fast["goal"], fast["met"]) == (3, 4, "at least 3.5", "no")
    assert "| a | slow | 3 s | 1 – 9 | at most 3 | yes |" in table.markdown().splitlines()


def test_what_was_never_reached_is_no_number():
    runs = pd.DataFrame({"seconds": [1.0, 2.0, 3.0], "class_accuracy": [0.5, 0.9, 0.99], "frechet_distance": [9, 4, 1]})
    assert seconds_to(runs, "class_accuracy", 0.9) == 2 and seconds_to(runs, "frechet_distance", 1.5) == 3
    assert seconds_to(runs, "class_accuracy", 0.999) == math.inf and number(math.inf) == "not reached"
    table = Table()
    table.add("a", "never", [2, math.inf, math.inf], "s", at_most=100)
    assert table.frame()["met"].tolist() == ["no"]
    assert number(1234.5) == "1,234" and number(0.98765) == "0.988"


def test_the_share_of_a_run_outside_useful_work():
    jobs = pd.DataFrame({"planned": [10, 1], "seconds": [9.0, 4.0], "first_step": [2.0, 5.0], "between": [1.0, 1.0]})
    assert shares(jobs) == (10 * 3 + 5, 10 * 10 + 5)  # a job that only starts has no useful work, not less than none


def test_the_chart_stands_alone():
    series = [
        {"name": "ours, seed 180", "x": [1, 2], "y": [3, 4]},
        {"name": "diffusers' UNet2DModel", "x": [2], "y": [1]},
    ]
    axes = {name: {"label": name, "min": 0} for name in "xy"}
    svg = Table.standalone(chart_svg({"kind": "line", "series": series} | axes, "two lines"), series)
    words = {text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {one["name"] for one in series} <= words


def test_works_take_turns():
    order = []
    seconds = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4 and {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_convolutions_alone_take_less_than_a_step():
    network = SmallUNet(NoiseSchedule.cosine(300), class_conditioned=True)
    x, t = torch.randn(32, 1, 28, 28), torch.zeros(32, dtype=torch.int64)

    def step():
        network.predict(x, t, t).square().mean().backward()

    whole = min(in_turn({"step": step}, 5)["step"])
    network.zero_grad()
    assert 0 < convolution_seconds(network, 32) < 1.5 * whole
    assert all(parameter.grad is None for parameter in network.parameters())


# --- the whole of it ---

TARGET = ("--cores", "all", "benchmark")


@pytest.fixture(scope="module")
def finished(new_workflow, mnist_folder):
    """A copy of the project that has measured itself, as briefly as can be."""
    workflow = new_workflow()
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    config["sampling"] = {"stage_1": {"steps": 2}, "stage_2": {"steps": 2}}
    config["mnist"] |= {
        "data": str(mnist_folder),
        "epochs": 1,
        "images_per_epoch": 320,
        "classifier_epochs": 1,
        "sampling": {"num_images": 100, "num_steps": 2},
    }
    config["benchmark"] = {"seeds": [180], "seconds": 4, "slice": 2, "judged": 120, "judged_peers": 100}
    config["benchmark"] |= {"repeats": 1, "plans": [2, 3, 4], "plan_repeats": 1}
    workflow.configure(config)
    workflow.run(*TARGET)
    return workflow


def test_everything_is_measured(finished):
    made = finished.folder / "results/side_by_side"
    table = pd.read_csv(made / "table.csv").set_index("what")
    assert set(table["part"]) == {"training", "sampling", "workflow"} and table["median"].notna().all()
    assert len((made / "table.md").read_text().splitlines()) == len(table) + 2
    assert (table["lowest"] <= table["median"]).all() and (table["median"] <= table["highest"]).all()
    for what, least, most in (
        ("images/s, times those of the assignment's U-Net", 2, 50),
        ("share of the core's convolution rate", 20, 150),
        ("a step of denoise(), stage II, times the network alone", 0.5, 2),
        ("eight pictures, IFPipeline: a call for each seed, times ours", 1, 10),
        ("stage_2: start of the job to its first step", 0.5, 100),
        ("snakemake -n with 4 experiments", 0.5, 100),
        ("default run outside useful work", 1, 100),
        ("train_epoch: peak memory", 100, 10_000),
    ):
        assert least < table.loc[what, "median"] < most, what
    assert table.loc["loads of the text encoder in a run", "median"] == 1
    contenders = {text.text for text in ElementTree.parse(made / "curves.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours, seed 180", "the assignment's U-Net", "denoising-diffusion-pytorch"} <= contenders


def test_a_part_is_measured_again_when_its_file_is_gone(finished):
    assert finished.planned(*TARGET) == {}
    (finished.folder / "results/side_by_side/sampling.csv").unlink()
    assert finished.planned(*TARGET) == dict.fromkeys(("benchmark_sampling", "benchmark_table", "benchmark"), 1)


def test_full_size_is_measured_on_a_gpu_only(finished, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = finished.run("--cores", 1, "gpu_speed", check=False)
    assert done.returncode != 0 and "gpu_speed: this machine has no GPU that torch can use" in done.stdout
    assert not (finished.folder / "results/side_by_side/gpu.csv").exists()
