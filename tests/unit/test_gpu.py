"""On a GPU the same pictures as on the processor; and without one, that everything is on the device on which it should be.

The tests marked `gpu` run where torch finds a CUDA device, and are skipped, and counted, elsewhere. The others run everywhere, on
fake tensors (torch's FakeTensorMode): these have a shape and a device, here a GPU's, but no numbers, and an operation that mixes
two devices raises what it would raise on a real one.
"""

import json
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from fun.data.devices import pick_device
from fun.diffusion.cascade import load_stage, make_unet
from fun.diffusion.digits import generate
from fun.diffusion.experiments import TASKS
from fun.diffusion.sampler import Sampler
from fun.diffusion.schedule import NoiseSchedule
from fun.diffusion.text_encoder import load_text_encoder
from fun.networks.mnist_unets import SmallUNet
from fun.training.trainer import Trainer
from fun.weights.safety_checker import load_checker
from tiny_cascade import make_cascade
from tiny_options import make_safety

GPU = torch.device("cuda")
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
RECIPE = {
    "muon_lr": 0.02,
    "adamw_lr": 0.002,
    "warm_up_steps": 3,
    "decay_per_epoch": 0.9,
    "ema": 0.9,
    "reference_images": 16,
}
PROMPTS = ["a red one", "a blue five"]
TWO = [
    {"prompt": PROMPTS[0], "seed": 0, "guidance_scale": 3.0},
    {"prompt": PROMPTS[1], "seed": 1, "guidance_scale": 7.0},
]
BOTH = ("stage_1", "stage_2")
VIEWS = [
    {"view": view, "prompt": prompt, "seed": 0}
    for view, prompt in zip(("identity", "rotate_180"), PROMPTS, strict=True)
]
# {task: (the stages that draw it, what is added to each sample, its entries)}; "image" becomes a picture.
ASKED = {
    "forward_process": (["stage_1"], {"timestep": 250}, {"image": "image"}),
    "denoising": (["stage_1"], {"timestep": 500}, {"image": "image", "prompt": PROMPTS[0], "keep_every": 2}),
    "text_to_image": (BOTH, {}, {}),
    "image_to_image": (BOTH, {"start": 500}, {"image": "image", "invert": False}),
    "inpainting": (BOTH, {}, {"image": "image", "mask": "left", "invert": False}),
    "visual_anagram": (BOTH, {}, {"views": VIEWS, "away": 1}),
    "prompt_pairs": (["stage_1"], {"pair": PROMPTS}, {"view": "rotate_180", "view_seed": 0}),
    "pieces": (["stage_1"], {"pieces": 16}, {"image": "image", "turns": True}),
    # With a sigma of 1 these random weights amplify rounding to two grey levels in stage II, with 1.5 to a hundredth of one.
    "hybrid_image": (BOTH, {}, {"prompts": PROMPTS, "sigmas": [1.5], "kernel_size": None, "image": None}),
    "colour_hybrid": (BOTH, {}, {"prompts": PROMPTS, "image": None}),
    "motion_hybrid": (BOTH, {}, {"prompts": PROMPTS, "image": None, "length": 5, "angle": 90}),
    "upsample": (["stage_2"], {}, {"image": "image"}),
}
DRAWN = [(task, stage) for task, (stages, _, _) in ASKED.items() for stage in stages]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_cascade(tmp_path_factory.mktemp("cascade"))
    y, x = np.indices((40, 40))
    Image.fromarray(np.stack([6 * x, 6 * y, 3 * (x + y)], -1).astype(np.uint8)).save(folder / "picture.png")
    return folder


def drawn(folder, task, stage, device, dtype=torch.float32, steps=5, unet=None, **load):
    """What a task makes on a device: {name: tensor}. unet: in place of the stage's own."""
    level = 50 if stage == "stage_2" else None
    loaded = load_stage(folder / stage, level, None, dtype, device, **load)
    if unet is not None:
        loaded.network.__dict__["unet"] = unet
    generator = torch.Generator().manual_seed(0)
    embeds = {prompt: torch.randn(77, 32, generator=generator) for prompt in ["", *PROMPTS]}
    sampler = Sampler(loaded, embeds, 16, "ddpm", steps, "trailing", "learned", True, 7.0, max_batch=3)
    _, more, entries = ASKED[task]
    entries = {key: str(folder / "picture.png") if value == "image" else value for key, value in entries.items()}
    low = torch.randn(2, 3, 16, 16, generator=generator).clamp(-1, 1) if stage == "stage_2" else None
    return TASKS[task].run(sampler, [sample | more for sample in TWO], low, **entries)


def test_every_task_is_asked():
    assert ASKED.keys() == TASKS.keys()


# --- fake tensors ---


@contextmanager
def fake_gpu():
    """Tensors without numbers: what would depend on numbers is decided here."""
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        for where, name, answer in (
            (torch.Tensor, "__bool__", lambda x: True),
            (torch.Tensor, "item", lambda x: 0.5),
            (torch.Tensor, "numpy", lambda x: np.zeros(x.shape, np.float32)),
            (torch.Tensor, "nonzero", lambda x: torch.arange(len(x), device=x.device)[:, None]),
            (torch.Tensor, "unique", lambda x, dim, return_inverse: (x, torch.arange(len(x), device=x.device))),
            (torch, "equal", lambda a, b: a.shape == b.shape),
        ):
            stack.enter_context(mock.patch.object(where, name, answer))
        yield


def fake_unet(folder, stage):
    with GPU:
        return make_unet(json.loads((folder / stage / "unet/config.json").read_text())).eval().requires_grad_(False)


# Of stage II two tasks, since each takes a second; denoising is compared with the best blur, whose search depends on numbers.
@pytest.mark.parametrize(
    ("task", "stage"),
    [one for one in DRAWN if one[0] != "denoising" and (one[1] == "stage_1" or one[0] in ("inpainting", "upsample"))],
)
def test_a_task_s_pictures_are_on_the_gpu(folder, task, stage):
    with fake_gpu():
        x_0 = drawn(folder, task, stage, GPU, steps=2, unet=fake_unet(folder, stage))["x_0"]
        size = {"stage_1": 16, "stage_2": 32}[stage]
        assert x_0.device.type == "cuda" and x_0.shape[1:] == (3, size, size)


def test_what_mixes_devices_is_found(folder):
    """A picture left on the processor."""
    with (
        fake_gpu(),
        mock.patch.object(Sampler, "image", lambda sampler, path: torch.zeros(1, 3, 16, 16)),
        pytest.raises(RuntimeError, match="devi"),
    ):
        drawn(folder, "image_to_image", "stage_1", GPU, steps=2, unet=fake_unet(folder, "stage_1"))


def test_a_network_of_digits_learns_and_draws_on_the_gpu():
    with fake_gpu():
        with GPU:
            network = SmallUNet(NoiseSchedule.cosine(300), class_conditioned=True)
        images, labels = torch.randn(16, 1, 28, 28, device=GPU), torch.randint(10, (16,), device=GPU)
        loss = Trainer(network, 0, **RECIPE).loss(images[:8], labels[:8], images, labels)
        assert loss.device.type == "cuda"
        *_, last = generate(
            network, torch.arange(4, device=GPU), range(4), "sde_dpm_solver", "trailing", 4, 2.0, guide=network
        )
        assert last.x_t.device.type == "cuda"


# --- a real one ---


def grey_levels(x):
    return (x.float().cpu().clamp(-1, 1) + 1) * 127.5


class TestOnAGPU:
    pytestmark = on_gpu

    @pytest.fixture(autouse=True)
    def as_jobs_do(self):
        pick_device("cuda")

    @pytest.mark.parametrize(("task", "stage"), DRAWN)
    def test_a_seed_gives_the_processors_picture(self, folder, task, stage):
        here, there = (drawn(folder, task, stage, torch.device(name))["x_0"] for name in ("cpu", "cuda"))
        assert (grey_levels(here) - grey_levels(there)).abs().max() <= 1

    @pytest.mark.parametrize("load", [{"attention": "sliced"}, {"offload": True}], ids=str)
    def test_less_memory_gives_the_same_picture(self, folder, load):
        plain, less = (drawn(folder, "text_to_image", "stage_1", GPU, **how)["x_0"] for how in ({}, load))
        assert (grey_levels(plain) - grey_levels(less)).abs().max() <= 1

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_half_precision_draws_a_picture_like_it(self, folder, dtype):
        exact, half = (drawn(folder, "text_to_image", "stage_1", GPU, kind)["x_0"] for kind in (torch.float32, dtype))
        assert half.isfinite().all() and (grey_levels(exact) - grey_levels(half)).abs().mean() < 10

    @pytest.mark.parametrize("objects_to", [0.0, 1.0])
    def test_the_safety_checker_says_what_it_would_black_out(self, tmp_path, objects_to):
        check = load_checker(make_safety(tmp_path, objects_to), None, GPU)
        assert check(torch.rand(20, 3, 32, 32) * 2 - 1).tolist() == [objects_to == 1] * 20

    def test_8_bits_give_nearly_the_same_embeddings(self, folder):
        """What a feed-forward layer ends with stays in float32."""
        pytest.importorskip("bitsandbytes")
        plain, eight = (
            load_text_encoder(folder / "stage_1", 77, None, torch.float16, GPU, bits) for bits in (False, True)
        )
        exact, near = (encoder.encode(PROMPTS[0]).float() for encoder in (plain, eight))
        assert 0 < (exact - near).abs().mean() < 0.02 * exact.std()
        kinds = {name.split(".")[-2]: weights.dtype for name, weights in eight.model.named_parameters()}
        assert kinds["q"] == torch.int8 and kinds["wo"] == torch.float32 and kinds["shared"] == torch.float16

    def test_training_has_the_processors_losses_and_its_own_bits(self):
        generator = torch.Generator().manual_seed(0)
        images, labels = (
            torch.randn(256, 1, 28, 28, generator=generator),
            torch.randint(10, (256,), generator=generator),
        )

        def trained(device):
            torch.manual_seed(0)
            trainer = Trainer(SmallUNet(NoiseSchedule.cosine(300), True).to(device), 0, **RECIPE)
            return list(trainer.train_epoch(images.to(device), labels.to(device), 32)), trainer.state_dict()

        (here, _), (there, state), (again, state_again) = trained("cpu"), trained("cuda"), trained("cuda")
        assert there == pytest.approx(here, rel=0.02)
        assert there == again and all(torch.equal(state[name], state_again[name]) for name in state)
