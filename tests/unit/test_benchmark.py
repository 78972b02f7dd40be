"""The benchmark: its arithmetic, what it times, and all of it with the smallest settings."""

import math
from xml.etree import ElementTree

import pandas as pd
import torch

from fun.benchmarking.markdown import number
from fun.benchmarking.rates import convolution_seconds, in_turn
from fun.benchmarking.table import Table, seconds_to, shares
from fun.diffusion.schedule import NoiseSchedule
from fun.networks.mnist_unets import SmallUNet
from fun.reporting.charts import chart_svg


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
    assert shares(jobs) == (10 * 3 + 5, 10 * 10 + 5)  # a job that only starts has no useful work, not a negative amount


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
    assert (
        0 < min(convolution_seconds(network, 32) for _ in range(3)) < 1.5 * whole
    )  # the best of each, for other tests run beside
    assert all(parameter.grad is None for parameter in network.parameters())
