"""The measurement of full-size networks, on small ones."""

import pytest
import torch

from fun.benchmarking.full_size import LOOPS, NETWORKS, build, measure
from fun.benchmarking.sizes import unet_size

CPU = torch.device("cpu")
SMALL = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "encoder_hid_dim": 16,
    "addition_embed_type_num_heads": 4,
}


@pytest.mark.parametrize(("name", "millions"), list(zip(NETWORKS, (4304.7, 371.6, 1179.1), strict=True)))
def test_the_networks_are_as_large_as_they_say(name, millions):
    assert unet_size(NETWORKS[name])[0] / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("name", ["stage I, as IF-I-XL", "stage II, about IF-II-L"])
def test_both_loops_draw_the_same_pictures_and_are_timed(name):
    config = NETWORKS[name] | SMALL
    networks = build(config, torch.float32, CPU)
    embeds = {prompt: torch.randn(77, 16) for prompt in ("", "a prompt")}
    low = torch.rand(2, 3, 8, 8) * 2 - 1 if "II" in name.split(",")[0] else None
    ours, theirs = (
        draw(network, embeds, low, batch=2, steps=3) for draw, network in zip(LOOPS.values(), networks, strict=True)
    )
    assert ours.shape == (2, 3, 16, 16) and (ours - theirs).abs().max() < 1e-3 and theirs.std() > 0.1

    rows = list(measure(name, config, torch.float32, CPU, batch=2, steps=2, rounds=2))
    assert [row["loop"] for row in rows] == ["this project", "diffusers"]
    assert all(0 < row["least"] <= row["seconds a step"] <= row["most"] for row in rows)
