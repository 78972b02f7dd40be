"""DeepFloyd IF's safety checker and watermark, from the folders safety_checker, feature_extractor and watermarker beside
its stage I."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.deepfloyd_if import IFSafetyChecker, IFWatermarker
from torch import Tensor
from transformers import CLIPImageProcessor

from fun.data.images import to_picture
from fun.data.layout import stored_as

BATCH = 16  # pictures at a time; the checker resizes each to 224 pixels
Checker = Callable[[Tensor], Tensor]


class SafetyChecker(IFSafetyChecker):
    """diffusers' safety checker with a call to `post_init`, without which transformers 5 cannot load it."""

    def __init__(self, config):
        super().__init__(config)
        self.post_init()


def load_checker(folder: Path, variant: str | None, device: torch.device) -> Checker:
    """A function from pictures (N, 3, H, W) in about [-1, 1] to (N,) bool: whether the checker would black them out, because
    of what they show or because they seem to carry a watermark.

    Raises:
        ValueError: weights are missing; transformers would fill them with random numbers.
    """
    model, loaded = _load(
        SafetyChecker, folder / "safety_checker", variant, dtype=torch.float32, output_loading_info=True
    )
    if loaded["missing_keys"]:
        raise ValueError(f"{folder}/safety_checker lacks weights: {', '.join(sorted(loaded['missing_keys'])[:3])}, ...")
    model.to(device).eval()
    extractor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor", local_files_only=True)

    def check(pictures: Tensor) -> Tensor:
        return (
            torch.cat([check_batch(batch) for batch in pictures.split(BATCH)])
            if len(pictures)
            else torch.empty(0).bool()
        )

    def check_batch(pictures: Tensor) -> Tensor:
        seen = extractor([to_picture(picture.numpy()) for picture in pictures], return_tensors="pt").pixel_values
        # The checker blackens the images it is given; only its verdict is wanted here.
        canvas = np.zeros((len(pictures), 1, 1, 3))
        _, unsafe, watermarked = model(clip_input=seen.to(device), images=canvas)
        return torch.tensor(unsafe) | torch.tensor(watermarked)

    return check


def load_watermark(folder: Path, variant: str | None) -> Tensor:
    """The watermark for IF's pictures: (62, 62, 4) uint8, RGBA."""
    return _load(IFWatermarker, folder / "watermarker", variant).watermark_image.to(torch.uint8)


def _load(kind, folder, variant, **options):
    stored = stored_as((path.name for path in folder.iterdir()), variant)
    return kind.from_pretrained(folder, local_files_only=True, **stored, **options)
