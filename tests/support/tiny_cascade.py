"""A cascade like DeepFloyd IF's with some ten thousand random weights, in diffusers' folders, made within a second.

Run as a program, it writes one: python tests/support/tiny_cascade.py FOLDER
"""

import io
import json
import sys
from pathlib import Path

import sentencepiece
import torch
from diffusers import DDPMScheduler, IFPipeline, IFSuperResolutionPipeline, UNet2DConditionModel
from transformers import T5Config, T5EncoderModel, T5Tokenizer

WORDS = (
    "a red blue green handwritten one two three four five six seven eight nine on yellow background high quality photo"
)
WIDTH = 32  # of the embeddings


def make_cascade(folder, prediction_type="epsilon", sizes=(16, 32)):
    """Write `folder`/stage_1 (with tokenizer and text encoder) and `folder`/stage_2; return `folder`."""
    torch.manual_seed(0)
    stage_1, stage_2 = Path(folder) / "stage_1", Path(folder) / "stage_2"
    without = dict.fromkeys(("safety_checker", "feature_extractor", "watermarker")) | {"requires_safety_checker": False}
    tokenizer = make_tokenizer(stage_1 / "tokenizer")
    IFPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(len(tokenizer)),
        unet=make_unet(sizes[0], in_channels=3),
        scheduler=make_scheduler(prediction_type, sample_max_value=1.5),
        **without,
    ).save_pretrained(stage_1)
    make_tokenizer(stage_1 / "tokenizer")  # again: save_pretrained leaves out spiece.model, which IF's folders have
    IFSuperResolutionPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=make_unet(sizes[1], in_channels=6, class_embed_type="timestep"),
        scheduler=make_scheduler(prediction_type, sample_max_value=1.0),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        **without,
    ).save_pretrained(stage_2)
    return Path(folder)


def make_scheduler(prediction_type, sample_max_value):
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        prediction_type=prediction_type,
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=sample_max_value,
    )


def make_tokenizer(folder):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 3),
        model_writer=model,
        vocab_size=100,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    return T5Tokenizer.from_pretrained(folder)


def make_text_encoder(vocab_size):
    config = T5Config(vocab_size=vocab_size, d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    config.feed_forward_proj = "gated-gelu"
    return T5EncoderModel(config).eval()


def make_unet(size, in_channels, class_embed_type=None):
    unet = UNet2DConditionModel(
        sample_size=size,
        in_channels=in_channels,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        class_embed_type=class_embed_type,
    )
    with torch.no_grad():  # random weights amplify rounding errors from step to step; trained ones do not
        unet.conv_out.weight *= 0.3
        unet.conv_out.bias *= 0.3
    return unet.eval()


if __name__ == "__main__":
    make_cascade(sys.argv[1])
