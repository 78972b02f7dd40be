"""The MNIST U-Nets: published sizes, and noise that agrees with the raw prediction."""

import pytest
import torch

from fun.diffusion.schedule import NoiseSchedule
from fun.networks.mnist_unets import NETWORKS, NO_CLASS, CS180UNet, SmallUNet

SCHEDULE = NoiseSchedule.cosine(300)


def count(parameters):
    return sum(p.numel() for p in parameters)


@pytest.mark.parametrize(
    ("width", "plain", "timed", "timed_and_classed"),
    [(64, 1_975_361, 1_996_417, 2_019_201), (128, 7_891_073, 7_974_145, 8_060_673)],
)
def test_cs180_has_the_assignments_parameter_counts(width, plain, timed, timed_and_classed):
    time_conditioned = CS180UNet(SCHEDULE, class_conditioned=False, width=width)
    unconditional = [p for name, p in time_conditioned.named_parameters() if not name.startswith("time_")]
    assert count(unconditional) == plain
    assert count(time_conditioned.parameters()) == timed
    assert count(CS180UNet(SCHEDULE, class_conditioned=True, width=width).parameters()) == timed_and_classed


def test_small_is_small():
    assert count(SmallUNet(SCHEDULE, class_conditioned=True).parameters()) == 392_452


def trained_looking(name, class_conditioned):
    """A network in which no layer is zero, as if it had been trained."""
    torch.manual_seed(0)
    options = {"width": 8} if name == "cs180" else {}
    network = NETWORKS[name](SCHEDULE, class_conditioned, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


@pytest.mark.parametrize("class_conditioned", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_x_0_and_noise_agree_with_the_prediction(name, class_conditioned):
    network = trained_looking(name, class_conditioned)
    x_0, noise = torch.randn(2, 5, 1, 28, 28)
    t, labels = torch.tensor([0, 7, 120, 250, 298]), torch.tensor([0, 3, 9, NO_CLASS, 1])
    x_t = SCHEDULE.q_sample(x_0, t, noise)
    with torch.no_grad():
        predicted_x_0, predicted_noise, variance = network(x_t, t, labels)
        prediction = network.predict(x_t, t, labels)
    assert variance is None
    assert torch.equal(predicted_noise if network.prediction_type == "epsilon" else predicted_x_0, prediction)
    torch.testing.assert_close(SCHEDULE.q_sample(predicted_x_0, t, predicted_noise), x_t, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_timestep_for_all_is_the_same_as_one_each(name):
    network = trained_looking(name, class_conditioned=True)
    x_t, labels = torch.randn(3, 1, 28, 28), torch.tensor([1, 2, NO_CLASS])
    with torch.no_grad():
        together, each = network(x_t, 40, labels)[0], network(x_t, torch.full((3,), 40), labels)[0]
    torch.testing.assert_close(together, each)


@pytest.mark.parametrize("name", NETWORKS)
def test_class_and_time_matter(name):
    network = trained_looking(name, class_conditioned=True)
    x_t = torch.randn(1, 1, 28, 28).expand(4, -1, -1, -1)
    t, labels = torch.tensor([100, 100, 100, 200]), torch.tensor([3, 4, NO_CLASS, 3])
    with torch.no_grad():
        outputs = network.predict(x_t, t, labels)
    assert all((outputs[i] - outputs[j]).norm() > 1e-6 * outputs.norm() for i in range(4) for j in range(i))


@pytest.mark.parametrize("name", NETWORKS)
def test_without_class_conditioning_labels_are_ignored(name):
    network = trained_looking(name, class_conditioned=False)
    x_t = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(
            network.predict(x_t, 9, torch.tensor([0, 1])), network.predict(x_t, 9, torch.tensor([NO_CLASS, 5]))
        )


def test_small_starts_from_a_zero_image():
    """A block starts as its skip connection and the output starts at zero: the first loss is the target's variance."""
    network = SmallUNet(SCHEDULE, class_conditioned=True)
    assert not network.predict(torch.randn(2, 1, 28, 28), 50, torch.tensor([1, 2])).any()
    assert all(not m.conv_2.weight.any() for m in network.modules() if hasattr(m, "conv_2"))


def test_no_class_is_all_zeros_to_cs180():
    network = trained_looking("cs180", class_conditioned=True)
    seen = []
    network.class_1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.predict(torch.randn(2, 1, 28, 28), 3, torch.tensor([NO_CLASS, 2]))
    assert seen[0].tolist() == [[0.0] * 10, [0.0, 0.0, 1.0] + [0.0] * 7]
