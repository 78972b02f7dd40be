"""The MNIST U-Nets: two networks that denoise a 1 x 28 x 28 image.

`SmallUNet` is this project's own; training it takes 12 times fewer operations per image than the assignment's U-Net.
`CS180UNet` is the U-Net of UC Berkeley's CS180, project 5, part B, layer for layer.

Every network here is a function of (x_t, t, labels):
    x_t     (N, 1, 28, 28) float32
    t       a timestep of the network's schedule, or (N,) of them
    labels  (N,) int64, 0 .. 9, or NO_CLASS (10); a network without class conditioning ignores them
`predict` returns what the network was trained to predict (`prediction_type`, see NoiseSchedule.target), (N, 1, 28, 28).
Calling the network returns (x_0, noise, None): None stands for the learned variance, which these networks do not have.
A flow map (`is_map`) is also told t_next, the timestep where the step goes.
"""

import torch
import torch.nn.functional as F
from torch import nn

NO_CLASS = 10  # the label of an image whose class is hidden


class Denoiser(nn.Module):
    """The base class of the two networks: turns what they predict into x_0 and noise."""

    is_map = False

    def __init__(self, schedule, class_conditioned, prediction_type):
        super().__init__()
        schedule.check_prediction_type(prediction_type)
        self.schedule, self.class_conditioned, self.prediction_type = schedule, class_conditioned, prediction_type

    def forward(self, x_t, t, labels, *t_next):
        """-> (x_0, noise, None), each (N, 1, 28, 28)."""
        prediction = self.predict(x_t, t, labels, *t_next)
        return *self.schedule.x_start_and_noise(self.prediction_type, x_t, t, prediction), None

    def relative_time(self, x_t, t):
        """The schedule's `relative_time` of each image: (N,) in [0, 1]."""
        return self.schedule.relative_time(t).to(x_t).expand(len(x_t))


# --- the small U-Net ---


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip connection; between them the embedding scales and shifts (as in guided-diffusion)."""

    def __init__(self, in_channels, out_channels, embedding_channels):
        super().__init__()
        self.norm_1 = nn.GroupNorm(in_channels // 16, in_channels)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.scale_shift = nn.Linear(embedding_channels, 2 * out_channels)
        self.norm_2 = nn.GroupNorm(out_channels // 16, out_channels)
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        zero_(self.scale_shift)
        zero_(self.conv_2)  # untrained, a block is only its skip connection

    def forward(self, x, embedding):
        h = self.conv_1(F.silu(self.norm_1(x)))
        scale, shift = self.scale_shift(embedding)[:, :, None, None].chunk(2, dim=1)
        h = (self.norm_2(h) * (1 + scale)).add_(shift)  # in place, here and below: faster (docs/measurements.md)
        return self.conv_2(F.silu(h)).add_(self.skip(x))


class SmallUNet(Denoiser):
    """0.39 M parameters. Predicts the clean image unless told otherwise: after five epochs it draws better digits than a
    network that predicts v, and far better ones than one that predicts the noise (docs/measurements.md).

    The image is folded from 28 x 28 to 14 x 14 x 4, goes through one residual block at 14 x 14, three at 7 x 7 and one at
    14 x 14, and is unfolded again. Nothing is computed at 28 x 28, where the assignment's U-Net has most of its operations.
    """

    def __init__(
        self, schedule, class_conditioned, width=32, prediction_type="sample", embedding_channels=128, is_map=False
    ):
        super().__init__(schedule, class_conditioned, prediction_type)
        self.is_map = is_map
        self.register_buffer("frequencies", torch.logspace(0, 3, 32), persistent=False)  # of t / T
        self.time_embedding = nn.Sequential(
            nn.Linear(64, embedding_channels), nn.SiLU(), nn.Linear(embedding_channels, embedding_channels)
        )
        self.next_embedding = None
        if is_map:
            self.next_embedding = nn.Sequential(
                nn.Linear(64, embedding_channels), nn.SiLU(), nn.Linear(embedding_channels, embedding_channels)
            )
            zero_(self.next_embedding[-1])  # at first a map is the network that it starts from
        self.class_embedding = nn.Embedding(NO_CLASS + 1, embedding_channels) if class_conditioned else None
        self.stem = nn.Conv2d(4, width, 3, padding=1)
        self.down_block = ResidualBlock(width, width, embedding_channels)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle_blocks = nn.ModuleList(ResidualBlock(2 * width, 2 * width, embedding_channels) for _ in range(3))
        self.up = nn.Conv2d(2 * width, 4 * width, 1)
        self.up_block = ResidualBlock(2 * width, width, embedding_channels)
        self.norm = nn.GroupNorm(width // 16, width)
        self.output = nn.Conv2d(width, 4, 3, padding=1)
        zero_(self.output)

    def predict(self, x_t, t, labels, *t_next):
        """-> (N, 1, 28, 28), by default x_0."""
        embedding = self.time_embedding(self._waves(x_t, t))
        if self.next_embedding is not None:
            embedding = embedding + self.next_embedding(self._waves(x_t, *t_next))
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(labels)
        embedding = F.silu(embedding)  # (N, 128)

        # Channels last, as the convolutions compute: otherwise each converts its input (docs/measurements.md).
        x = F.pixel_unshuffle(x_t, 2).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)  # (N, 32, 14, 14)
        skip = x = self.down_block(x, embedding)
        x = self.down(x)  # (N, 64, 7, 7)
        for block in self.middle_blocks:
            x = block(x, embedding)
        x = F.pixel_shuffle(self.up(x), 2)  # (N, 32, 14, 14)
        x = self.up_block(torch.cat([x, skip], dim=1), embedding)
        return F.pixel_shuffle(self.output(F.silu(self.norm(x))), 2)

    def _waves(self, x_t, t):
        """(N, 64): the relative time of each image, as sines and cosines."""
        angles = self.relative_time(x_t, t)[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def zero_(layer):
    """Set a layer's weight and bias to zero in place."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


# --- the assignment's U-Net ---


def conv(in_channels, out_channels, stride=1):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1), nn.BatchNorm2d(out_channels), nn.GELU()
    )


def conv_block(in_channels, out_channels):
    return nn.Sequential(conv(in_channels, out_channels), conv(out_channels, out_channels))


def down_block(in_channels, out_channels):
    return nn.Sequential(conv(in_channels, out_channels, stride=2), conv_block(out_channels, out_channels))


def up_block(in_channels, out_channels):
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.GELU(),
        conv_block(out_channels, out_channels),
    )


def fc_block(in_features, out_features):
    return nn.Sequential(nn.Linear(in_features, out_features), nn.GELU(), nn.Linear(out_features, out_features))


class CS180UNet(Denoiser):
    """The assignment's U-Net; `width` is its D. Predicts the noise, as in the assignment of 2024, unless told otherwise.

    time: how the embedded time enters: "added" after the blocks are multiplied by the embedded class; "multiplied" itself, as in
    the flow editions where there are no classes; "none": not at all, as in the single-step denoiser.
    """

    def __init__(self, schedule, class_conditioned, width=64, prediction_type="epsilon", time="added"):
        super().__init__(schedule, class_conditioned, prediction_type)
        self.initial = conv_block(1, width)
        self.down_1 = down_block(width, width)
        self.down_2 = down_block(width, 2 * width)
        self.flatten = nn.Sequential(nn.AvgPool2d(7), nn.GELU())
        self.unflatten = nn.Sequential(
            nn.ConvTranspose2d(2 * width, 2 * width, 7), nn.BatchNorm2d(2 * width), nn.GELU()
        )
        self.up_1 = up_block(4 * width, width)
        self.up_2 = up_block(2 * width, width)
        self.output = nn.Sequential(conv_block(2 * width, width), nn.Conv2d(width, 1, 3, padding=1))
        self.time = time
        self.time_1 = fc_block(1, 2 * width) if time != "none" else None
        self.time_2 = fc_block(1, width) if time != "none" else None
        self.class_1 = fc_block(NO_CLASS, 2 * width) if class_conditioned else None
        self.class_2 = fc_block(NO_CLASS, width) if class_conditioned else None

    def predict(self, x_t, t, labels):
        """-> (N, 1, 28, 28), by default the noise."""
        c_1, c_2, t_1, t_2 = 1.0, 1.0, 0.0, 0.0
        if self.class_1 is not None:
            one_hot = F.one_hot(labels, NO_CLASS + 1)[:, :NO_CLASS].to(x_t.dtype)  # all zero for NO_CLASS
            c_1, c_2 = self.class_1(one_hot)[:, :, None, None], self.class_2(one_hot)[:, :, None, None]
        if self.time_1 is not None:
            t = self.relative_time(x_t, t)[:, None]
            t_1, t_2 = self.time_1(t)[:, :, None, None], self.time_2(t)[:, :, None, None]
        if self.time == "multiplied":
            c_1, c_2, t_1, t_2 = c_1 * t_1, c_2 * t_2, 0.0, 0.0

        x_28 = self.initial(x_t)
        x_14 = self.down_1(x_28)
        x_7 = self.down_2(x_14)
        x = c_1 * self.unflatten(self.flatten(x_7)) + t_1  # (N, 2D, 7, 7)
        x = c_2 * self.up_1(torch.cat([x, x_7], dim=1)) + t_2  # (N, D, 14, 14)
        x = self.up_2(torch.cat([x, x_14], dim=1))
        return self.output(torch.cat([x, x_28], dim=1))


NETWORKS = {"small": SmallUNet, "cs180": CS180UNet}


def make_network(model: dict, schedule) -> Denoiser:
    """The network of an entry of mnist/models, with random weights. model: {"network": one of NETWORKS, **its options}."""
    options = dict(model)
    return NETWORKS[options.pop("network")](schedule, **options)
