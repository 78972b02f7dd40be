"""Drawing digits along any path, and the figures that compare what was drawn."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from fun.data.mnist import BLACK
from fun.diffusion.digits import calls_made, generate, most_steps
from fun.diffusion.sampling import randn
from fun.diffusion.schedule import SCHEDULES, make_schedule
from fun.reporting.digit_comparisons import calls_figure, single_step_figure
from fun.reporting.digit_figures import in_words_of
from fun.reporting.figure import read_figure, write_figure

LABELS, SEEDS = torch.tensor([3, 7]), [1, 2]


class Asked:
    """A network that counts its calls, and finds the digit that it was told in any x_t: a grey one, darker for larger labels."""

    def __init__(self, schedule, black=-1.0):
        self.schedule, self.black, self.labels = make_schedule(schedule, 300), black, []

    def __call__(self, x_t, t, labels):
        self.labels.append(labels.tolist())
        x_0 = (self.black + (1 - self.black) * labels / 10).view(-1, 1, 1, 1).expand_as(x_t).to(x_t)
        return x_0, self.schedule.noise_from_x_start(x_t, t, x_0), None


@pytest.mark.parametrize("path", [None, *SCHEDULES])
@pytest.mark.parametrize("own", SCHEDULES)
def test_every_network_can_be_drawn_from_along_every_path(own, path):
    network = Asked(own)
    states = list(generate(network, LABELS, SEEDS, "ddim", "trailing", 6, 1.0, path=path))
    assert states[-1].t == -1
    assert torch.allclose(states[-1].x_t[:, 0, 0, 0], LABELS * 0.2 - 1, atol=1e-4)


@pytest.mark.parametrize("pixels", BLACK)
def test_estimates_are_kept_in_the_range_of_the_pixels(pixels):
    black = BLACK[pixels]
    for thresholding in (True, False):
        drawn = generate(
            Asked("flow", black), LABELS, SEEDS, "ddim", "trailing", 4, 3.0, black=black, thresholding=thresholding
        )
        lowest = min(float(state.x_0.min()) for state in drawn)
        assert lowest == black if thresholding else lowest < black - 1  # guided by 3 away from label 10, white


@pytest.mark.parametrize("path", ["cosine", "flow"])
@pytest.mark.parametrize("own", ["cosine", "flow"])
def test_calls_are_counted_as_they_are_made(own, path):
    for steps, scale in product((1, 2, 5, 18), (1.0, 2.0)):
        network, guided = Asked(own), (scale, (0, 0.75))
        list(generate(network, LABELS, SEEDS, "ddim", "trailing", steps, *guided, path=path))
        halves = sum(len(labels) // len(LABELS) for labels in network.labels)
        assert halves == calls_made(network.schedule, path, steps, *guided)
    schedule = make_schedule(own, 300)
    for calls in (1, 2, 3, 8, 33):
        steps, guided = most_steps(schedule, path, calls, 2.0, (0, 0.75)), (2.0, (0, 0.75))
        assert calls_made(schedule, path, steps, *guided) <= calls < calls_made(schedule, path, steps + 1, *guided)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver", "sde_dpm_solver"])
def test_noise_to_begin_with_is_the_noise_that_is_drawn_by_default(sampler):
    """So the noise in x_t is not drawn again by a sampler that draws noise in its steps."""
    noise = randn((1, 28, 28), [torch.Generator().manual_seed(seed) for seed in SEEDS])
    how = (LABELS, SEEDS, sampler, "trailing", 4, 1.0)
    by_default, given = (list(generate(Asked("cosine"), *how, **more)) for more in ({}, {"x_t": noise, "start": 299}))
    assert all(torch.equal(a.x_t, b.x_t) for a, b in zip(by_default, given, strict=True))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="a seed for each of the 2 labels, not 10"):
        generate(Asked("cosine"), LABELS, range(10), "ddim", "trailing", 4, 1.0)
    flow_map = Asked("cosine")
    flow_map.is_map = True
    with pytest.raises(ValueError, match="path must be null"):
        generate(flow_map, LABELS, SEEDS, "ddim", "trailing", 4, 1.0, path="flow")


def test_paths_and_calls_are_compared(tmp_path):
    networks = {
        "diffusion": {"model": {"prediction_type": "sample"}, "schedule": {"name": "cosine"}},
        "flow_matching": {"model": {"prediction_type": "flow"}, "schedule": {"name": "flow"}},
    }
    rows = [
        {
            "walk": walk,
            "calls": calls,
            "accuracy_value": 0.5,
            "accuracy_low": 0.4,
            "accuracy_high": 0.6,
            "accuracy_n": 500,
        }
        | {"frechet_distance": 10 / calls + i, "frechet_floor": 0.2}
        for i, walk in enumerate(("DDPM", "Euler along the flow"))
        for calls in (1, 1, 3, 7)
    ]
    figure = calls_figure(networks, dict.fromkeys(networks, pd.DataFrame(rows)))
    path = write_figure(tmp_path, **figure)
    first, second = read_figure(path).blocks
    assert first["title"] == "Drawn with a network trained to predict the clean image, x₀"
    assert second["title"] == "Drawn with a network trained to predict the flow's velocity, u, along a flow"
    assert [one["name"] for one in first["chart"]["series"]] == ["DDPM", "Euler along the flow", "real digits"]
    assert first["chart"]["series"][1] == {"name": "Euler along the flow", "x": [1, 3, 7]} | {
        "y": [11.0, 10 / 3 + 1, 10 / 7 + 1]
    }
    names = [metric["name"] for metric in figure["metrics"]]
    assert names[:2] == ["diffusion, one call: class accuracy", "diffusion, one call: Fréchet distance"]
    assert len(names) == len(set(names)) == 2 * 2 * (1 + 2 * 2)


def test_the_single_step_figure_tells_what_was_measured(tmp_path):
    digits = np.zeros((10, 28, 28), np.uint8)
    sigmas = (0.0, 0.5, 1.0)
    figure = single_step_figure(
        sigma=0.5,
        pictures={
            "clean": digits,
            "noisy": dict.fromkeys(sigmas, digits),
            "denoised": dict.fromkeys(sigmas, digits),
            "epochs": dict.fromkeys(("before", "epoch 1", "epoch 5"), digits),
            "from_noise": digits,
            "mean": digits[:1],
        },
        psnr={
            "noisy": {0.0: np.inf, 0.5: 9.4, 1.0: 6.0},
            "denoised": {0.0: 23.5, 0.5: 20.8, 1.0: 15.5},
            "own": {1.0: 16.1},
        },
        distance=0.01,
        spread=0.25,
        losses=pd.DataFrame({"epoch": [1, 2], "images": [100, 200], "loss": [0.1, 0.05]}),
        seed=180,
        n=500,
        made={"network": "small"},
    )
    blocks = read_figure(write_figure(tmp_path, **figure)).blocks
    nothing, levels, chart, *_ = blocks
    series = chart["chart"]["series"]
    assert series[0]["x"] == [0.5, 1.0], "nothing was added at 0"
    assert series[2] == {"name": "each trained at its own σ", "x": [0.5, 1.0], "y": [20.8, 16.1]}
    assert [panel["label"] for panel in levels["panels"][:2]] == ["σ = 0", "denoised: 23.5 dB"]
    assert "by 0.01 (root mean square)" in nothing["caption"] and "real digit by 0.25" in nothing["caption"]


def test_another_data_set_is_not_called_digits():
    figure = {
        "id": "class_conditioned_samples",
        "title": "Digits of MNIST",
        "caption": "Each column shows one requested digit.",
        "blocks": [{"panels": [{"alt": "A handwritten seven with noise.", "provenance": {"data": "MNIST digits"}}]}],
    }
    digits = {"name": "mnist", "classes": [str(digit) for digit in range(10)]}
    assert in_words_of(figure, digits) is figure
    other = in_words_of(figure, {"name": "fashion_mnist", "classes": list("abcdefghij")})
    assert other["title"] == "Pictures of Fashion-MNIST" and other["id"] == figure["id"]
    assert other["caption"] == "The columns show, as asked: a, b, c, d, e, f, g, h, i, j."
    assert other["blocks"][0]["panels"][0] == {"alt": "“h” with noise.", "provenance": {"data": "MNIST digits"}}
