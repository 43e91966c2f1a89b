"""Terms from texts: the pictures that an image-text model finds most similar to each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.streams import Source
from tapetum.engines.batching import batch_size
from tapetum.engines.scores.embeddings import text_embedding
from tapetum.engines.scores.outputs import asked, embedding
from tapetum.families.naming.reading import pictures
from tapetum.families.naming.terms import Terms, distinct
from tapetum.models.vision_model import VisionModel
from tapetum.progress import stage
from tapetum.types import Batch, MethodError

MOST_SIMILAR = 0.1
"""Share of the pictures of which a text counts as true: those that are most similar to it."""


def text_terms(model: VisionModel, source: Source, samples: Sequence[int], texts: Sequence[str], batch: Batch) -> Terms:
    """Returns the terms of some texts: a text is true of the tenth of the pictures that its embedding is most similar to.

    similarity = cosine of the embeddings, less its mean over the texts where there are several: a picture that is similar to
    every text says nothing of any.
    """
    once = list(dict.fromkeys(texts))
    if model.encode_text is None:
        raise MethodError(f'{model.name} reads no texts; give text_model="open_clip:ViT-B-32", which does')
    embedded = F.normalize(torch.stack([text_embedding(model, text) for text in once]).double(), dim=1)
    similar = _embeddings(model, source, samples, batch) @ embedded.T.cpu()
    if len(once) > 1:
        similar = similar - similar.mean(1, keepdim=True)
    count = max(1, round(MOST_SIMILAR * len(samples)))
    truth = torch.zeros_like(similar, dtype=torch.bool).scatter_(0, similar.topk(count, 0).indices, True)
    return distinct([(text, column) for text, column in zip(once, truth.T, strict=True)])


def _embeddings(model: VisionModel, source: Source, samples: Sequence[int], batch: Batch) -> Tensor:
    """Returns the unit embeddings (n, d) of some pictures, on the CPU."""
    refusal = f"{model.name} cannot read {{}}; leave that picture out"
    found: list[Tensor] = []
    with stage(f"{len(samples)} pictures, for {model.name}"):
        for _, ready in pictures(model, source, samples, batch_size(model, batch), refusal):
            found.append(F.normalize(embedding(asked(model, ready), model.name).double().cpu(), dim=1))
    return torch.cat(found)
