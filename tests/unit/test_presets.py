"""The presets of the CS180 course, against a plain loop as a student writes it."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from snakemake.utils import update_config

from fun.data.mnist import BLACK
from fun.diffusion.schedule import make_schedule
from fun.networks.mnist_unets import make_network
from fun.training.trainer import Trainer
from fun.workflow.digits import networks
from fun.workflow.plan import complete_config
from project import PROJECT

SCHEMA = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
PER_EPOCH, EPOCHS, N = 10, 2, 16  # steps an epoch: twenty in all


def preset(*names):
    """The configuration that config.yaml and presets give together."""
    config = {}
    for path in ("config.yaml", *(f"presets/{name}.yaml" for name in names)):
        update_config(config, yaml.safe_load((PROJECT / path).read_text()))
    complete_config(config, SCHEMA, [])
    return config["mnist"]


def assignments_unet(unet, x, t=None, c=None, multiply=False):
    """The assignment's U-Net, wired as its page draws it, from the layers of ours."""
    x1 = unet.initial(x)
    x2 = unet.down_1(x1)
    x3 = unet.down_2(x2)
    unflatten = unet.unflatten(unet.flatten(x3))
    t1, t2 = (None, None) if t is None else (unet.time_1(t)[..., None, None], unet.time_2(t)[..., None, None])
    if c is not None:
        unflatten = unet.class_1(c)[..., None, None] * unflatten + t1
    elif t is not None:
        unflatten = unflatten * t1 if multiply else unflatten + t1
    up1 = unet.up_1(torch.cat([unflatten, x3], 1))
    if c is not None:
        up1 = unet.class_2(c)[..., None, None] * up1 + t2
    elif t is not None:
        up1 = up1 * t2 if multiply else up1 + t2
    up2 = unet.up_2(torch.cat([up1, x2], 1))
    return unet.output(torch.cat([up2, x1], 1))


class Student:
    """Twenty steps of an edition's Part B."""

    def __init__(self, unet, edition, model):
        self.unet, self.edition, self.model = unet, edition, model
        self.generator = torch.Generator().manual_seed(180)
        self.denoiser = model.startswith("denoiser")
        lr = 1e-4 if self.denoiser else {"2024": 1e-3, "2026": 1e-2}[edition]
        self.optimizer = torch.optim.Adam(unet.parameters(), lr=lr)
        gamma = 1.0 if self.denoiser else {"2024": 0.1 ** (1 / 20), "2026": 0.1 ** (1 / 10)}[edition]
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma)
        betas = torch.linspace(1e-4, 0.02, 300, dtype=torch.float64)
        self.abar = torch.cumprod(1 - betas, 0)

    def draw(self, images):
        """What the trainer draws for a batch, in its order: times in 0 to 1, noise, and who loses the class."""
        u = torch.rand(len(images), generator=self.generator)
        noise = torch.randn(images.shape, generator=self.generator).double()
        return u, noise, torch.rand(len(images), generator=self.generator)

    def loss(self, images, labels):
        u, noise, dropped = self.draw(images)
        if self.denoiser:
            z = noise if self.model == "denoiser_noise" else images + 0.5 * noise
            return F.mse_loss(assignments_unet(self.unet, z), images)
        c = None
        if self.model == "class_conditioned":
            c = F.one_hot(labels, 10).double() * (dropped >= 0.1)[:, None]
        if self.edition == "2024":
            t = (u * 300).long()
            abar = self.abar[t].view(-1, 1, 1, 1)
            x_t = abar.sqrt() * images + (1 - abar).sqrt() * noise
            return F.mse_loss(assignments_unet(self.unet, x_t, t[:, None].double() / 300, c), noise)
        t = (1 - u.double()).view(-1, 1, 1, 1)  # 0 is noise, 1 the image
        x_t = (1 - t) * noise + t * images
        predicted = assignments_unet(self.unet, x_t, t.view(-1, 1), c, multiply=True)
        return F.mse_loss(predicted, images - noise)

    def train(self, images, labels):
        losses = []
        for _ in range(EPOCHS):
            for i in range(0, len(images), N):
                loss = self.loss(images[i : i + N], labels[i : i + N])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            self.scheduler.step()
        return losses


def before_a_batch_norm(unet):
    """The names of biases whose gradient is only rounding noise, because a BatchNorm takes the mean away after them."""
    names, modules = set(), dict(unet.named_modules())
    for name, module in modules.items():
        if isinstance(module, torch.nn.Sequential):
            for i, (one, after) in enumerate(zip(module, list(module)[1:], strict=False)):
                if isinstance(after, torch.nn.BatchNorm2d) and one.bias is not None:
                    names.add(f"{name}.{i}.bias")
    return names


@pytest.mark.parametrize("model", ["time_conditioned", "class_conditioned", "denoiser_0_5", "denoiser_noise"])
@pytest.mark.parametrize("edition", ["2024", "2026"])
def test_twenty_steps_are_those_of_a_plain_loop(edition, model):
    network = networks(preset(f"cs180_{edition}"))[model]
    training = dict(network["training"])
    assert training.pop("batch_size") == (256 if model.startswith("denoiser") else {"2024": 128, "2026": 64}[edition])
    torch.manual_seed(0)
    narrow = network["model"] | {"width": 16}
    ours, theirs = (make_network(narrow, make_schedule(**network["schedule"])) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(1)
    low = BLACK[network["pixels"]]
    assert low == (0 if model.startswith("denoiser") or edition == "2026" else -1)
    # float64: in float32, rounding errors grow a thousandfold within twenty steps at Adam's rate of 0.01
    ours, theirs = ours.double(), theirs.double()
    images = low + (1 - low) * torch.rand(N * PER_EPOCH, 1, 28, 28, generator=generator).double()
    labels = torch.randint(10, (len(images),), generator=generator)

    trainer = Trainer(ours, 180, **training)
    losses = [loss for _ in range(EPOCHS) for loss in trainer.train_epoch(images, labels, N)]
    expected = Student(theirs.train(), edition, model).train(images, labels)
    assert losses == pytest.approx(expected, abs=1e-5, rel=1e-5)
    noise_only = before_a_batch_norm(theirs)
    assert len(noise_only) == 17
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name not in noise_only:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    assert all(torch.equal(a, b) for a, b in zip(trainer.average.module.parameters(), ours.parameters(), strict=True))


@pytest.mark.parametrize(
    ("edition", "model", "parameters"),
    [
        ("2024", "time_conditioned", 1_996_417),
        ("2024", "class_conditioned", 2_019_201),
        ("2026", "time_conditioned", 1_996_417),
        ("2026", "class_conditioned", 2_019_201),
        ("2024", "denoiser_0_5", 7_891_073),
        ("2026", "denoiser_noise", 7_891_073),
    ],
)
def test_the_networks_have_the_published_sizes(edition, model, parameters):
    network = networks(preset(f"cs180_{edition}"))[model]
    unet = make_network(network["model"], make_schedule(**network["schedule"]))
    assert sum(p.numel() for p in unet.parameters()) == parameters


@pytest.mark.parametrize("edition", ["2024", "2026"])
def test_a_preset_takes_the_place_of_our_networks(edition):
    mnist = preset(f"cs180_{edition}")
    assert list(networks(mnist)) == ["time_conditioned", "class_conditioned", "denoiser_0_5", "denoiser_noise"]
    assert mnist["sampling"]["guidance_scale"] == 5 and mnist["sampling"]["guidance_interval"] == [0, 1]
    assert not mnist["sampling"]["thresholding"]
    smaller = networks(preset(f"cs180_{edition}", "cs180_small"))
    assert {network["model"]["width"] for network in smaller.values()} == {32}
    assert {network["model"]["network"] for network in smaller.values()} == {"cs180"}
