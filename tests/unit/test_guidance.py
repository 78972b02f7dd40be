from functools import partial

import pytest
import torch

from fun.diffusion.filters import gaussian_blur, parts
from fun.diffusion.guidance import Branch, predict
from fun.diffusion.views import make_view

N, SIZE = 3, 16


class Recorder:
    """A network whose answer depends on picture, timestep and condition, and that remembers what it was asked."""

    def __init__(self, learned_variance=True):
        self.learned_variance = learned_variance
        self.batches = []

    def __call__(self, x, t, cond):
        self.batches.append(len(x))
        x_0 = torch.sin(3 * x[:, :3]) * cond.view(-1, 1, 1, 1) + x.mean((1, 2, 3), keepdim=True) + t / 1000
        noise = torch.tanh(x_0 - x[:, :3])
        return x_0, noise, torch.cos(x[:, :3] + cond.view(-1, 1, 1, 1)) if self.learned_variance else None


def cond(value):
    return torch.full((N,), float(value))


@pytest.fixture
def x_t():
    return torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_classifier_free_guidance(x_t):
    network = Recorder()
    found = predict(network, x_t, 500, [Branch(cond(2))], 7.0, cond(0))
    assert network.batches == [2 * N]
    told, untold = network(x_t, 500, cond(2)), network(x_t, 500, cond(0))
    for guided, c, u in zip(found[:2], told, untold, strict=False):
        assert torch.allclose(guided, u + 7 * (c - u), atol=1e-5)
    assert torch.equal(found.v, told[2]), "the conditional half's"


def test_a_weaker_network_guides(x_t):
    """Autoguidance: it answers the unconditional half, for every view, in one call; the network itself the other, in one."""
    network, weaker = Recorder(), Recorder()
    branches = [Branch(cond(2)), Branch(cond(3), make_view("rotate_180", SIZE), lambda noise: noise / 4)]
    found = predict(
        network, x_t, 500, branches, 2.0, cond(0), guide=lambda x, t, y: (0.5 * weaker(x, t, y)[0], x[:, :3], None)
    )
    assert network.batches == weaker.batches == [2 * N]
    turned = x_t.rot90(2, (2, 3))
    first, second = (
        -0.5 * Recorder()(x, 500, cond(0))[0] + 2 * Recorder()(x, 500, cond(c))[0] for x, c in ((x_t, 2), (turned, 3))
    )
    assert torch.allclose(found.x_0, first + second.rot90(2, (2, 3)) / 4, atol=1e-5)
    alone = predict(network, x_t, 500, branches, 2.0, cond(0))
    itself = predict(network, x_t, 500, branches, 2.0, cond(0), guide=Recorder())
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(alone, itself, strict=True))
    assert torch.equal(found.v, alone.v)


def test_each_sample_has_its_own_scale(x_t):
    scales = torch.tensor([1.0, 3.0, 7.0])
    together = predict(Recorder(), x_t, 500, [Branch(cond(2))], scales, cond(0))
    for i, scale in enumerate(scales.tolist()):
        alone = predict(Recorder(), x_t[i : i + 1], 500, [Branch(cond(2)[:1])], scale, cond(0)[:1])
        assert torch.allclose(together.x_0[i], alone.x_0[0], atol=1e-5)


@pytest.mark.parametrize("unconditional, scale", [(None, 7.0), (torch.zeros(N), 1.0)])
def test_without_guidance_only_the_condition_is_asked(x_t, unconditional, scale):
    network = Recorder(learned_variance=False)
    found = predict(network, x_t, 500, [Branch(cond(2))], scale, unconditional)
    assert network.batches == [N] and found.v is None
    assert all(torch.equal(*pair) for pair in zip(found[:2], network(x_t, 500, cond(2)), strict=False))


@pytest.mark.parametrize("names", [["identity", "rotate_180"], ["rotate_90_cw", "negate", "jigsaw"]])
def test_anagram_of_n_views_is_one_call_of_2n(x_t, names):
    network = Recorder()
    views = [make_view(name, SIZE) for name in names]
    n = len(views)
    branches = [Branch(cond(i + 1), view, lambda x: x / n) for i, view in enumerate(views)]
    found = predict(network, x_t, 300, branches, 7.0, cond(0))
    assert network.batches == [2 * n * N]
    expected = torch.zeros(3, *x_t.shape)
    for i, view in enumerate(views):
        told, untold = network(view.view(x_t), 300, cond(i + 1)), network(view.view(x_t), 300, cond(0))
        for which in (0, 1):
            expected[which] += view.inverse(untold[which] + 7 * (told[which] - untold[which])) / n
        expected[2] += view.inverse_variance(told[2]) / n
    assert torch.allclose(torch.stack(tuple(found)), expected, atol=1e-5)


def test_hybrid_of_n_prompts_is_one_call_of_n_plus_1(x_t):
    for sigmas in ([2.0], [2.0, 1.0]):
        network = Recorder()
        bands = parts([partial(gaussian_blur, sigma=sigma) for sigma in sigmas])
        branches = [Branch(cond(i + 1), part=band) for i, band in enumerate(bands)]
        found = predict(network, x_t, 300, branches, 7.0, cond(0))
        assert network.batches == [(len(bands) + 1) * N]
        untold = network(x_t, 300, cond(0))
        asked = [network(x_t, 300, cond(i + 1)) for i in range(len(bands))]
        for which in (0, 1):
            u = untold[which]
            expected = sum(band(u + 7 * (told[which] - u)) for band, told in zip(bands, asked, strict=True))
            assert torch.allclose(found[which], expected, atol=1e-4)
        assert torch.allclose(found.v, sum(told[2] for told in asked) / len(asked), atol=1e-5)


def test_companion_is_seen_under_the_same_view(x_t):
    companion = torch.randn(N, 3, SIZE, SIZE)
    view = make_view("rotate_90_cw", SIZE)
    seen = []

    def network(x, t, cond):
        seen.append(x)
        return x[:, :3], x[:, :3], None

    predict(network, x_t, 1, [Branch(cond(1), view)], companion=companion)
    assert torch.equal(seen[0], torch.cat([view.view(x_t), view.view(companion)], 1))


@pytest.mark.parametrize("max_batch", [1, 2, 4, 100])
def test_max_batch_splits_the_call_and_nothing_else(x_t, max_batch):
    whole, split = Recorder(), Recorder()
    branches = [Branch(cond(1), make_view("negate", SIZE), lambda x: x / 2), Branch(cond(2), part=lambda x: x / 2)]
    expected = predict(whole, x_t, 500, branches, 3.0, cond(0))
    result = predict(split, x_t, 500, branches, 3.0, cond(0), max_batch=max_batch)
    assert sum(split.batches) == sum(whole.batches) == 4 * N and max(split.batches) <= max_batch
    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))
