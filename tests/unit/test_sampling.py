"""The reverse loop against diffusers' schedulers, step by step."""

import math
from functools import partial

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from fun.data.timesteps import check_walk, spaced_timesteps, steps_made, time_text, timestep_of, timestep_pairs
from fun.diffusion.sampling import (
    Prediction,
    ddim_step,
    ddpm_step,
    denoise,
    dynamic_threshold,
    make_step,
    on_path,
    randn,
)
from fun.diffusion.schedule import SCHEDULES, Flow, NoiseSchedule

T = 1000
SHAPE = (3, 8, 8)
SCHEDULE = NoiseSchedule.cosine(T)
VARIANCES = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}


def generators(n=2, seed=180):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def network(x_t, t):
    """Something that depends on all of its inputs and is roughly noise, and raw variance channels."""
    return torch.tanh(x_t + t / T).flip(3) + 0.8 * x_t, torch.sin(5 * x_t)


def predict(x_t, t):
    """The same as a Prediction."""
    noise, v = network(x_t, t)
    return Prediction(SCHEDULE.predict_x_start(x_t, t, noise), noise, v)


def theirs(scheduler, num_steps, learned=False, **step_options):
    """diffusers' loop, with the same random draws as ours."""
    scheduler.set_timesteps(num_steps)
    generator = generators()
    x_t = randn(SHAPE, generator)
    for t in scheduler.timesteps:
        noise, v = network(x_t, int(t))
        output = torch.cat([noise, v], 1) if learned else noise
        x_t = scheduler.step(output, t, x_t, generator=generator, **step_options).prev_sample
    return x_t


def ours(spacing, num_steps, step, threshold):
    generator = generators()
    pairs = timestep_pairs(spaced_timesteps(spacing, T, num_steps))
    *_, last = denoise(SCHEDULE, predict, randn(SHAPE, generator), pairs, step, generator, threshold)
    return last.x_t


@pytest.mark.parametrize("sample_max_value", [1.0, 1.5])
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("spacing", ["leading", "linspace"])
def test_ddpm_equals_diffusers(spacing, variance, sample_max_value):
    scheduler = DDPMScheduler(
        T,
        beta_schedule="squaredcos_cap_v2",
        variance_type=VARIANCES[variance],
        timestep_spacing=spacing,
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=sample_max_value,
        clip_sample=False,
    )
    expected = theirs(scheduler, 30, learned=variance == "learned")
    threshold = partial(dynamic_threshold, ratio=0.95, sample_max_value=sample_max_value)
    actual = ours(spacing, 30, partial(ddpm_step, variance=variance), threshold)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-4)


def test_ddim_equals_diffusers():
    # With other spacings, diffusers' DDIM counts t' down by T // num_steps, not to the next timestep of its own list.
    scheduler = DDIMScheduler(T, beta_schedule="squaredcos_cap_v2", timestep_spacing="leading", clip_sample=True)
    actual = ours("leading", 25, ddim_step, dynamic_threshold)
    torch.testing.assert_close(actual, theirs(scheduler, 25, use_clipped_model_output=True), rtol=0, atol=2e-4)


@pytest.mark.parametrize("num_steps", [2, 5, 12, 30])
@pytest.mark.parametrize("threshold", [None, partial(dynamic_threshold, ratio=0.95, sample_max_value=1.5)])
@pytest.mark.parametrize("sampler", ["dpm_solver", "sde_dpm_solver"])
def test_dpm_solver_equals_diffusers(num_steps, threshold, sampler):
    scheduler = DPMSolverMultistepScheduler(
        T,
        beta_schedule="squaredcos_cap_v2",
        algorithm_type={"dpm_solver": "dpmsolver++", "sde_dpm_solver": "sde-dpmsolver++"}[sampler],
        solver_order=2,
        thresholding=threshold is not None,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
        final_sigmas_type="zero",
        euler_at_final=True,
    )
    scheduler.set_timesteps(timesteps=spaced_timesteps("trailing", T, num_steps))
    draws = generators()
    x_t = randn(SHAPE, draws)
    for t in scheduler.timesteps:
        noise = randn(SHAPE, draws) if sampler == "sde_dpm_solver" else None
        x_t = scheduler.step(network(x_t, int(t))[0], t, x_t, variance_noise=noise).prev_sample
    actual = ours("trailing", num_steps, make_step(sampler), threshold)
    torch.testing.assert_close(actual, x_t, atol=1e-4, rtol=1e-4)


def test_dpm_solvers_memory_is_one_walks():
    """Two walks after each other, or in turns, are each as if alone; and its first step is DDIM's."""
    pairs = [(999, 600), (600, 300), (300, -1)]

    def walk(seed, step):
        return denoise(SCHEDULE, predict, randn(SHAPE, generators(seed=seed)), pairs, step, generators(seed=seed))

    alone = [[state.x_t for state in walk(seed, make_step("dpm_solver"))] for seed in (1, 2)]
    in_turns = zip(walk(1, make_step("dpm_solver")), walk(2, make_step("dpm_solver")), strict=True)
    for states, x_t in zip(in_turns, zip(*alone, strict=True), strict=True):
        assert all(torch.equal(state.x_t, x) for state, x in zip(states, x_t, strict=True))
    step = make_step("dpm_solver")
    for seed, expected in zip((1, 2), alone, strict=True):
        assert all(torch.equal(state.x_t, x) for state, x in zip(walk(seed, step), expected, strict=True))
    ddim = [state.x_t for state in walk(1, make_step("ddim"))]
    assert torch.equal(ddim[0], alone[0][0]) and not torch.equal(ddim[1], alone[0][1])


def test_dpm_solver_needs_fewer_steps_than_ddim():
    """A Gaussian, whose exact denoiser is known: the error of 10 steps against 1,000."""
    mu, s = 0.3, 0.5

    def exact(x_t, t):
        abar = SCHEDULE.alpha_bar(t)
        mean = mu + abar.sqrt() * s**2 / (abar * s**2 + 1 - abar) * (x_t - abar.sqrt() * mu)
        return mean, SCHEDULE.noise_from_x_start(x_t, t, mean), None

    def draw(sampler, num_steps):
        pairs = timestep_pairs(spaced_timesteps("trailing", T, num_steps))
        *_, last = denoise(SCHEDULE, exact, randn(SHAPE, generators()), pairs, make_step(sampler), generators())
        return last.x_t

    truth = draw("ddim", 1000)
    error = {sampler: (draw(sampler, 10) - truth).abs().mean() for sampler in ("ddim", "dpm_solver")}
    assert error["dpm_solver"] < error["ddim"] / 2


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("num_steps", [1, 2, 30, 33, 1000])
def test_timesteps_equal_diffusers(spacing, num_steps):
    if (spacing, num_steps) == ("linspace", 1):
        assert spaced_timesteps(spacing, T, 1) == [0]
        return
    scheduler = DDPMScheduler(T, timestep_spacing=spacing)
    scheduler.set_timesteps(num_steps)
    assert spaced_timesteps(spacing, T, num_steps) == scheduler.timesteps.tolist()


def test_the_assignments_stride():
    assert spaced_timesteps("stride", 1000, 33) == list(range(990, -1, -30))
    pairs = timestep_pairs(spaced_timesteps("stride", 1000, 33))
    assert pairs[0] == (990, 960)
    assert pairs[-1] == (0, -1)


@pytest.mark.parametrize("num_steps", [0, -3, 1001])
def test_impossible_numbers_of_steps_are_refused(num_steps):
    with pytest.raises(ValueError, match="between 1 and 1000"):
        spaced_timesteps("leading", 1000, num_steps)


@pytest.mark.parametrize(
    ("spacing", "num_steps", "said"),
    [
        ("leading", 1, "begins at t = 0 of 999, not at noise: use trailing"),
        ("leading", 2, "begins at t = 500"),
        ("leading", 501, "begins at t = 500"),
        ("stride", 2, "begins at t = 500"),
        ("linspace", 1, "begins at t = 0"),
        ("stride", 501, "makes 1000: use trailing, or say so many"),
    ],
)
def test_walks_that_cannot_be_meant_are_refused(spacing, num_steps, said):
    with pytest.raises(ValueError, match=f"^spacing {spacing} with {num_steps} steps {said}"):
        check_walk(spacing, T, num_steps)


@pytest.mark.parametrize("num_steps", [1, 2, 10, 25, 30, 33, 50, 100, 250, 501, 999, 1000])
def test_every_number_of_steps_has_a_walk(num_steps):
    check_walk("trailing", T, num_steps)
    assert steps_made({"spacing": "trailing", "steps": num_steps}) == num_steps


def test_the_steps_that_are_told_are_those_that_are_made():
    assert steps_made({"spacing": "stride", "steps": 33}) == 34  # 990, 960, ..., 0
    assert steps_made({"spacing": "stride", "steps": 33}, start=690) == 24
    assert steps_made({"spacing": "leading", "steps": 30}) == 30


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="known: stride, leading, trailing, linspace"):
        spaced_timesteps("cubic", 1000, 30)
    with pytest.raises(ValueError, match="known: learned, small, large"):
        ours("leading", 30, partial(ddpm_step, variance="tiny"), None)
    with pytest.raises(ValueError, match="unknown sampler 'euler'; known: ddpm, ddim, dpm_solver, sde_dpm_solver"):
        make_step("euler")


def test_each_sample_has_a_generator_of_its_own():
    for some in ([], generators(1), generators(3)):
        with pytest.raises(ValueError, match=f"a generator for each of the 2 samples, not {len(some)}"):
            next(denoise(SCHEDULE, predict, torch.zeros(2, *SHAPE), [(5, -1)], ddim_step, some))


def test_a_variance_that_no_network_predicted_is_not_taken_for_learned():
    with pytest.raises(ValueError, match="this network predicts no variance"):
        ddpm_step(SCHEDULE, 500, 400, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), None, None, "learned")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("step", [ddim_step, ddpm_step])
def test_a_network_that_knows_the_noise_gets_the_image_back(name, step):
    schedule = SCHEDULES[name](300)
    x_0 = torch.rand(2, 1, 4, 4, dtype=torch.float64) * 2 - 1

    def oracle(x_t, t):
        return x_0, schedule.noise_from_x_start(x_t, t, x_0), None

    pairs = timestep_pairs(spaced_timesteps("trailing", 300, 10))
    *_, last = denoise(schedule, oracle, torch.randn(2, 1, 4, 4).double(), pairs, step, generators())
    assert last.t == -1
    torch.testing.assert_close(last.x_t, x_0, rtol=0, atol=1e-9)


def test_ddpm_samples_a_gaussian_exactly():
    """With the true score of N(mu, s^2), ancestral sampling over all timesteps ends in that distribution."""
    mu, s, n = 0.4, 0.5, 4000

    def exact(x_t, t):
        abar = SCHEDULE.alpha_bar(t)
        noise = (1 - abar).sqrt() * (x_t - abar.sqrt() * mu) / (abar * s**2 + 1 - abar)
        return SCHEDULE.predict_x_start(x_t, t, noise), noise, None

    generator = [torch.Generator().manual_seed(1)]
    x_T = torch.randn(1, 1, 1, n, generator=generator[0])
    pairs = timestep_pairs(spaced_timesteps("leading", T, 250))
    *_, last = denoise(SCHEDULE, exact, x_T, pairs, partial(ddpm_step, variance="large"), generator)
    assert float(last.x_t.mean()) == pytest.approx(mu, abs=0.03)
    assert float(last.x_t.std()) == pytest.approx(s, abs=0.03)


def test_states_lead_from_first_to_last_timestep():
    pairs = [(800, 400), (400, 0), (0, -1)]
    states = list(denoise(SCHEDULE, predict, torch.zeros(2, *SHAPE), pairs, ddim_step, generators()))
    assert [s.t for s in states] == [400, 0, -1]
    assert all(s.x_t.shape == s.x_0.shape == (2, *SHAPE) for s in states)


def test_the_constraint_has_the_last_word_of_each_step():
    seen = []

    def constraint(x, t_prev):
        seen.append(t_prev)
        return torch.full_like(x, 0.25)

    pairs = [(800, 400), (400, -1)]
    *_, last = denoise(SCHEDULE, predict, torch.zeros(2, *SHAPE), pairs, ddim_step, generators(), constraint=constraint)
    assert seen == [400, -1]
    assert (last.x_t == 0.25).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_not_finite_end_the_walk(value):
    """A black picture would look as if it had been drawn."""

    def overflows(x_t, t):
        return x_t if t > 400 else torch.full_like(x_t, value), x_t, None

    states = denoise(SCHEDULE, overflows, torch.zeros(1, *SHAPE), [(800, 400), (400, -1)], ddim_step, generators(1))
    assert next(states).t == 400
    with pytest.raises(ValueError, match="not finite after timestep 400"):
        next(states)


def test_gradients_are_off_inside_and_untouched_outside():
    def predict(x_t, t):
        assert not torch.is_grad_enabled()
        return x_t, x_t, None

    for _ in denoise(SCHEDULE, predict, torch.zeros(1, *SHAPE), [(9, 5), (5, -1)], ddim_step, generators(1)):
        assert torch.is_grad_enabled()


def test_a_sample_does_not_depend_on_its_neighbours():
    together = randn(SHAPE, generators(4))
    assert torch.equal(together[2], randn(SHAPE, generators(1, seed=182))[0])


def test_dynamic_threshold_works_per_image():
    x = torch.stack([torch.linspace(-3, 3, 192), torch.linspace(-0.5, 0.5, 192)]).view(2, *SHAPE)
    out = dynamic_threshold(x, ratio=0.95, sample_max_value=1.5)
    assert out.abs().max() == 1
    torch.testing.assert_close(out[1], x[1])  # an image inside [-1, 1] stays as it is
    torch.testing.assert_close(out[0], x[0].clamp(-1.5, 1.5) / 1.5)


def test_a_flows_times_are_timesteps():
    """t = 0 is noise there, and 1 the clean image."""
    assert [timestep_of(t) for t in (0.02, 0.5, 0.999, 0.9996, 690, 1, 0)] == [979, 499, 0, 0, 690, 1, 0]
    assert [time_text(t, "flow") for t in (979, 499, -1)] == ["t = 0.02", "t = 0.5", "finished"]
    assert [time_text(t, None) for t in (979, -1)] == ["t = 979", "finished"]
    assert steps_made({"spacing": "trailing", "steps": 50}, start=0.5) == 25


# --- flow matching: the same loop on another schedule ---

FLOW = Flow(T)


def flow_predictor(velocity):
    """velocity: (x_t, s) -> u = x_0 - noise; as a Prediction."""

    def predict(x_t, t):
        u = velocity(x_t, (t + 1) / T)
        return Prediction(*FLOW.x_start_and_noise("flow", x_t, t, u))

    return predict


@pytest.mark.parametrize("num_steps", [1, 2, 7, 50, 300])
def test_ddim_on_a_flow_is_diffusers_euler(num_steps):
    def velocity(x_t, s):
        return torch.tanh(x_t + s).flip(3) - 0.5 * x_t

    scheduler = FlowMatchEulerDiscreteScheduler(T)
    pairs = timestep_pairs(spaced_timesteps("trailing", T, num_steps))
    scheduler.set_timesteps(sigmas=[(t + 1) / T for t, _ in pairs])
    expected = randn(SHAPE, generators())
    for t in scheduler.timesteps:
        expected = scheduler.step(-velocity(expected, float(t) / T), t, expected).prev_sample  # theirs is noise - x_0
    *_, last = denoise(FLOW, flow_predictor(velocity), randn(SHAPE, generators()), pairs, ddim_step, generators())
    torch.testing.assert_close(last.x_t, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
@pytest.mark.parametrize(
    "pairs",
    [
        [(T - 1, -1)],
        timestep_pairs(spaced_timesteps("trailing", T, 7)),
        [(T - 1, 600), (600, 100), (100, 90), (90, -1)],  # with a shortened last step
        [(499, 333.3), (333.3, 12.5), (12.5, -1)],  # from half-way, at levels between the timesteps
    ],
)
def test_a_constant_velocity_ends_at_the_analytic_point(pairs, sampler):
    u = torch.linspace(-1, 1, 8).expand(SHAPE).double()
    x_t = randn(SHAPE, generators()).double()
    s = (pairs[0][0] + 1) / T
    *_, last = denoise(FLOW, flow_predictor(lambda x, s: u), x_t, pairs, make_step(sampler), generators())
    torch.testing.assert_close(last.x_t, x_t + s * u, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver", "sde_dpm_solver"])
@pytest.mark.parametrize("path", SCHEDULES)
def test_every_sampler_draws_a_gaussian_on_every_path(path, sampler):
    """The exact denoiser of N(mu, s^2), in 250 steps from pure noise."""
    mu, s, n, schedule = 0.4, 0.5, 4000, SCHEDULES[path](T)

    def exact(x_t, t):
        signal, sigma = schedule.levels(t)
        x_0 = mu + signal * s**2 / (signal**2 * s**2 + sigma**2) * (x_t - signal * mu)
        return x_0, schedule.noise_from_x_start(x_t, t, x_0), None

    x_T = torch.randn(1, 1, 1, n, generator=torch.Generator().manual_seed(1))
    pairs = timestep_pairs(spaced_timesteps("trailing", T, 250))
    *_, last = denoise(schedule, exact, x_T, pairs, make_step(sampler), generators(1))
    # a flow's first step of 1/250 is a long one in lambda, and the linear schedule leaves signal at its end
    assert float(last.x_t.mean()) == pytest.approx(mu, abs=0.03)
    assert float(last.x_t.std()) == pytest.approx(s, abs=0.03)


class Own:
    """A network on its own schedule, which looks at the picture, the timestep and the companion."""

    def __init__(self, name):
        self.schedule, self.asked = SCHEDULES[name](T), []

    def __call__(self, x, t, cond):
        self.asked.append(t)
        prediction = torch.tanh(x[:, :3] + torch.as_tensor(t / T).float()).flip(3) * 0.9 + 0.1 * x[:, 3:]
        kind = "flow" if isinstance(self.schedule, Flow) else "v_prediction"
        return Prediction(*self.schedule.x_start_and_noise(kind, x[:, :3], t, prediction))


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
@pytest.mark.parametrize(("own", "path"), [("cosine", "flow"), ("linear", "flow"), ("flow", "cosine")])
def test_a_walk_on_another_path_is_the_walk_at_the_same_noise_levels(own, path, sampler):
    """A deterministic sampler only sees the ratio of signal and noise: same levels, same picture."""
    network, walked = Own(own), SCHEDULES[path](T)
    companion = torch.ones(2, 3, 8, 8)
    if path == "cosine":
        on_path_pairs = timestep_pairs(spaced_timesteps("trailing", T, 12), start=700)
    else:
        at = spaced_timesteps("trailing", T, 12)
        on_path_pairs = timestep_pairs([walked.timestep_of(*network.schedule.levels(t)) for t in at])
    start = on_path_pairs[0][0]
    _, factor = network.schedule.along(walked, start)
    own_pairs = [tuple(-1 if t == -1 else network.schedule.along(walked, t)[0] for t in pair) for pair in on_path_pairs]
    x_t = randn(SHAPE, generators())

    def walk(schedule, asked, x, pairs):
        def predict(x, t):
            return asked(torch.cat([x, companion], 1), t, None)

        *_, last = denoise(schedule, predict, x, pairs, make_step(sampler), generators())
        return last.x_t

    expected = walk(network.schedule, network, x_t * factor.float(), own_pairs)
    found = walk(walked, on_path(network, walked, channels=3), x_t, on_path_pairs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert network.asked[: len(own_pairs)] == network.asked[len(own_pairs) :]
