"""DeepFloyd IF's U-Net (https://github.com/deep-floyd/IF), the network of both of its stages and of the miniature's.

It reads the config.json and the weights of diffusers' UNet2DConditionModel, computes the same numbers, and knows nothing but
IF: residual blocks whose embedding scales and shifts, some followed by attention to the picture and the prompt at once.
Beside the U-Nets of mnist_unets.py it is the same thing, larger: the class has become a prompt, and depth has been added.

Unlike diffusers' class, it separates what depends on the prompt alone (`read_prompts`), which a sampling loop computes once,
from what changes with every step (`forward`).
"""

import math
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {"gelu": F.gelu, "silu": F.silu, "swish": F.silu}
DOWN = ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D")  # without and with attention, here and below
UP = ("ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D")

# What each entry of a config may be: anything (here with diffusers' value for a config without it), ...
FREE = {
    "act_fn": "silu",
    "addition_embed_type_num_heads": 64,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 1280,
    "downsample_padding": 1,  # of layers that IF's blocks do not have, like transformer_layers_per_block
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "only_cross_attention": False,
    "out_channels": 4,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "sample_size": None,
    "time_embedding_act_fn": None,
    "transformer_layers_per_block": 1,
}
# ... one of a few, ...
CHOICES = {
    "act_fn": tuple(ACTIVATIONS),
    "addition_embed_type": (None, "text"),
    "class_embed_type": (None, "timestep"),
    "cross_attention_norm": (None, "group_norm"),
    "down_block_types": DOWN,
    "encoder_hid_dim_type": ("text_proj",),
    "mid_block_type": ("UNetMidBlock2DSimpleCrossAttn",),
    "resnet_time_scale_shift": ("scale_shift",),
    "time_embedding_act_fn": (None, *ACTIVATIONS),
    "up_block_types": UP,
}
# ... an integer, where diffusers also takes one for each level, ...
INTEGERS = ("attention_head_dim", "cross_attention_dim", "encoder_hid_dim", "norm_num_groups")
# ... or exactly this.
FIXED = {
    "addition_time_embed_dim": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "dropout": 0.0,
    "dual_cross_attention": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "projection_class_embeddings_input_dim": None,
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "upcast_attention": False,
    "use_linear_projection": False,
}
LEFT_OUT = FREE | FIXED | dict.fromkeys([*CHOICES.keys() - FREE.keys(), "encoder_hid_dim"])


def not_understood(config: dict) -> list[str]:
    """The entries of a UNet2DConditionModel's config that IFUNet does not know how to follow, each as "name: value"."""
    entries = LEFT_OUT | {name: value for name, value in config.items() if not name.startswith("_")}
    return [f"{name}: {value}" for name, value in entries.items() if not _understood(name, value)]


def _understood(name, value):
    if name in CHOICES:
        return all(one in CHOICES[name] for one in (value if isinstance(value, list | tuple) else [value]))
    return isinstance(value, int) if name in INTEGERS else name in FREE or (name in FIXED and value == FIXED[name])


class Prompts(NamedTuple):
    """What the network computes of prompts alone, and which of the U prompts each of N samples has."""

    rows: Tensor  # (N,) int64 in 0 .. U - 1
    embedding: Tensor | None  # (U, E), to be added to the time's
    keys_values: dict[nn.Module, tuple[Tensor, Tensor]]  # {attention: keys and values (U, heads, L, D) of the L tokens}


class IFUNet(nn.Module):
    """The network of an IF stage, with random weights.

    Args:
        config: as in unet/config.json. Raises ValueError if `not_understood(config)` has entries.
    """

    def __init__(self, config: dict):
        super().__init__()
        if unknown := not_understood(config):
            raise ValueError(f"this is not IF's U-Net: {', '.join(unknown)}")
        c = self.config = SimpleNamespace(**LEFT_OUT | config)
        widths, levels = tuple(c.block_out_channels), len(c.block_out_channels)
        layers = [c.layers_per_block] * levels if isinstance(c.layers_per_block, int) else c.layers_per_block
        only = c.only_cross_attention
        only, middle = ([only] * levels, only) if isinstance(only, bool) else (only, False)
        middle = middle if c.mid_block_only_cross_attention is None else c.mid_block_only_cross_attention
        self.act = ACTIVATIONS.get(c.time_embedding_act_fn, _same)

        embedding = c.embedding_channels = 4 * widths[0]
        self.conv_in = nn.Conv2d(c.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], embedding, c.act_fn)
        self.class_embedding = TimestepEmbedding(widths[0], embedding, c.act_fn) if c.class_embed_type else None
        self.encoder_hid_proj = nn.Linear(c.encoder_hid_dim, c.cross_attention_dim)
        self.add_embedding = (
            TextEmbedding(c.encoder_hid_dim, embedding, c.addition_embed_type_num_heads)
            if c.addition_embed_type
            else None
        )
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, width = [widths[0]], widths[0]
        for level in range(levels):
            ins = [width] + [widths[level]] * (layers[level] - 1)
            attends, last, width = c.down_block_types[level] == DOWN[1], level == levels - 1, widths[level]
            self.down_blocks.append(
                Level(c, ins, width, attends, only[level], "downsamplers", None if last else _halved)
            )
            skips += [width] * (len(ins) + (not last))
        self.mid_block = Level(c, [width] * 2, width, True, middle, scale=c.mid_block_scale_factor)
        for i, level in enumerate(reversed(range(levels))):
            ins = []
            for _ in range(layers[level] + 1):
                ins.append(width + skips.pop())
                width = widths[level]
            attends, last = c.up_block_types[i] == UP[1], level == 0
            self.up_blocks.append(Level(c, ins, width, attends, only[level], "upsamplers", None if last else _doubled))
        self.conv_norm_out = nn.GroupNorm(c.norm_num_groups, widths[0], eps=c.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], c.out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def read_prompts(self, prompt_embeds: Tensor, rows: Tensor) -> Prompts:
        """prompt_embeds: (U, L, encoder_hid_dim), all different; rows: (N,) int64 in 0 .. U - 1, the prompt of each sample."""
        tokens = self.encoder_hid_proj(prompt_embeds)
        attentions = [module for module in self.modules() if isinstance(module, Attention)]
        return Prompts(
            rows,
            None if self.add_embedding is None else self.add_embedding(prompt_embeds),
            {attention: attention.read(tokens) for attention in attentions},
        )

    def forward(self, x: Tensor, t: int, prompts: Prompts, noise_level: int | None = None) -> Tensor:
        """x (N, in_channels, H, W) at timestep t, and N prompts -> (N, out_channels, H, W). H and W are multiples of two to
        the number of levels - 1. noise_level: a timestep, for a network with class_embed_type "timestep" (stage II)."""
        embedding = self.time_embedding(self._sinusoids(t, x))
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(self._sinusoids(noise_level, x))
        if prompts.embedding is not None:
            embedding = embedding + prompts.embedding[prompts.rows]
        embedding = self.act(embedding)  # (N, E), or (1, E) without an embedding of the prompt

        x = self.conv_in(x.contiguous(memory_format=torch.channels_last))  # as the convolutions compute
        skips = [x]
        for level in self.down_blocks:
            for layer in level.layers():
                x = layer(x, embedding, prompts)
                skips.append(x)
        for layer in self.mid_block.layers():
            x = layer(x, embedding, prompts)
        for level in self.up_blocks:
            for i, layer in enumerate(level.layers()):
                resampled = i == len(level.resnets)
                x = layer(x if resampled else torch.cat([x, skips.pop()], 1), embedding, prompts)
        return self.conv_out(ACTIVATIONS[self.config.act_fn](self.conv_norm_out(x)))

    def slice_attention(self) -> None:
        """Attend one head at a time from now on, which takes less memory."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.one_by_one = True

    def _sinusoids(self, t, x):
        """(1, width) in x's dtype: cosines and sines of the timestep t, from a period of 2 pi to one of 20,000 pi."""
        half = self.config.block_out_channels[0] // 2
        angles = t * torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32, device=x.device))
        return torch.cat([angles.cos(), angles.sin()])[None].to(x.dtype)


class TimestepEmbedding(nn.Module):
    def __init__(self, in_channels, out_channels, act):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(in_channels, out_channels), nn.Linear(out_channels, out_channels)
        self.act = ACTIVATIONS[act]

    def forward(self, sinusoids):
        return self.linear_2(self.act(self.linear_1(sinusoids)))


class TextEmbedding(nn.Module):
    """A prompt as one vector, (N, L, D) -> (N, E): its tokens, pooled by the attention that their mean pays to them."""

    def __init__(self, in_channels, out_channels, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(in_channels), nn.LayerNorm(out_channels)
        self.pool = AttentionPooling(in_channels, heads)
        self.proj = nn.Linear(in_channels, out_channels)

    def forward(self, tokens):
        return self.norm2(self.proj(self.pool(self.norm1(tokens))))


class AttentionPooling(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, channels))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.heads = heads

    def forward(self, tokens):
        mean = tokens.mean(1, keepdim=True) + self.positional_embedding
        tokens = torch.cat([mean, tokens], 1)
        q, k, v = (
            _heads(project(x), self.heads)
            for project, x in ((self.q_proj, mean), (self.k_proj, tokens), (self.v_proj, tokens))
        )
        return F.scaled_dot_product_attention(q, k, v).flatten(1)  # (N, heads, 1, D) -> (N, heads * D)


class Level(nn.Module):
    """The layers of one resolution: residual blocks, of which each but the last of the middle is followed by attention where
    the level has it, and a last one that resamples, if any.

    ins: the channels that go into each block; `width` come out of all.
    """

    def __init__(self, c, ins, width, attends, only_prompt, resamplers="", resample=None, scale=None):
        super().__init__()
        scale = c.resnet_out_scale_factor if scale is None else scale
        self.resnets = nn.ModuleList(ResidualBlock(c, n, width, scale) for n in ins)
        attending = len(ins) if resamplers else len(ins) - 1
        self.attentions = nn.ModuleList(Attention(c, width, only_prompt) for _ in range(attending if attends else 0))
        self.resamplers = resamplers if resample else None  # its name in diffusers' files
        if self.resamplers:
            setattr(self, resamplers, nn.ModuleList([ResidualBlock(c, width, width, scale, resample)]))

    def layers(self):
        """Yields functions (x, embedding, prompts) -> x."""
        for i, block in enumerate(self.resnets):
            yield Layer(block, self.attentions[i] if i < len(self.attentions) else None)
        if self.resamplers:
            yield Layer(getattr(self, self.resamplers)[0], None)


class Layer(NamedTuple):
    """A residual block, and the attention after it, if any."""

    block: nn.Module
    attention: nn.Module | None

    def __call__(self, x, embedding, prompts):
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, prompts)


class ResidualBlock(nn.Module):
    """As in mnist_unets.py: two convolutions and a skip connection; between them the embedding scales and shifts."""

    def __init__(self, c, in_channels, out_channels, scale, resample=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(c.norm_num_groups, in_channels, eps=c.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(c.embedding_channels, 2 * out_channels)
        self.norm2 = nn.GroupNorm(c.norm_num_groups, out_channels, eps=c.norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        self.act, self.resample, self.scale = ACTIVATIONS[c.act_fn], resample, scale
        self.act_embedding = _same if c.resnet_skip_time_act else self.act

    def forward(self, x, embedding):
        h = self.act(self.norm1(x))
        if self.resample is not None:
            x, h = self.resample(x), self.resample(h)
        h = self.conv1(h)
        scale, shift = self.time_emb_proj(self.act_embedding(embedding))[:, :, None, None].chunk(2, 1)
        h = self.conv2(self.act(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        h = self.conv_shortcut(x) + h
        return h if self.scale == 1 else h / self.scale


class Attention(nn.Module):
    """Every pixel attends to the tokens of the prompt and, unless `only_prompt`, to all pixels, in one softmax."""

    def __init__(self, c, channels, only_prompt):
        super().__init__()
        self.heads, self.one_by_one = channels // c.attention_head_dim, False
        inner = self.heads * c.attention_head_dim
        self.group_norm = nn.GroupNorm(c.norm_num_groups, channels)
        self.norm_cross = nn.GroupNorm(32, c.cross_attention_dim) if c.cross_attention_norm else nn.Identity()
        self.to_q = nn.Linear(channels, inner)
        self.to_k, self.to_v = (None, None) if only_prompt else (nn.Linear(channels, inner), nn.Linear(channels, inner))
        self.add_k_proj = nn.Linear(c.cross_attention_dim, inner)
        self.add_v_proj = nn.Linear(c.cross_attention_dim, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])

    def read(self, tokens):
        """Keys and values of the prompts' tokens (U, L, C): (U, heads, L, D) each."""
        tokens = self.norm_cross(tokens.transpose(1, 2)).transpose(1, 2)
        return _heads(self.add_k_proj(tokens), self.heads), _heads(self.add_v_proj(tokens), self.heads)

    def forward(self, x, prompts):
        k, v = (of_prompt[prompts.rows] for of_prompt in prompts.keys_values[self])
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)  # (N, H W, C)
        q = _heads(self.to_q(pixels), self.heads)
        if self.to_k is not None:
            k = torch.cat([k, _heads(self.to_k(pixels), self.heads)], 2)
            v = torch.cat([v, _heads(self.to_v(pixels), self.heads)], 2)
        slices = zip(*(tensor.split(1 if self.one_by_one else self.heads, 1) for tensor in (q, k, v)), strict=True)
        h = torch.cat([F.scaled_dot_product_attention(*qkv) for qkv in slices], 1)  # (N, heads, H W, D)
        h = self.to_out[0](h.transpose(1, 2).flatten(2))
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])


def _heads(x, heads):
    """(N, L, heads * D) -> (N, heads, L, D)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _same(x):
    return x


def _halved(x):
    return F.avg_pool2d(x, 2)


def _doubled(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
