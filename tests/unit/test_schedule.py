"""NoiseSchedule against diffusers' schedulers and against the formulas written out."""

import re

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from fun.diffusion.schedule import PREDICTION_TYPES, SCHEDULES, Flow, NoiseSchedule, OneLevel, make_schedule
from fun.networks.mnist_unets import SmallUNet

T = 1000
DIFFUSERS_NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


@pytest.fixture(params=DIFFUSERS_NAMES)
def pair(request):
    """Our schedule, and diffusers' with the same betas."""
    return SCHEDULES[request.param](T), DDPMScheduler(T, beta_schedule=DIFFUSERS_NAMES[request.param])


def images(seed, n=3):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_alpha_bar_equals_diffusers(pair):
    ours, theirs = pair
    # diffusers' is a float32 product, with a relative error of 1.3e-5 at the last timestep
    torch.testing.assert_close(ours.alpha_bar(torch.arange(T)).float(), theirs.alphas_cumprod, rtol=2e-5, atol=1e-6)


def test_alpha_bar_of_the_clean_image_is_one(pair):
    assert pair[0].alpha_bar(-1) == 1
    assert pair[0].alpha_bar(torch.tensor([-1, 0]))[0] == 1


def test_q_sample_equals_diffusers(pair):
    ours, theirs = pair
    x_0, noise, t = images(0), images(1), torch.tensor([0, 500, 999])
    torch.testing.assert_close(ours.q_sample(x_0, t, noise), theirs.add_noise(x_0, noise, t), rtol=0, atol=1e-5)


def test_q_sample_of_one_timestep_equals_that_of_each(pair):
    schedule, x_0, noise = pair[0], images(0), images(1)
    torch.testing.assert_close(
        schedule.q_sample(x_0, 300, noise), schedule.q_sample(x_0, torch.tensor([300] * 3), noise), rtol=1e-6, atol=1e-7
    )


def test_q_sample_has_the_mean_and_variance_of_the_formula(pair):
    schedule = pair[0]
    x_0 = torch.full((20000, 1, 1, 1), 0.7, dtype=torch.float64)
    noise = torch.randn(x_0.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0, 250, 750, 999):
        x_t, abar = schedule.q_sample(x_0, t, noise), schedule.alpha_bar(t)
        assert abs(x_t.mean() - abar.sqrt() * 0.7) < 4 * ((1 - abar) / 20000).sqrt() + 1e-12
        assert abs(x_t.var() / (1 - abar) - 1) < 0.05


@pytest.mark.parametrize("t", [0, 1, 400, 998])
def test_noise_and_x_start_tell_the_same(pair, t):
    schedule, x_0, noise = pair[0], images(0).double(), images(1).double()
    x_t = schedule.q_sample(x_0, t, noise)
    torch.testing.assert_close(schedule.predict_x_start(x_t, t, noise), x_0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(schedule.noise_from_x_start(x_t, t, x_0), noise, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", [0, 1, 400, 998, torch.tensor([3, 500, 990])])
def test_what_a_network_predicts_tells_x_start_and_noise(name, t, kind):
    schedule, x_0, noise = SCHEDULES[name](T), images(0).double(), images(1).double()
    prediction = schedule.target(kind, x_0, t, noise)
    found = schedule.x_start_and_noise(kind, schedule.q_sample(x_0, t, noise), t, prediction)
    for one, expected in zip(found, (x_0, noise), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-9)


def test_velocity_equals_diffusers(pair):
    ours, theirs = pair
    x_0, noise, t = images(0), images(1), torch.tensor([0, 500, 999])
    torch.testing.assert_close(
        ours.target("v_prediction", x_0, t, noise), theirs.get_velocity(x_0, noise, t), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("t", "t_prev"), [(990, 960), (500, 499), (30, 0), (0, -1), (999, -1)])
def test_q_posterior_is_the_formula_written_out(pair, t, t_prev):
    schedule, x_0, x_t = pair[0], images(0).double(), images(1).double()
    abar, abar_prev = float(schedule.alpha_bar(t)), float(schedule.alpha_bar(t_prev))
    a = abar / abar_prev
    mean, variance = schedule.q_posterior(x_0, x_t, t, t_prev)
    expected = abar_prev**0.5 * (1 - a) / (1 - abar) * x_0 + a**0.5 * (1 - abar_prev) / (1 - abar) * x_t
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    assert float(variance) == pytest.approx((1 - a) * (1 - abar_prev) / (1 - abar), rel=1e-12, abs=1e-15)


def test_q_posterior_of_many_timesteps_is_that_of_each(pair):
    """Also where there are as many images as columns of pixels, and numbers would multiply those."""
    schedule, x_0, x_t, t = pair[0], images(0, 8), images(1, 8), torch.arange(100, 900, 100)
    mean, variance = schedule.q_posterior(x_0, x_t, t, t - 50)
    for i in range(8):
        one = schedule.q_posterior(x_0[i : i + 1], x_t[i : i + 1], int(t[i]), int(t[i]) - 50)
        torch.testing.assert_close((mean[i : i + 1], variance[i]), one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("t", [T, -2, -20, torch.tensor([0, T]), torch.tensor([-2, 5])])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_timestep_that_does_not_exist_is_refused(name, t):
    """T is Ho's last one, -20 where diffusers' last step goes."""
    with pytest.raises(ValueError, match="t must be from -1 to 999"):
        SCHEDULES[name](T).q_sample(images(0, 2), t, images(1, 2))


def test_between_two_timesteps_there_is_nothing_but_on_a_flow(pair):
    with pytest.raises(ValueError, match="t must be a whole number"):
        pair[0].alpha_bar(0.5)
    assert Flow(T).levels(0.5)[1] == 1.5 / T


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda schedule, x: schedule.target("eps", x, 5, x), "unknown prediction_type 'eps'; known: epsilon, sample"),
        (
            lambda schedule, x: schedule.x_start_and_noise("eps", x, 5, x),
            "unknown prediction_type 'eps'; known: epsilon",
        ),
        (lambda schedule, x: SmallUNet(schedule, True, prediction_type="eps"), "unknown prediction_type 'eps'"),
        (lambda schedule, x: SmallUNet(Flow(T), True, prediction_type="epsilon"), "epsilon says nothing of the image"),
        (lambda schedule, x: make_schedule("sigmoid", T), "unknown schedule 'sigmoid'; known: linear, cosine, flow"),
    ],
)
def test_what_a_schedule_does_not_know_is_refused(pair, ask, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        ask(pair[0], images(0))


def test_q_posterior_is_bayes_rule():
    """q(x_prev | x_t, x_0) is proportional to q(x_t | x_prev) q(x_prev | x_0): two normals multiplied."""
    schedule, t, t_prev, x_0, x_t = NoiseSchedule.cosine(T), 600, 570, 0.3, -1.1
    abar, abar_prev = float(schedule.alpha_bar(t)), float(schedule.alpha_bar(t_prev))
    a = abar / abar_prev
    precision = a / (1 - a) + 1 / (1 - abar_prev)
    mean = (a**0.5 * x_t / (1 - a) + abar_prev**0.5 * x_0 / (1 - abar_prev)) / precision
    ours = schedule.q_posterior(torch.tensor(x_0).double(), torch.tensor(x_t).double(), t, t_prev)
    assert float(ours[0]) == pytest.approx(mean, rel=1e-6)
    assert float(ours[1]) == pytest.approx(1 / precision, rel=1e-12)


def test_x_start_equals_diffusers_where_there_is_signal(pair):
    ours, ddpm = pair
    theirs = DDIMScheduler(T, beta_schedule=ddpm.config.beta_schedule, clip_sample=False)
    theirs.set_timesteps(T)
    for t in (0, 300, 800):
        assert ours.alpha_bar(t) > 1e-3
        x_t, noise = images(0), images(1)
        expected = theirs.step(noise, t, x_t).pred_original_sample
        torch.testing.assert_close(ours.predict_x_start(x_t, t, noise), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("betas", [[], [0.1, 0.0], [0.5, 1.2], [[0.1]], [float("nan")]])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        NoiseSchedule(torch.tensor(betas))


def test_the_posterior_mean_is_bayes_rule():
    schedule = NoiseSchedule.cosine(1000)
    images = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10, 600, 999])
    x_t = schedule.q_sample(images[:3], t, torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(1)))
    possible = torch.ones(3, 5, dtype=torch.bool)
    possible[1, 1] = False
    found = schedule.posterior_mean(x_t, t, images, possible)
    for i, row in enumerate(possible):
        abar = schedule.alpha_bar(int(t[i]))
        density = torch.distributions.Normal(abar.sqrt() * images[row].double(), (1 - abar).sqrt())
        likelihood = density.log_prob(x_t[i].double()).flatten(1).sum(1).exp()
        expected = (likelihood.view(-1, 1, 1, 1) * images[row].double()).sum(0) / likelihood.sum()
        torch.testing.assert_close(found[i].double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.allclose(schedule.posterior_mean(x_t, 999, images[:1]), images[:1].expand(3, -1, -1, -1), atol=1e-6)


# --- flow matching ---

FLOW = Flow(T)


def test_a_flow_is_the_straight_line():
    x_0, noise = images(0), images(1)
    for t, s in ((-1, 0.0), (499, 0.5), (T - 1, 1.0), (123.75, 0.12475)):
        expected = ((1 - s) * x_0.double() + s * noise.double()).float()
        torch.testing.assert_close(FLOW.q_sample(x_0, t, noise), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(FLOW.q_sample(x_0, -1, noise), x_0) and torch.equal(FLOW.q_sample(x_0, T - 1, noise), noise)
    assert [round(float(FLOW.relative_time(t)), 6) for t in (-1, 499, 999)] == [1.0, 0.5, 0.0], "the course's time"


def test_at_a_flows_start_where_there_is_no_signal_only_epsilon_is_not_enough():
    x_0, noise = images(0), images(1)
    for kind in ("sample", "v_prediction", "flow"):
        prediction = FLOW.target(kind, x_0, T - 1, noise)
        found = FLOW.x_start_and_noise(kind, noise, T - 1, prediction)
        torch.testing.assert_close(found, (x_0, noise), rtol=1e-5, atol=1e-5)
    assert not FLOW.x_start_and_noise("epsilon", noise, T - 1, noise)[0].isfinite().any()


@pytest.mark.parametrize(("t", "t_prev"), [(T - 1, 979), (T - 1, -1), (700, 699), (250.5, 31.25), (10, -1)])
def test_a_flows_posterior_is_the_formula_written_out(t, t_prev):
    s, s_prev = (t + 1) / T, (t_prev + 1) / T
    x_0, x_t = images(0).double(), images(1).double()
    a = (1 - s) / (1 - s_prev)
    v = s**2 - a**2 * s_prev**2
    mean, variance = FLOW.q_posterior(x_0, x_t, t, t_prev)
    expected = (a * s_prev**2 * x_t + (1 - s_prev) * v * x_0) / s**2
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    assert float(variance) == pytest.approx(v * s_prev**2 / s**2, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("own", SCHEDULES)
def test_every_schedule_has_a_timestep_for_the_noise_of_another(own, path):
    """Its ratio of signal and noise is the nearest there is, and x_t there, scaled, has the levels of the own timestep."""
    trained, walked = SCHEDULES[own](T), SCHEDULES[path](T)
    for t in (20, 300, 500, 700, 979):
        at, factor = trained.along(walked, t)
        (signal, sigma), (own_signal, own_sigma) = walked.levels(t), trained.levels(at)
        scaled = torch.stack([signal, sigma]) * factor
        step = max(
            abs(torch.stack(trained.levels(at)) - torch.stack(trained.levels(t_))).max() for t_ in (at - 1, at + 1)
        )
        if own == "linear" and path != "linear" and t > 900:
            continue  # that schedule does not go so far
        assert (scaled - torch.stack([own_signal, own_sigma])).abs().max() <= step
    if own == path:
        assert trained.along(walked, 321) == (pytest.approx(321), pytest.approx(1))


def test_a_single_level_adds_the_same_noise_always():
    schedule, x_0, noise = OneLevel(1, 0.5), images(0), images(1)
    torch.testing.assert_close(schedule.q_sample(x_0, torch.zeros(3, dtype=torch.int64), noise), x_0 + noise / 2)
    assert schedule.timesteps_at(torch.rand(5)).tolist() == [0] * 5 and float(schedule.relative_time(0)) == 0
    mean, variance = schedule.q_posterior(x_0, x_0 + noise / 2, 0, -1)
    assert torch.equal(mean, x_0) and variance == 0, "its one step is its estimate"
