"""The networks of the miniature cascade, and its folders in DeepFloyd IF's layout, which stock diffusers can open.

They differ from IF in size and in one field: the schedulers' `prediction_type` is v_prediction. At high t a loss on the
noise hardly notices a wrong mean colour; a loss on v does (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512).
"""

import io
import json
from pathlib import Path

import torch
from diffusers import DDPMScheduler, IFPipeline, IFSuperResolutionPipeline, UNet2DConditionModel
from torch import nn

from fun.data.files import write_whole
from fun.miniature.pictures import PROMPTS, SIZE, VOCABULARY

TOKENS = 77  # length of every prompt, padding included, as in IF
EMBEDDING = 64  # width of the text encoder

WITHOUT = dict.fromkeys(("safety_checker", "feature_extractor", "watermarker")) | {"requires_safety_checker": False}

UNET = {
    "out_channels": 6,  # three for v, three for the variance
    "layers_per_block": 1,
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "act_fn": "gelu",
    "time_embedding_act_fn": "gelu",
    "norm_num_groups": 8,
    "attention_head_dim": 32,
    "cross_attention_dim": EMBEDDING,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": EMBEDDING,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 4,
    "resnet_time_scale_shift": "scale_shift",
    "resnet_skip_time_act": True,
}
# Attention only at 4 x 4 pixels: at 8 x 8 it took a third of a training step, and the prompt also reaches every block
# through the time embedding.
UNETS = {
    1: UNET
    | {
        "sample_size": SIZE // 2,
        "in_channels": 3,
        "block_out_channels": (32, 64, 96),
        "down_block_types": (*["ResnetDownsampleBlock2D"] * 2, "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", *["ResnetUpsampleBlock2D"] * 2),
    },
    2: UNET
    | {
        "sample_size": SIZE,
        "in_channels": 6,  # the noisy picture, and stage I's picture enlarged
        "block_out_channels": (16, 32, 64, 64),
        "down_block_types": (*["ResnetDownsampleBlock2D"] * 3, "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", *["ResnetUpsampleBlock2D"] * 3),
        "class_embed_type": "timestep",  # the noise level
        "mid_block_scale_factor": 1.414,
    },
}


def make_unet(stage: int) -> UNet2DConditionModel:
    """The U-Net of stage 1 or 2, with random weights."""
    return UNet2DConditionModel(**UNETS[stage])


def make_text_encoder(vocabulary_size: int) -> nn.Module:
    """A T5 encoder with random weights."""
    from transformers import T5Config, T5EncoderModel  # takes seconds to import

    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size,
            d_model=EMBEDDING,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def make_scheduler(sample_max_value: float) -> DDPMScheduler:
    """IF's scheduler, except for the prediction type."""
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=sample_max_value,
    )


def write_tokenizer(folder: str | Path) -> None:
    """Write a sentencepiece tokenizer with a token for each word of VOCABULARY; all other words are unknown to it."""
    import sentencepiece

    model = io.BytesIO()
    words = [f"▁{word}" for word in VOCABULARY]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([prompt.text for prompt in PROMPTS if prompt.text]),
        model_writer=model,
        model_type="word",
        vocab_size=len(words) + 4,
        hard_vocab_limit=False,
        user_defined_symbols=words,
        normalization_rule_name="identity",  # 1 KB instead of 240
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": TOKENS, "extra_ids": 0}
    config |= {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "spiece.model", model.getvalue())
    write_whole(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def write_stage_1(folder: str | Path, text: str | Path, weights: dict[str, torch.Tensor]) -> None:
    """Write stage I's folder, in float16: tokenizer and text encoder (copied from the folder `text`), U-Net, scheduler."""
    from transformers import T5EncoderModel, T5Tokenizer

    folder, text = Path(folder), Path(text)
    IFPipeline(
        tokenizer=T5Tokenizer.from_pretrained(text / "tokenizer"),
        text_encoder=T5EncoderModel.from_pretrained(text / "text_encoder", use_safetensors=True),
        unet=_half(1, weights),
        scheduler=make_scheduler(sample_max_value=1.5),
        **WITHOUT,
    ).to(dtype=torch.float16).save_pretrained(folder)
    # transformers writes the tokenizer in its own format, without the spiece.model that IF's folders have.
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    for file in ("spiece.model", "tokenizer_config.json"):
        write_whole(folder / "tokenizer" / file, (text / "tokenizer" / file).read_bytes())
    _clean(folder)


def write_stage_2(folder: str | Path, weights: dict[str, torch.Tensor]) -> None:
    """Write stage II's folder, in float16: U-Net and two schedulers. It takes embeddings, as IF's does to save memory."""
    IFSuperResolutionPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=_half(2, weights),
        scheduler=make_scheduler(sample_max_value=1.0),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        **WITHOUT,
    ).save_pretrained(folder)
    _clean(Path(folder))


def _half(stage, weights):
    unet = make_unet(stage)
    unet.load_state_dict(weights)
    return unet.half()


def _clean(folder):
    """Remove the paths that the files had when they were written, and make every file readable by all."""
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            config = json.loads(path.read_text(encoding="utf-8"))
            config.pop("_name_or_path", None)
            write_whole(path, json.dumps(config, indent=2) + "\n")
        if path.is_file():
            path.chmod(0o644)
