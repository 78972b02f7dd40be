"""The optional parts of a cascade, with tiny random weights in the formats of the real ones: stage III, IF's safety checker and
watermark, CLIP."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline, UNet2DConditionModel
from diffusers.pipelines.deepfloyd_if import IFSafetyChecker, IFWatermarker
from PIL import Image, ImageDraw
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

WIDTH = 16
SEEN = 32  # width in pixels of what CLIP sees


def make_tokenizer(folder):
    """CLIP's tokenizer, with the 256 bytes as its only words."""
    bytes_shown = [chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))]
    bytes_shown += [chr(256 + i) for i in range(256 - len(bytes_shown))]
    words = [*bytes_shown, *(f"{b}</w>" for b in bytes_shown), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = special | {"pad_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


def text_config(tokenizer):
    size = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return CLIPTextConfig(vocab_size=len(tokenizer), projection_dim=WIDTH, **size, **ids)


def vision_config():
    size = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPVisionConfig(image_size=SEEN, patch_size=8, projection_dim=WIDTH, **size)


def make_extractor(folder):
    size = {"size": {"shortest_edge": SEEN}, "crop_size": {"height": SEEN, "width": SEEN}}
    CLIPImageProcessor(**size).save_pretrained(folder)


def make_clip(folder):
    """CLIP, with weights stored as in openai/clip-vit-base-patch32: not as safetensors."""
    torch.manual_seed(1)
    folder = Path(folder)
    tokenizer = make_tokenizer(folder)
    config = CLIPConfig(
        text_config=text_config(tokenizer).to_dict(), vision_config=vision_config().to_dict(), projection_dim=WIDTH
    )
    model = CLIPModel(config)
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    make_extractor(folder)
    return folder


def make_safety(folder, objects_to=0.0):
    """IF's safety_checker, feature_extractor and watermarker; objects_to: how much it objects to, from no picture (0) to
    all (1)."""
    torch.manual_seed(2)
    folder = Path(folder)
    config = CLIPConfig(text_config={}, vision_config=vision_config().to_dict(), projection_dim=WIDTH)
    checker = IFSafetyChecker(config)
    with torch.no_grad():
        for head in (checker.p_head, checker.w_head):
            head.weight.zero_()
            head.bias.fill_(objects_to)
    checker.save_pretrained(folder / "safety_checker")
    make_extractor(folder / "feature_extractor")
    watermarker = IFWatermarker()
    mark = Image.new("RGBA", (62, 62))
    ImageDraw.Draw(mark).ellipse((4, 4, 58, 58), fill=(255, 255, 255, 200), outline=(0, 0, 0, 255), width=6)
    watermarker.watermark_image.copy_(torch.from_numpy(np.array(mark)))
    watermarker.save_pretrained(folder / "watermarker")
    return folder


def make_upscaler(folder):
    """Stable Diffusion's x4 upscaler, in fp16 files."""
    torch.manual_seed(3)
    tokenizer = make_tokenizer(Path(folder) / "tokenizer")
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=7,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        num_class_embeds=1000,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        scaling_factor=0.08333,
    )
    pipeline = StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=unet,
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(prediction_type="v_prediction"),
        max_noise_level=350,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    return Path(folder)
