"""IF's U-Net against diffusers' class: the same numbers from the same files."""

import inspect
import json
import subprocess
import sys

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from fun.benchmarking.full_size import NETWORKS
from fun.benchmarking.sizes import IF_I_XL, flops
from fun.diffusion.cascade import OtherUNet, load_stage, make_unet
from fun.diffusion.experiments import text_to_image
from fun.diffusion.sampler import Sampler
from fun.networks.if_unet import CHOICES, FIXED, FREE, INTEGERS, LEFT_OUT, IFUNet, not_understood
from project import PROJECT
from tiny_cascade import make_cascade

CPU = torch.device("cpu")
TINY = IF_I_XL | {
    "sample_size": 16,
    "block_out_channels": (8, 16, 24),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": IF_I_XL["down_block_types"][:3],
    "up_block_types": IF_I_XL["up_block_types"][-3:],
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "encoder_hid_dim": 16,
    "addition_embed_type_num_heads": 4,
}
# What IF's three stages and the miniature differ in, and what its conversion script can write.
VARIANTS = {
    "as IF-I-XL": {},
    "as IF-II": {
        "in_channels": 6,
        "class_embed_type": "timestep",
        "layers_per_block": [1, 2, 3],
        "only_cross_attention": [False, True, False],
        "mid_block_scale_factor": 1.414,
        "resnet_out_scale_factor": 1.414,
        "resnet_skip_time_act": True,
        "time_embedding_act_fn": "gelu",
    },
    "attention to the prompt alone": {"only_cross_attention": True},
    "attention to the prompt alone in the middle": {"mid_block_only_cross_attention": True},
    "without attention but in the middle": {
        "down_block_types": ["ResnetDownsampleBlock2D"] * 3,
        "up_block_types": ["ResnetUpsampleBlock2D"] * 3,
    },
    "SiLU, no norm, prompt in the attention alone": {
        "act_fn": "silu",
        "time_embedding_act_fn": "silu",
        "cross_attention_norm": None,
        "addition_embed_type": None,
        "norm_eps": 1e-3,
    },
}


def both(config):
    """diffusers' network and ours with the same weights, none of them zero."""
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(**config).eval().requires_grad_(False)
    for parameter in theirs.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    ours = IFUNet(config).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def inputs(config, n=4):
    rows = torch.tensor([0, 1, 0, 2])[:n]
    return torch.randn(n, config["in_channels"], 16, 16), torch.randn(3, 77, config["encoder_hid_dim"]), rows


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("t", [0, 500, 999])
def test_the_same_numbers(variant, t):
    config = TINY | VARIANTS[variant]
    theirs, ours = both(config)
    x, embeds, rows = inputs(config)
    level = 50 if config.get("class_embed_type") else None
    levels = None if level is None else torch.full((len(x),), level)
    expected = theirs(x, t, embeds[rows], class_labels=levels).sample
    found = ours(x, t, ours.read_prompts(embeds, rows), level)
    assert found.shape == expected.shape and expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
    if level is not None:
        assert not torch.allclose(ours(x, t, ours.read_prompts(embeds, rows), 250), found, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_weights_at_full_size(name):
    with torch.device("meta"):
        theirs, ours = UNet2DConditionModel.from_config(NETWORKS[name]), IFUNet(NETWORKS[name])
    shapes = [{key: tensor.shape for key, tensor in network.state_dict().items()} for network in (theirs, ours)]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 500


def test_the_same_work():
    theirs, ours = both(TINY)
    x, embeds, rows = inputs(TINY, n=1)
    read = ours.read_prompts(embeds[:1], rows[:1])
    once, each = flops(lambda: ours.read_prompts(embeds[:1], rows[:1])), flops(lambda: ours(x, 5, read))
    assert once + each == flops(lambda: theirs(x, 5, embeds[:1])) and once > 0.05 * each


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_close_as_diffusers(dtype):
    theirs, ours = both(TINY)
    x, embeds, rows = inputs(TINY)
    exact = theirs(x, 500, embeds[rows]).sample
    theirs, ours, x, embeds = (thing.to(dtype) for thing in (theirs, ours, x, embeds))
    errors = [
        (found - exact).abs().max()
        for found in (theirs(x, 500, embeds[rows]).sample, ours(x, 500, ours.read_prompts(embeds, rows)))
    ]
    assert errors[1] < 2 * errors[0]


def test_every_entry_of_a_config_is_accounted_for():
    """Also when diffusers has a new one, and with its own values for those left out."""
    theirs = {name: p.default for name, p in inspect.signature(UNet2DConditionModel.__init__).parameters.items()}
    del theirs["self"]
    assert {*FREE, *CHOICES, *INTEGERS, *FIXED} == theirs.keys() == LEFT_OUT.keys()
    for name, value in (FREE | FIXED).items():
        assert theirs[name] == value, name
    for name in CHOICES.keys() - FREE.keys():
        assert theirs[name] is None or not_understood(TINY | {name: theirs[name]}), name
    for stage in (1, 2):
        config = json.loads((PROJECT / f"resources/miniature/stage_{stage}/unet/config.json").read_text())
        assert not_understood(config) == []


@pytest.mark.parametrize(
    "entry",
    [
        {"conv_in_kernel": 5},
        {"act_fn": "mish"},
        {"resnet_time_scale_shift": "default"},
        {"down_block_types": ("DownBlock2D", *["SimpleCrossAttnDownBlock2D"] * 2)},
        {"attention_head_dim": [8, 8, 8]},
        {"encoder_hid_dim": None, "encoder_hid_dim_type": None},
        {"an_entry_of_tomorrow": 1},
    ],
    ids=lambda entry: next(iter(entry)),
)
def test_nothing_is_guessed(entry):
    name, value = next(iter(entry.items()))
    assert f"{name}: {value}" in not_understood(TINY | entry)
    with pytest.raises(ValueError, match=f"not IF's U-Net: .*{name}"):
        IFUNet(TINY | entry)


def test_another_network_runs_in_diffusers_class(tmp_path, capsys):
    stage_1 = make_cascade(tmp_path) / "stage_1"
    theirs = UNet2DConditionModel.from_pretrained(stage_1, subfolder="unet")
    entries = dict(theirs.config) | {"conv_in_kernel": 5}
    theirs = UNet2DConditionModel.from_config(entries).eval()
    theirs.save_pretrained(stage_1 / "unet")
    network = load_stage(stage_1, None, None, torch.float32, CPU, attention="sliced").network
    x, cond = torch.randn(2, 3, 16, 16), torch.randn(2, 77, 32)
    _, noise, v = network(x, 500, cond)
    assert torch.allclose(torch.cat([noise, v], 1), theirs(x, 500, cond).sample, atol=1e-5)
    assert isinstance(network.unet, OtherUNet) and "differs from IF's in conv_in_kernel: 5" in capsys.readouterr().out
    assert isinstance(make_unet(TINY), IFUNet)


def test_weights_of_another_network_are_refused(tmp_path):
    stage_1 = make_cascade(tmp_path) / "stage_1"
    save_file({"a.weight": torch.zeros(1)}, stage_1 / "unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match="stage_1/unet: the weights are not those of config.json: a.weight is missing"):
        load_stage(stage_1, None, None, torch.float32, CPU).network(
            torch.randn(1, 3, 16, 16), 1, torch.randn(1, 77, 32)
        )


@pytest.mark.parametrize("max_batch", [None, 3])
def test_prompts_are_read_once_in_a_run(tmp_path, max_batch):
    stage = load_stage(make_cascade(tmp_path) / "stage_1", None, None, torch.float32, CPU)
    embeds = {prompt: torch.randn(77, 32) for prompt in ("", "one", "two")}
    read = []
    stage.network.unet.encoder_hid_proj.register_forward_hook(lambda module, given, out: read.append(len(given[0])))
    samples = [{"prompt": prompt, "seed": seed} for prompt in ("one", "two") for seed in range(3)]
    how = {"grid": 16, "sampler": "ddim", "steps": 5, "spacing": "leading", "variance": "small", "thresholding": True}
    text_to_image(Sampler(stage, embeds, **how, guidance_scale=3, max_batch=max_batch), samples, None)
    assert read == ([3] if max_batch is None else [1, 1, 1])


def test_a_stage_needs_no_diffusers(tmp_path):
    """Importing it takes seconds, in every job."""
    make_cascade(tmp_path)
    code = f"""
import sys, torch
from pathlib import Path
from fun.diffusion.cascade import load_stage
from fun.diffusion.sampler import Sampler
for folder, level, channels in (("stage_1", None, 3), ("stage_2", 50, 6)):
    stage = load_stage(Path({str(tmp_path)!r}) / folder, level, None, torch.float32, torch.device("cpu"))
    stage.network(torch.randn(1, channels, 16, 16), 500, torch.randn(1, 77, 32))
print(sorted({{"diffusers", "transformers", "torchvision", "torch._dynamo"}} & sys.modules.keys()))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT / "scripts", check=True
    )
    assert found.stdout.split("\n")[-2] == "[]"
