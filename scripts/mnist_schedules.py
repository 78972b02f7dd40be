"""Show the forward process on a digit, and how much signal each schedule leaves at its end."""

from reporting.job import log_to

log_to(snakemake.log[0])

from pathlib import Path

import torch
from PIL import Image

from diffusion.mnist import load_mnist, pick, to_uint8
from diffusion.sampling import randn
from diffusion.schedule import SCHEDULES
from reporting.figure import write_figure

schedule, seed = snakemake.params.schedule, snakemake.params.seed
T = schedule["num_train_timesteps"]
curves = {name: make(T).alpha_bar(torch.arange(T)).sqrt() for name, make in SCHEDULES.items()}
images, labels = load_mnist(Path(snakemake.input.data[0]).parent, "t10k")
digit = images[pick(labels, torch.tensor([7]))]
noise = randn(digit.shape[1:], [torch.Generator().manual_seed(seed)])

panels = []
for name, make in SCHEDULES.items():
    for t in [-1, *(round(k * (T - 1) / 5) for k in range(1, 6))]:
        picture = to_uint8(make(T).q_sample(digit, t, noise))[0]
        panels.append(
            {
                "picture": Image.fromarray(picture.numpy()),
                "label": f"{name}, t = {t}" if t >= 0 else f"{name}, the digit itself",
                "alt": f"A handwritten seven with the noise of timestep {t} of the {name} schedule."
                if t >= 0
                else "A seven.",
                "provenance": {"schedule": name, "t": t, "T": T, "seed": seed},
            }
        )

write_figure(
    Path(snakemake.output.figure).parent,
    id="mnist_schedules",
    title="The forward process on a digit",
    caption="The same digit and the same noise under two schedules. The linear one stops early: at its last timestep "
    f"xₜ still holds {float(curves['linear'][-1]):.2f} of the digit (the cosine schedule: {float(curves['cosine'][-1]):.1e}), "
    "while sampling starts from noise that holds nothing, a mismatch that training never saw. "
    f"The models here are trained with the {schedule['name']} schedule.",
    task="forward_process",
    blocks=[
        {"layout": "grid", "columns": 6, "panels": panels},
        {
            "layout": "chart",
            "title": "Signal left in xₜ",
            "panels": [],
            "chart": {
                "kind": "line",
                "x": {"label": "timestep t", "min": 0},
                "y": {"label": "share of the digit in xₜ", "min": 0, "max": 1},
                "series": [
                    {"name": name, "x": list(range(0, T, max(1, T // 100))), "y": curve[:: max(1, T // 100)].tolist()}
                    for name, curve in curves.items()
                ],
            },
        },
    ],
    metrics=[
        {"name": f"signal left at t = T - 1, {name}", "value": float(curve[-1]), "goal": "lower"}
        for name, curve in curves.items()
    ],
    provenance={"command": f"snakemake --cores 1 {snakemake.output.figure}"},
)
