"""The size of a network, counted on the network itself, built without weights (torch's meta device)."""

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fun.networks.mnist_unets import make_network

TOKENS = 77  # length of a prompt, as in IF's training

# DeepFloyd/IF-I-XL-v1.0, stage I of the largest cascade: 4.3 billion parameters.
IF_I_XL = {
    "sample_size": 64,
    "in_channels": 3,
    "out_channels": 6,
    "block_out_channels": (704, 1408, 2112, 2816),
    "layers_per_block": 3,
    "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
    "act_fn": "gelu",
    "attention_head_dim": 64,
    "cross_attention_dim": 2816,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 64,
    "resnet_time_scale_shift": "scale_shift",
}


def mnist_size(model, schedule):
    """(parameters, FLOPs of one pass over one image) of an MNIST U-Net, an entry of mnist/models."""
    with torch.device("meta"):
        network = make_network(model, schedule).eval()
        x, labels = torch.empty(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)
    return parameters(network), flops(lambda: network.predict(x, 0, labels))


def unet_size(config):
    """(parameters, FLOPs of one pass over one image) of a UNet2DConditionModel, from its config.json."""
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(config).eval()
        x = torch.empty(1, network.config.in_channels, network.config.sample_size, network.config.sample_size)
        t = torch.zeros((), dtype=torch.int64)
        embeds = torch.empty(1, TOKENS, network.config.encoder_hid_dim or network.config.cross_attention_dim)
        noise_level = torch.zeros(1, dtype=torch.int64) if network.config.class_embed_type else None
    return parameters(network), flops(lambda: network(x, t, embeds, class_labels=noise_level))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def flops(call):
    """Floating-point operations of `call()` in convolutions and matrix products; a multiplication and an addition are 2."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
