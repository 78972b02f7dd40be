"""The shared training pieces: loss, order of the images, Muon, moving average, and resuming with the same bits."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from fun.diffusion.schedule import PREDICTION_TYPES, NoiseSchedule
from fun.networks.mnist_unets import NO_CLASS, CS180UNet, SmallUNet
from fun.training.optimizers import AdamW, Muon, make_optimizers, orthogonalise
from fun.training.trainer import (
    Trainer,
    average_weights,
    diffusion_loss,
    drop_classes,
    ema_decay,
    epoch_indices,
    expected_images,
    learning_rate_factor,
    moving_average,
    stratified_timesteps,
)

SCHEDULE = NoiseSchedule.cosine(300)
CS180_PIXELS = {"initial.0.0.weight", "output.1.weight"}
RECIPE = {"muon_lr": 0.01, "adamw_lr": 2e-3, "warm_up_steps": 4, "decay_per_epoch": 0.9, "ema": 0.99}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- loss ---


class Oracle:
    """A network that always predicts the given tensor."""

    schedule = SCHEDULE

    def __init__(self, prediction_type, prediction):
        self.prediction_type, self.prediction = prediction_type, prediction

    def predict(self, x_t, t, labels):
        return self.prediction


def test_loss_is_zero_for_the_true_target():
    x_0, noise = torch.randn(2, 3, 1, 4, 4, generator=generator())
    t, labels = torch.tensor([0, 150, 299]), torch.zeros(3, dtype=torch.int64)
    for kind in PREDICTION_TYPES:
        assert diffusion_loss(Oracle(kind, SCHEDULE.target(kind, x_0, t, noise)), x_0, labels, t, noise) == 0
    assert diffusion_loss(Oracle("epsilon", noise + 2), x_0, labels, t, noise).item() == pytest.approx(4)


def test_the_expected_image_is_the_mean_of_the_images_that_x_t_can_come_from():
    """In the mean over many it is x_0 (nothing of x_t tells their difference), and it varies less."""
    images, image_labels = torch.tensor([-1.0, 0.2, 1.0, 5.0]).view(4, 1, 1, 1), torch.tensor([0, 0, 0, 1])
    chosen = torch.randint(3, (20000,), generator=generator())
    x_0, labels, t = images[chosen], image_labels[chosen], torch.full((20000,), 230)
    noise = torch.randn(x_0.shape, generator=generator())
    mean, its_noise = expected_images(SCHEDULE, x_0, labels, t, noise, images, image_labels)
    x_t = SCHEDULE.q_sample(x_0, t, noise)
    torch.testing.assert_close(SCHEDULE.q_sample(mean, t, its_noise), x_t)
    for told in (torch.ones_like(x_t), x_t, x_t.square(), x_t.tanh()):
        assert abs(((x_0 - mean) * told).mean()) < 0.02
    assert mean.var() < 0.5 * x_0.var() and mean.max() <= 1, "no image of the other class"
    anything, _ = expected_images(SCHEDULE, x_0, torch.full_like(labels, NO_CLASS), t, noise, images, image_labels)
    assert anything.max() > 1.5


def test_at_low_noise_the_image_itself_is_expected():
    images = torch.randn(50, 1, 4, 4, generator=generator())
    t, labels = torch.tensor([0, 100, 299]), torch.zeros(3, dtype=torch.int64)
    noise = torch.randn(3, 1, 4, 4, generator=generator())
    mean, its_noise = expected_images(
        SCHEDULE, images[:3], labels, t, noise, images, torch.zeros(50, dtype=torch.int64)
    )
    assert torch.equal(mean[:2], images[:2]) and torch.equal(its_noise[:2], noise[:2])
    assert not torch.allclose(mean[2], images[2], atol=0.1)


def test_a_batch_is_always_among_its_reference_images():
    class Recorder(Trainer):
        def loss(self, x_0, labels, images, image_labels):
            seen.append((x_0.flatten().tolist(), images.flatten().tolist(), image_labels.tolist()))
            return super().loss(x_0, labels, images, image_labels)

    x, y = torch.arange(20.0).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)[..., :1, :1], torch.arange(20) % 10
    for references, expected in ((6, 6), (2, 3), (100, 20), (0, 0)):
        seen = []
        run = Recorder(Pixel(), seed=0, **RECIPE | {"reference_images": references})
        list(run.train_epoch(x, y, 3))
        assert [len(images) for _, images, _ in seen] == [expected] * 7
        assert all(references == 0 or set(batch) <= set(images) for batch, images, _ in seen)
        assert all([int(i) % 10 for i in images] == labels for _, images, labels in seen)


class Pixel(torch.nn.Module):
    """A network of images of one pixel."""

    schedule, class_conditioned, prediction_type = SCHEDULE, True, "sample"

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Conv2d(1, 1, 1) for _ in range(3)))

    def predict(self, x_t, t, labels):
        return self.layers(x_t)


def test_a_power_below_one_favours_high_noise():
    even, high = (
        stratified_timesteps(3000, NoiseSchedule.cosine(300), generator(), power).float() for power in (1.0, 0.5)
    )
    assert abs(even.mean() - 149.5) < 1 and abs(high.mean() - 199.5) < 1 and high.max() == 299
    assert abs((high < 150).float().mean() - 0.25) < 0.01


@pytest.mark.parametrize("batch_size", [1, 7, 32, 300, 500])
def test_timesteps_are_stratified(batch_size):
    t = stratified_timesteps(batch_size, NoiseSchedule.cosine(300), generator())
    assert t.dtype == torch.int64 and t.min() >= 0 and t.max() < 300
    low = torch.arange(batch_size) * 300 / batch_size
    assert ((t >= low.floor()) & (t <= low + 300 / batch_size)).all()


def test_classes_are_dropped_at_the_given_rate():
    dropped = drop_classes(torch.full((20_000,), 3), 0.1, generator())
    assert set(dropped.tolist()) == {3, NO_CLASS}
    assert (dropped == NO_CLASS).float().mean().item() == pytest.approx(0.1, abs=0.01)


# --- order of the images ---


@pytest.mark.parametrize("images_per_epoch", [6, 8, 25, 60])
def test_epochs_cover_each_pass_once(images_per_epoch):
    size, passes = 24, 5
    epochs = -(-passes * size // images_per_epoch)
    stream = torch.cat([epoch_indices(180, epoch, images_per_epoch, size) for epoch in range(1, epochs + 1)])
    assert len(stream) == epochs * images_per_epoch
    orders = stream[: passes * size].view(passes, size)
    assert all(sorted(order.tolist()) == list(range(size)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == passes
    assert not torch.equal(orders[0], epoch_indices(181, 1, size, size))


# --- optimisers ---


def textbook_newton_schulz(matrix, steps=5):
    """The iteration as Keller Jordan writes it, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.double() / matrix.double().norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(32, 288), (64, 64), (8, 3)])
def test_orthogonalise_is_newton_schulz(shape):
    matrix = torch.randn(shape, generator=generator())
    torch.testing.assert_close(orthogonalise(matrix).double(), textbook_newton_schulz(matrix), atol=2e-5, rtol=0)


def test_orthogonalise_withstands_a_matrix_of_low_rank():
    spectrum = torch.logspace(0, -9, 100, dtype=torch.float64)
    matrix = torch.randn(24, 100, generator=generator(), dtype=torch.float64) * spectrum
    matrix[20:] = matrix[:4]
    result, expected = orthogonalise(matrix.float()).double(), textbook_newton_schulz(matrix)
    torch.testing.assert_close(result, expected, atol=5e-4, rtol=0)
    assert not orthogonalise(torch.zeros(3, 5)).any()


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_muon_is_torchs_muon(shape):
    """Except for torch's bfloat16, whose rounding changes its update by about 1 %."""
    ours, theirs = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
    optimizers = Muon([ours], lr=1.0), torch.optim.Muon([theirs], lr=1.0, weight_decay=0.0)
    for step in range(4):
        ours.grad = torch.randn(shape, generator=generator(step))
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_adamw_is_torchs_adamw():
    ours, theirs = ([nn.Parameter(torch.ones(shape)) for shape in [(3, 5), (7,)]] for _ in range(2))
    optimizers = AdamW(ours, lr=0.1), torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(5):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator(step))
            its.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-6, rtol=1e-5)


def test_muon_takes_convolutions_as_matrices():
    convolution, matrix = nn.Parameter(torch.zeros(8, 4, 3, 3)), nn.Parameter(torch.zeros(8, 36))
    convolution.grad = torch.randn(8, 4, 3, 3, generator=generator())
    matrix.grad = convolution.grad.view(8, 36)
    Muon([convolution], lr=0.1).step()
    Muon([matrix], lr=0.1).step()
    assert torch.equal(convolution.flatten(1), matrix)


@pytest.mark.parametrize("network_class", [SmallUNet, CS180UNet])
def test_each_weight_has_one_optimiser(network_class):
    network = network_class(SCHEDULE, class_conditioned=True)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = {
        key: [names[id(p)] for p in optimizer.params]
        for key, optimizer in make_optimizers(network, "muon", 0.01, 2e-3).items()
    }
    assert sorted(groups["muon"] + groups["adamw"]) == sorted(names.values())
    shapes = dict(network.named_parameters())
    assert all(shapes[name].ndim == 4 for name in groups["muon"])
    pixels = {name for name in groups["adamw"] if shapes[name].ndim == 4}
    assert pixels == ({"stem.weight", "output.weight"} if network_class is SmallUNet else CS180_PIXELS)


def test_an_optimiser_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown optimizer 'adamw'; known: muon, adam"):
        make_optimizers(SmallUNet(SCHEDULE, class_conditioned=True), "adamw", 0.01, 2e-3)


def test_learning_rate_warms_up_then_decays_by_epoch():
    factors = [learning_rate_factor(step, 1 + step // 10, 4, 0.5) for step in range(30)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[9:11] == [1.0, 0.5] and factors[29] == 0.25


# --- moving average ---


def test_ema_decay_has_a_short_memory_at_first():
    assert [ema_decay(n, 0.99) for n in (0, 8, 10**6)] == [0.1, 0.5, 0.99]


def test_moving_average_follows_the_formula_and_copies_buffers():
    network = nn.BatchNorm1d(1, affine=True)
    average = moving_average(network, decay=0.6)
    expected = None
    for n in range(20):
        with torch.no_grad():
            network.weight.fill_(n)
        network.running_mean.fill_(10.0 * n)
        average.update_parameters(network)
        decay = min(0.6, (1 + n) / (10 + n))
        expected = float(n) if expected is None else decay * expected + (1 - decay) * n
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.module.running_mean.item() == 190
    assert not average.module.training, "it is there to sample from"


# --- the trainer ---


def trainer(seed=0):
    torch.manual_seed(seed)
    return Trainer(CS180UNet(SCHEDULE, class_conditioned=True, width=8), seed=seed, **RECIPE)


def images(n):
    return torch.rand(n, 1, 28, 28, generator=generator(1)) * 2 - 1, torch.arange(n) % 10


def test_resume_is_exact_to_the_bit():
    x, y = images(48)
    whole, first, second = trainer(), trainer(), trainer(seed=5)
    losses = [loss for epoch in range(2) for loss in whole.train_epoch(x[24 * epoch :][:24], y[24 * epoch :][:24], 8)]
    resumed = list(first.train_epoch(x[:24], y[:24], 8))
    second.load_state_dict(load(save(first.state_dict())))
    resumed += list(second.train_epoch(x[24:], y[24:], 8))
    assert resumed == losses and len(losses) == 6
    expected, state = whole.state_dict(), second.state_dict()
    assert expected.keys() == state.keys()
    assert all(torch.equal(expected[name], state[name]) for name in expected)


def test_state_dict_is_a_copy():
    run = trainer()
    before = run.state_dict()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    list(run.train_epoch(*images(8), 8))
    assert all(torch.equal(before[name], kept[name]) for name in before)
    assert not torch.equal(before["network.output.1.weight"], run.state_dict()["network.output.1.weight"])


def test_average_weights_are_those_of_the_moving_average():
    run = trainer()
    list(run.train_epoch(*images(24), 8))
    network = CS180UNet(SCHEDULE, class_conditioned=True, width=8).eval()
    network.load_state_dict(average_weights(run.state_dict()))
    x, y = images(3)
    with torch.no_grad():
        assert torch.equal(network.predict(x, 50, y), run.average.module.eval().predict(x, 50, y))
        assert not torch.equal(network.predict(x, 50, y), run.network.eval().predict(x, 50, y))


def test_another_network_is_refused():
    other = Trainer(SmallUNet(SCHEDULE, class_conditioned=True), seed=0, **RECIPE)
    with pytest.raises(RuntimeError, match="state_dict"):
        other.load_state_dict(trainer().state_dict())


def test_the_loss_falls():
    torch.manual_seed(0)
    run = Trainer(SmallUNet(SCHEDULE, class_conditioned=True), seed=0, **RECIPE)
    x = torch.full((16, 1, 28, 28), -1.0)
    x[8:, :, 8:20, 12:16] = 1
    y = torch.tensor([0] * 8 + [1] * 8)
    losses = list(run.train_epoch(x.repeat(30, 1, 1, 1), y.repeat(30), 16))
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]
    assert run.step == 30 and run.epoch == 1


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    losses, x, y = {}, *images(8)
    for given in ("auto", True, False):
        torch.manual_seed(0)
        run = Trainer(SmallUNet(SCHEDULE, class_conditioned=True), seed=0, **RECIPE, bfloat16=given)
        losses[given] = list(run.train_epoch(x.repeat(2, 1, 1, 1), y.repeat(2), 8))
    assert losses["auto"] == losses[has] != losses[not has]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


def test_training_that_diverges_says_so():
    run = trainer()
    with torch.no_grad():
        next(run.network.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^the loss is not finite in step 1: .*muon_lr is 0.01, adamw_lr is 0.002"):
        next(run.train_epoch(*images(8), 8))
