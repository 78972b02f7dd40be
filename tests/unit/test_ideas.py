"""What the figures of the ideas are computed from: each by a case whose answer is known."""

import math

import pytest
import torch

from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.digits import generate
from fun.diffusion.inversion import ddim_inversion, slerp
from fun.diffusion.sampling import Prediction, ddim_step, denoise
from fun.diffusion.schedule import Flow, NoiseSchedule
from fun.ideas.agreement import correlation
from fun.ideas.handwriting import kept, slant, thickness
from fun.ideas.memory import PerfectDenoiser, losses, nearest
from fun.ideas.spectrum import bands, crossing, known, known_by_power, last_known, power
from fun.judging.itself import denoising_errors, judge_by_itself
from fun.networks.mnist_unets import NO_CLASS, SmallUNet
from fun.training.flow_map import MapTrainer
from fun.training.trainer import subset

SCHEDULE = NoiseSchedule.cosine(300)


def pictures(n, seed=0):
    """n different pictures of -1 and 1."""
    return torch.randn((n, 1, 28, 28), generator=torch.Generator().manual_seed(seed)).sign()


@pytest.fixture
def perfect():
    return PerfectDenoiser(SCHEDULE, pictures(20), torch.arange(10).repeat(2))


def test_the_perfect_denoiser_draws_pictures_that_it_knows_of_the_class_that_is_asked_for(perfect):
    labels = torch.arange(10)
    *_, last = generate(perfect, labels, range(10), "ddim", "trailing", 25, 1.0)
    chosen, far = nearest(last.x_t, perfect.images)
    assert far.max() < 1e-3 and torch.equal(perfect.labels[chosen], labels)
    *_, last = generate(perfect, torch.full((10,), NO_CLASS), range(10), "ddim", "trailing", 25, 1.0)
    assert nearest(last.x_t, perfect.images)[1].max() < 1e-3


def test_no_other_function_has_less_loss_on_the_pictures_of_the_perfect_denoiser(perfect):
    """Its error is the variance of what is still possible: none where x_t tells one picture, all of it where it tells nothing."""
    none = torch.full((20,), NO_CLASS)
    low, high = losses(perfect, perfect.images, none, [30, 299], seed=0)
    spread = (perfect.images - perfect.images.mean(0)).square().mean()
    assert low < 1e-6 and high == pytest.approx(float(spread), rel=0.05)
    perfect.images = perfect.images.roll(1, 0)  # the mean is the same, whatever their order
    assert losses(perfect, perfect.images.roll(-1, 0), none, [30, 299], seed=0) == pytest.approx(
        [low, high], rel=1e-3, abs=1e-6
    )


def test_the_nearest_picture_and_its_distance():
    known = pictures(70)
    chosen, far = nearest(known[[3, 69]] + 0.1, known)
    assert chosen.tolist() == [3, 69] and far.tolist() == pytest.approx([0.1, 0.1], abs=1e-4)


def gaussian(x_t, t, variance=0.3):
    """The network of pictures whose pixels are independent and normal, in closed form."""
    signal, sigma = (float(level) for level in SCHEDULE.levels(t))
    x_0 = signal * variance / (signal**2 * variance + sigma**2) * x_t
    return Prediction(x_0, SCHEDULE.noise_from_x_start(x_t, t, x_0))


def test_a_picture_that_was_walked_up_comes_down_again():
    x_0 = 0.3**0.5 * torch.randn((4, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    timesteps = spaced_timesteps("trailing", 300, 150)
    x_T = ddim_inversion(SCHEDULE, gaussian, x_0, timesteps, generators)
    assert float(x_T.std()) == pytest.approx(1, abs=0.05), "the noise of a walk that is exact is white"
    *_, last = denoise(SCHEDULE, gaussian, x_T, timestep_pairs(timesteps), ddim_step, generators)
    assert (last.x_t - x_0).square().mean().sqrt() < 0.05


def test_the_arc_between_two_noises_ends_at_them_and_keeps_their_length():
    a, b = (torch.randn((3, 1, 28, 28), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.allclose(slerp(a, b, 0.0), a, atol=1e-4) and torch.allclose(slerp(a, b, 1.0), b, atol=1e-4)
    assert torch.allclose(slerp(a, a, 0.5), a, atol=1e-3)
    lengths = [slerp(a, b, share).flatten(1).norm(dim=1) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert torch.stack(lengths).std(0).max() < 1 < 28 * (1 - math.sqrt(0.5)), "the straight line's is 8 shorter"


def test_a_generator_reads_what_it_knows(perfect):
    conds = [torch.full((20,), label) for label in range(10)]
    errors = denoising_errors(SCHEDULE, perfect, perfect.images, conds, draws=3, seed=0)
    assert torch.equal(errors.argmin(1), perfect.labels)
    twice = denoising_errors(SCHEDULE, perfect, perfect.images, [conds[4], conds[4]], draws=2, seed=0)
    assert torch.equal(twice[:, 0], twice[:, 1]), "all conditions see the same noise"


@pytest.mark.parametrize("max_batch", [None, 1, 3, 7])
def test_a_picture_is_read_alike_in_any_company(perfect, max_batch):
    conds, order = [torch.full((20,), label) for label in range(10)], torch.randperm(20)
    errors = denoising_errors(SCHEDULE, perfect, perfect.images, conds, draws=3, seed=0)
    mixed = denoising_errors(SCHEDULE, perfect, perfect.images[order], conds, draws=3, seed=0, max_batch=max_batch)
    torch.testing.assert_close(mixed, errors[order], rtol=1e-4, atol=1e-6)


class Painter:
    """Stage I of one picture a prompt: it finds the noise exactly under the right prompt, and some of it under another."""

    schedule, size, device = SCHEDULE, 16, "cpu"

    def __init__(self, pictures):
        self.pictures = pictures  # {the prompt's embedding, one number: (3, 16, 16)}

    def network(self, x_t, t, conds):
        x_0 = torch.stack([self.pictures[float(cond[0, 0])] for cond in conds])
        return Prediction(x_0, SCHEDULE.noise_from_x_start(x_t, t, x_0))


def test_stage_1_judges_what_it_drew():
    """Under each view, at any size, and only among the prompts of the experiment."""
    up, down = (torch.rand((3, 16, 16), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    stage = Painter({0.0: up, 1.0: down, 2.0: torch.zeros(3, 16, 16)})
    embeds = {"up": torch.zeros(1, 1), "down": torch.ones(1, 1), "nothing": torch.full((1, 1), 2.0)}
    views = [
        {"view": view, "prompt": prompt, "seed": 0} for view, prompt in (("identity", "up"), ("rotate_180", "down"))
    ]
    x_0 = torch.stack([up, down, down.rot90(2, (1, 2))])  # right as drawn; in neither; as turned
    samples = [{"seed": seed} for seed in range(3)]
    for factor in (1, 4):
        large = x_0.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        judged = judge_by_itself(stage, embeds, {"task": "visual_anagram", "views": views}, large, samples, max_batch=2)
        assert [reading["right"] for reading in judged["readings"]][0] == [
            True,
            False,
            judged["readings"][0]["right"][2],
        ]
        assert judged["readings"][1]["right"][2] and judged["readings"][0]["reads"][1] == "down"
        assert judged["ranks"][1] == "rank 3 of 3" and {metric["n"] for metric in judged["metrics"]} == {3}
    alone = judge_by_itself(stage, embeds, {"task": "text_to_image"}, x_0[:1], [{"seed": 0, "prompt": "up"}], None)
    assert alone["success"] == [None] and not alone["metrics"]


def test_power_by_frequency():
    noise = torch.randn((200, 28, 28), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(power(noise), torch.ones(14), atol=0.1) and torch.allclose(
        power(noise, True)[1:], torch.ones(13), atol=0.15
    )
    wave = torch.cos(2 * math.pi * 5 * torch.arange(28) / 28).expand(1, 28, 28)
    assert power(wave).argmax() == 5 and power(wave)[[0, 3, 7]].max() < 1e-6
    assert bands(torch.ones(28, 28)).tolist() == [1.0] * 14


def test_half_is_known_where_signal_and_noise_are_equally_strong():
    of_pictures = torch.logspace(2, -2, 14)
    for t in (50, 150, 250):
        first = crossing(of_pictures, SCHEDULE, t)
        share = known_by_power(of_pictures, SCHEDULE, t)
        assert (share[1:first] > 0.5).all() and (share[first:] < 0.5).all()
    x_0 = pictures(50)[:, 0]
    assert torch.allclose(known(x_0, x_0, x_0.mean(0)), torch.ones(14))
    assert known(x_0, x_0.mean(0).expand_as(x_0), x_0.mean(0)).abs().max() < 1e-5
    assert last_known(torch.tensor([0.9, 0.7, 0.3]), [0, 10, 20]) == pytest.approx(15)
    assert last_known(torch.tensor([0.4, 0.2]), [0, 10]) == -1 and last_known(torch.tensor([0.9, 0.8]), [0, 10]) == 10


def test_slant_and_thickness_of_strokes():
    def stroke(width, lean=0.0):
        ink = torch.zeros(1, 1, 28, 28)
        for row in range(4, 24):
            first = round(12 + lean * (row - 14))
            ink[..., row, first : first + width] = 1
        return ink

    assert [float(slant(stroke(3, lean))) for lean in (-0.5, 0, 0.5)] == pytest.approx([-0.5, 0, 0.5], abs=0.02)
    assert [float(thickness(stroke(width))) for width in (2, 4)] == pytest.approx([2, 4], rel=0.3)


def test_what_is_kept_leaves_out_the_digit_itself():
    """If each digit drawn has the source's measure but where it is the source's own digit, all is kept."""
    classes, own = torch.arange(10).repeat(3), torch.randn(30, generator=torch.Generator().manual_seed(0))
    drawn = own[:, None].repeat(1, 10)
    drawn[torch.arange(30), classes] = 100
    assert kept(own, drawn, classes) == pytest.approx(1)
    assert kept(own, -drawn, classes) == pytest.approx(-1)


def test_correlation_of_pictures():
    a = pictures(5)
    assert correlation(a, 0.5 * a + 0.2) == pytest.approx(1) and correlation(a, -a) == pytest.approx(-1)
    assert abs(correlation(a, pictures(5, seed=1))) < 0.05


def test_parts_of_the_training_images_share_none():
    first, second = (set(subset(180, part, 60_000).tolist()) for part in ([0, 30_000], [30_000, 60_000]))
    assert len(first) == len(second) == 30_000 and not first & second
    assert subset(180, [0, 10], 60_000).tolist() != list(range(10)) != subset(181, [0, 10], 60_000).tolist()
    assert subset(180, None, 7).tolist() == list(range(7))


# --- a flow map ---


@pytest.mark.parametrize("schedule", [SCHEDULE, Flow(300)], ids=["diffusion", "flow"])
@pytest.mark.parametrize(("t", "t_next"), [(299, 280), (299, -1), (150, 20), (20, -1)])
def test_the_clean_image_between_two_states_leads_from_one_to_the_other(schedule, t, t_next):
    x_t, x_next = pictures(2, seed=1), pictures(2, seed=2)
    x_0 = schedule.x_start_between(x_t, t, x_next, t_next)
    assert torch.allclose(ddim_step(schedule, t, t_next, x_t, x_0, None, None), x_next, atol=1e-3)
    each = schedule.x_start_between(x_t, torch.tensor([t, t]), x_next, torch.tensor([t_next, t_next]))
    assert torch.allclose(each, x_0, atol=1e-4)


def test_an_untrained_map_is_its_teacher_wherever_a_step_goes():
    torch.manual_seed(0)
    teacher, flow_map = (SmallUNet(SCHEDULE, True, width=16, is_map=is_map) for is_map in (False, True))
    torch.nn.init.normal_(teacher.output.weight)
    missing, unexpected = flow_map.load_state_dict(teacher.state_dict(), strict=False)
    assert not unexpected and {name.split(".")[0] for name in missing} == {"next_embedding"}
    x_t, labels = pictures(3), torch.arange(3)
    for t_next in (-1, 100):
        assert torch.equal(flow_map(x_t, 200, labels, t_next)[0], teacher(x_t, 200, labels)[0])


def test_a_map_is_told_where_each_step_goes_and_is_not_guided(perfect):
    asked = []

    class Map:
        is_map, schedule = True, SCHEDULE

        def __call__(self, x_t, t, labels, t_next):
            asked.append((t, t_next, len(x_t)))
            return perfect(x_t, t, labels)

    list(generate(Map(), torch.arange(3), range(3), "ddim", "trailing", 4, guidance_scale=2.0))
    assert asked == [(299, 224, 3), (224, 149, 3), (149, 74, 3), (74, -1, 3)]


def test_a_map_learns_where_walks_lead():
    """Walks on straight lines to one picture: the map finds it from any state, wherever it goes."""
    torch.manual_seed(0)
    timesteps = torch.tensor([299, 149, 20, -1])
    target, noise = torch.zeros(64, 1, 28, 28), torch.randn((64, 1, 28, 28))
    target[:, :, 8:20, 8:20] = 1
    walks = torch.cat([SCHEDULE.q_sample(target, int(t), noise) for t in timesteps], 1)
    recipe = {"muon_lr": 0.02, "adamw_lr": 0.002, "warm_up_steps": 5, "decay_per_epoch": 1, "ema": 0.9}
    trainer = MapTrainer(SmallUNet(SCHEDULE, True, width=16, is_map=True), 0, timesteps, **recipe, class_dropout=0)
    for _ in range(4):
        losses = list(trainer.train_epoch(walks, torch.zeros(64, dtype=torch.int64), 16))
    assert losses[-1] < 0.03
    first, later = trainer._pairs(4000, 4)
    assert (first < later).all() and later.max() == 3 and first.min() == 0
    assert (first == 0).double().mean() > 0.45 and set(zip(first.tolist(), later.tolist(), strict=True)) >= {
        (0, 3),
        (1, 2),
        (2, 3),
    }
