"""The contenders in training on MNIST: this project and three that a user might take instead, each with its own recipe.

A contender trains in `steps()`, which yields the number of images of each step, and is judged by what `network()`
returns: a function (x_t, t, labels) -> (x_0, noise, None) with a `schedule`, from which fun.diffusion.digits can draw.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fun.data.mnist import proportional_labels
from fun.diffusion.digits import generate
from fun.diffusion.schedule import NoiseSchedule
from fun.judging.scores import DigitClassifier, FrechetDistance, read_digits
from fun.networks.mnist_unets import NO_CLASS, CS180UNet, SmallUNet
from fun.training.trainer import Trainer, epoch_indices

# All are judged with the same sampler. 12 steps give the same class accuracy as 25 (n = 500), in half the time.
SAMPLER = {"sampler": "ddim", "spacing": "trailing", "num_steps": 12, "guidance_scale": 2.0}


def judge(network, labels: Tensor, n: int, classifier: DigitClassifier, distance: FrechetDistance) -> dict:
    """{n, class_accuracy, frechet_distance} of n digits in the proportions of MNIST's labels (N,), drawn on their device."""
    wanted, drawn = proportional_labels(labels.cpu(), n), []
    # 50 at a time: the assignment's U-Net, whose activations are large, then takes two thirds of the time that it takes
    # for 250 at a time.
    for chunk, numbers in zip(wanted.split(50), torch.arange(n).split(50), strict=True):
        *_, last = generate(network, chunk.to(labels.device), (1000 + numbers).tolist(), **SAMPLER)
        drawn.append(last.x_t.cpu())
    read, features = read_digits(classifier, torch.cat(drawn))
    accuracy = float((read == wanted).float().mean())
    return {"n": n, "class_accuracy": accuracy, "frechet_distance": distance(features)}


class Ours:
    """The small U-Net by the recipe of config.yaml: what rule train_epoch does, epoch after epoch, where the images are."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int, images_per_epoch: int, training: dict):
        torch.manual_seed(seed)
        self.images, self.labels, self.seed, self.images_per_epoch = images, labels, seed, images_per_epoch
        training = dict(training)
        self.batch_size = training.pop("batch_size")
        network = SmallUNet(NoiseSchedule.cosine(300), class_conditioned=True).to(images.device)
        self.trainer = Trainer(network, seed, **training)

    def steps(self) -> Iterator[int]:
        while True:
            chosen = epoch_indices(self.seed, self.trainer.epoch + 1, self.images_per_epoch, len(self.images))
            for _ in self.trainer.train_epoch(self.images[chosen], self.labels[chosen], self.batch_size):
                yield self.batch_size

    def network(self):
        return deepcopy(self.trainer.average.module).eval()


class Assignment:
    """The U-Net of CS180's project 5 (D = 64) as a student would write it: a DataLoader, Adam, a learning rate that
    falls by a factor of ten in 20 epochs, batches of 128, T = 300, linear betas."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int):
        torch.manual_seed(seed)
        self.unet = CS180UNet(NoiseSchedule.linear(300), class_conditioned=True)
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 300), 0)
        self.loader = DataLoader(TensorDataset(images, labels), batch_size=128, shuffle=True)

    def steps(self) -> Iterator[int]:
        optimizer = torch.optim.Adam(self.unet.parameters(), lr=1e-3)
        rate = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / 20))
        while True:
            for x_0, labels in self.loader:
                t, noise = torch.randint(300, (len(x_0),)), torch.randn_like(x_0)
                abar = self.alpha_bar[t].view(-1, 1, 1, 1)
                labels = torch.where(torch.rand(len(labels)) < 0.1, NO_CLASS, labels)
                loss = F.mse_loss(self.unet.predict(abar.sqrt() * x_0 + (1 - abar).sqrt() * noise, t, labels), noise)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield len(x_0)
            rate.step()

    def network(self):
        return self.unet.eval()


class DenoisingDiffusionPytorch:
    """denoising-diffusion-pytorch's class-conditioned U-Net (dim 64) and GaussianDiffusion, trained as its README does:
    batches of 32, Adam 8e-5, an average of the weights. Three resolutions, since 28 can be halved only twice."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int):
        # Not at the top: the other contenders need none of the packages in envs/requirements-benchmark.txt.
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet

        torch.manual_seed(seed)
        unet = Unet(dim=64, dim_mults=(1, 2, 4), num_classes=10, cond_drop_prob=0.5, channels=1)
        self.diffusion = GaussianDiffusion(unet, image_size=28, timesteps=1000)
        self.loader = DataLoader(TensorDataset((images + 1) / 2, labels), batch_size=32, shuffle=True)

    def steps(self) -> Iterator[int]:
        from ema_pytorch import EMA

        optimizer = torch.optim.Adam(self.diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
        self.ema = EMA(self.diffusion, beta=0.995, update_every=10)
        while True:
            for x_0, labels in self.loader:
                self.diffusion(x_0, classes=labels).backward()
                torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                self.ema.update()
                yield len(x_0)

    def network(self):
        unet = self.ema.ema_model.model.eval()

        def predict(x_t, t, labels):
            told = labels.clamp(max=9)
            times = torch.full((len(x_t),), t)
            return unet(x_t, times, told, cond_drop_prob=0.0, cond_keep_mask=labels != NO_CLASS)

        return Judged(predict, NoiseSchedule(self.diffusion.betas.double()))


class Diffusers:
    """diffusers' UNet2DModel as in Hugging Face's own MNIST example (the diffusion course's class-conditioned model):
    the class as four more channels, Adam at 1e-3, batches of 128, T = 1000, cosine betas. The example never hides the
    class; here one in ten is hidden, since guidance needs it."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int):
        torch.manual_seed(seed)
        self.unet = UNet2DModel(
            sample_size=28,
            in_channels=5,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.classes = nn.Embedding(NO_CLASS + 1, 4)
        self.scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
        self.loader = DataLoader(TensorDataset(images, labels), batch_size=128, shuffle=True)

    def predict(self, x_t: Tensor, t: Tensor | int, labels: Tensor) -> Tensor:
        told = self.classes(labels)[:, :, None, None].expand(-1, -1, 28, 28)
        return self.unet(torch.cat([x_t, told], dim=1), t, return_dict=False)[0]

    def steps(self) -> Iterator[int]:
        optimizer = torch.optim.Adam([*self.unet.parameters(), *self.classes.parameters()], lr=1e-3)
        while True:
            for x_0, labels in self.loader:
                t, noise = torch.randint(1000, (len(x_0),)), torch.randn_like(x_0)
                labels = torch.where(torch.rand(len(labels)) < 0.1, NO_CLASS, labels)
                loss = F.mse_loss(self.predict(self.scheduler.add_noise(x_0, noise, t), t, labels), noise)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield len(x_0)

    def network(self):
        self.unet.eval()
        return Judged(self.predict, NoiseSchedule(self.scheduler.betas.double()))


class Judged:
    """A function that predicts noise, and its schedule, as fun.diffusion.digits expects them."""

    def __init__(self, predict, schedule: NoiseSchedule):
        self.predict, self.schedule = predict, schedule

    def __call__(self, x_t: Tensor, t: int, labels: Tensor) -> tuple[Tensor, Tensor, None]:
        return *self.schedule.x_start_and_noise("epsilon", x_t, t, self.predict(x_t, t, labels)), None


PEERS = {
    "the assignment's U-Net": Assignment,
    "denoising-diffusion-pytorch": DenoisingDiffusionPytorch,
    "diffusers' UNet2DModel": Diffusers,
}
