"""The library's public interface: what a notebook or another project imports.

    pip install -e .                  # in a clone; or without it: PYTHONPATH=scripts
    from fun.api import NoiseSchedule, denoise

No rule and no script imports this module, so that a job depends only on the code that it uses. docs/library.md is made from it.
"""

from fun.data.images import load_image, to_picture
from fun.data.mnist import load_mnist, to_uint8
from fun.data.mnist_sources import fetch_mnist
from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.cascade import Stage, load_stage
from fun.diffusion.digits import generate
from fun.diffusion.guidance import Branch, predict
from fun.diffusion.inversion import ddim_inversion
from fun.diffusion.sampling import Prediction, State, denoise, make_step, on_path, randn
from fun.diffusion.schedule import Flow, NoiseSchedule, make_schedule
from fun.diffusion.text_encoder import TextEncoder, load_text_encoder
from fun.diffusion.views import View, make_view
from fun.networks.mnist_unets import NO_CLASS, SmallUNet
from fun.reporting.notebook import show
from fun.training.trainer import Trainer

GROUPS = {  # as docs/library.md shows them
    "From image to noise": ("NoiseSchedule", "Flow", "make_schedule"),
    "From noise to image": (
        "denoise",
        "State",
        "make_step",
        "spaced_timesteps",
        "timestep_pairs",
        "randn",
        "on_path",
        "ddim_inversion",
    ),
    "What a step asks of the network": ("predict", "Prediction", "Branch", "make_view", "View"),
    "A network of digits": ("SmallUNet", "NO_CLASS", "Trainer", "generate", "fetch_mnist", "load_mnist", "to_uint8"),
    "DeepFloyd IF, and what has its format": ("load_text_encoder", "TextEncoder", "load_stage", "Stage"),
    "Pictures": ("load_image", "to_picture", "show"),
}
__all__ = [name for names in GROUPS.values() for name in names]
