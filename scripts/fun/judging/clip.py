"""CLIP (https://arxiv.org/abs/2103.00020): how well a picture matches a text."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from fun.data.images import to_picture
from fun.data.layout import stored_as

BATCH = 32


@dataclass(frozen=True)
class Clip:
    """CLIP with its tokenizer and image processor. Embeddings have length 1: a product of two is their cosine."""

    model: CLIPModel
    tokenizer: CLIPTokenizer
    extractor: CLIPImageProcessor

    @property
    def temperature(self) -> float:
        """tau of the paper: the cosines are divided by it before a softmax."""
        return 1 / self.model.logit_scale.exp().item()

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> Tensor:
        """Embeddings (N, D) of N texts, each cut off after the 77 tokens that CLIP reads."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        pooled = self.model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=1).cpu()

    @torch.no_grad()
    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """Embeddings (N, D) of pictures (N, 3, H, W) in about [-1, 1], of any size."""
        return torch.cat([self._embed(batch) for batch in pictures.split(BATCH)])

    def _embed(self, pictures):
        seen = self.extractor([to_picture(picture.numpy()) for picture in pictures], return_tensors="pt").pixel_values
        pooled = self.model.vision_model(seen.to(self.model.device)).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=1).cpu()


def load_clip(folder: Path, variant: str | None, device: torch.device) -> Clip:
    """Load CLIP from a model's folder in the layout of transformers."""
    stored = stored_as((path.name for path in folder.iterdir()), variant)
    model = CLIPModel.from_pretrained(folder, local_files_only=True, weights_only=True, dtype=torch.float32, **stored)
    return Clip(
        model.to(device).eval(),
        CLIPTokenizer.from_pretrained(folder, local_files_only=True),
        CLIPImageProcessor.from_pretrained(folder, local_files_only=True),
    )
