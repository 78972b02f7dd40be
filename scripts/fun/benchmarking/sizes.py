"""The size of a network, counted on the network itself, built without weights (torch's meta device), and the report's table
of the networks, whose rows are {name, network, parameters, flops_per_step, steps, image_size, note}."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fun.diffusion.cascade import make_unet
from fun.networks.mnist_unets import make_network

IF_STEPS = 100  # of stage I, by default, in diffusers' IFPipeline
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


def mnist_rows(models: dict[str, dict], schedule, steps: int) -> list[dict]:
    """The rows of the MNIST networks. Of two that differ only in their conditioning, by a few hundred parameters, the larger
    one is counted.

    models: the entries of mnist/models.
    """
    by_size = sorted(models.values(), key=lambda model: model["class_conditioned"])
    different = {(model["network"], model["width"]): model for model in by_size}
    networks = [network for network, _ in different]
    rows = []
    for (network, width), model in different.items():
        words = f"{network} U-Net" + (f", width {width}" if networks.count(network) > 1 else "")
        rows.append(_row("MNIST digits", words, mnist_size(model, schedule), steps, 28))
    return rows


def stage_row(config: dict, name: str, steps: int, note: str = "") -> dict:
    """The row of a cascade's stage. config: of its U-Net, from config.json."""
    return _row(name, config["_class_name"], unet_size(config), steps, config["sample_size"], note)


def largest_if(rows: list[dict]) -> list[dict]:
    """The row of IF-I-XL for comparison, unless one of the rows is that network."""
    note = "counted from its published configuration, not run here"
    row = stage_row(IF_I_XL | {"_class_name": "UNet2DConditionModel"}, "DeepFloyd IF-I-XL", IF_STEPS, note)
    return [] if row["parameters"] in {other["parameters"] for other in rows} else [row]


def _row(name, network, size, steps, image_size, note=""):
    parameters, flops_per_step = size
    row = {"name": name, "network": network, "parameters": parameters, "flops_per_step": flops_per_step}
    return row | {"steps": steps, "image_size": image_size, "note": note}


def mnist_size(model, schedule):
    """(parameters, FLOPs of one pass over one image) of an MNIST U-Net, an entry of mnist/models."""
    with torch.device("meta"):
        network = make_network(model, schedule).eval()
        x, labels = torch.empty(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)
    return parameters(network), flops(lambda: network.predict(x, 0, labels))


def unet_size(config):
    """(parameters, FLOPs of one pass over one image, without reading the prompt) of a UNet2DConditionModel, from its
    config.json."""
    with torch.device("meta"):
        network = make_unet(config).eval()
        x = torch.empty(1, config["in_channels"], config["sample_size"], config["sample_size"])
        embeds = torch.empty(1, TOKENS, config.get("encoder_hid_dim") or config["cross_attention_dim"])
        prompts = network.read_prompts(embeds, torch.zeros(1, dtype=torch.int64))
    noise_level = 0 if config.get("class_embed_type") else None
    return parameters(network), flops(lambda: network(x, 0, prompts, noise_level))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def flops(call):
    """Floating-point operations of `call()` in convolutions and matrix products; a multiplication and an addition are 2."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
