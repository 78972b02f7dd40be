"""Sizes of networks, counted without weights, against published ones and against the real networks."""

import pytest
import torch

from fun.benchmarking.sizes import IF_I_XL, flops, largest_if, mnist_rows, mnist_size, stage_row, unet_size
from fun.diffusion.schedule import NoiseSchedule
from fun.networks.mnist_unets import NETWORKS

TINY = {
    "sample_size": 16,
    "in_channels": 6,
    "out_channels": 6,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 16,
    "encoder_hid_dim": 12,
    "encoder_hid_dim_type": "text_proj",
    "resnet_time_scale_shift": "scale_shift",
    "class_embed_type": "timestep",
}


def test_the_largest_if_has_its_published_size():
    parameters, operations = unet_size(IF_I_XL)
    assert round(parameters / 1e6, 1) == 4304.7
    assert 1e12 < operations < 1e13


def test_a_convolution_and_a_matrix_product_are_counted_by_hand():
    x, weight = torch.empty(1, 3, 8, 8, device="meta"), torch.empty(4, 3, 3, 3, device="meta")
    assert flops(lambda: torch.nn.functional.conv2d(x, weight, padding=1)) == 2 * 8 * 8 * 4 * 3 * 3 * 3
    assert flops(lambda: torch.empty(2, 3, device="meta") @ torch.empty(3, 5, device="meta")) == 2 * 2 * 3 * 5


@pytest.mark.parametrize("name", list(NETWORKS))
def test_mnist_networks_are_counted_as_they_are(name):
    schedule = NoiseSchedule.cosine(10)
    real = NETWORKS[name](schedule, class_conditioned=True)
    parameters, operations = mnist_size({"network": name, "class_conditioned": True}, schedule)
    assert parameters == sum(parameter.numel() for parameter in real.parameters())
    x, labels = torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)
    assert operations == flops(lambda: real.eval().predict(x, 0, labels)) > 1e7


def test_a_second_stage_is_counted_with_its_noise_level():
    parameters, operations = unet_size(TINY)
    assert parameters > 1e4 and operations > 1e6


def test_the_table_has_a_row_for_each_network_that_ran():
    small = {"network": "small", "width": 16, "class_conditioned": True}
    models = {"a": small, "b": small | {"class_conditioned": False}, "c": small | {"width": 32}}
    rows = mnist_rows(models, NoiseSchedule.cosine(10), 25)
    assert [(row["network"], row["steps"]) for row in rows] == [
        ("small U-Net, width 16", 25),
        ("small U-Net, width 32", 25),
    ]
    assert rows[0]["parameters"] == mnist_size(small, NoiseSchedule.cosine(10))[0]
    assert mnist_rows({"a": small}, NoiseSchedule.cosine(10), 25)[0]["network"] == "small U-Net"


def test_the_largest_if_is_there_once():
    ran = stage_row(IF_I_XL | {"_class_name": "UNet2DConditionModel"}, "mine, stage I", 33)
    assert ran["steps"] == 33 and largest_if([ran]) == []
    (compared,) = largest_if([stage_row(TINY | {"_class_name": "UNet2DConditionModel"}, "tiny", 3)])
    assert compared["parameters"] == ran["parameters"] and "not run here" in compared["note"]
