"""Score of networks that give embeddings: cosine similarity to the embedding of a text or of another image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.scores.base import TargetScore, one_each
from tapetum.engines.scores.outputs import asked, embedding
from tapetum.models.vision_model import VisionModel
from tapetum.types import Similarity, TargetError


@dataclass(frozen=True, eq=False)
class SimilarityScore(TargetScore):
    """Cosine similarity (n,) between the embedding of each image and the given embedding of its target."""

    part: str | None = field(default="embeddings", init=False)

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        found = embedding(output, self.model.name)
        one_each(self.targets, len(found))
        wanted = torch.stack([target.to for target in self.targets]).to(found.device, found.dtype)
        if wanted.shape != found.shape:
            raise TargetError(
                f"{self.model.name} embeds an image in {found.shape[1]} numbers, the target has {wanted.shape[1]}"
            )
        return F.cosine_similarity(found, wanted)


def embedded(model: VisionModel, target: Similarity) -> Similarity:
    """Returns the target with its text or image replaced by the embedding (d,)."""
    if isinstance(target.to, str):
        vector, name = text_embedding(model, target.to), target.to
    elif isinstance(target.to, Tensor) and target.to.ndim == 1:
        vector, name = target.to.detach(), target.name
    else:
        image = target.to[None] if isinstance(target.to, Tensor) and target.to.ndim == 3 else target.to
        ready = model.as_images(image)
        if len(ready) != 1:
            raise TargetError(f"similarity is to one image, not to {len(ready)}: give a sequence of targets, one per image")
        vector, name = embedding(asked(model, ready), model.name)[0], "another image"
    if not torch.isfinite(vector).all() or not vector.any():
        raise TargetError("the embedding to compare with has no direction: it is zero, or holds NaN or infinity")
    return Similarity(vector, target.name or name)


def text_embedding(model: VisionModel, text: str) -> Tensor:
    """Returns the embedding (d,) of a text, computed by the model's text tower."""
    if model.encode_text is None:
        raise TargetError(
            f'{model.name} has no text tower to read "{text}": tp.load("open_clip:ViT-B-32") has one; give an image as a '
            "Path or tensor, or an embedding (d,)"
        )
    with torch.no_grad():
        return model.encode_text(model.replica, [text])[0]
