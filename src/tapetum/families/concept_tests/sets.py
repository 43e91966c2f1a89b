"""Sets of pictures that a test compares, given as a source or as images, read batch by batch."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.planes import viewable
from tapetum.data.preprocessing import Preprocessing
from tapetum.data.streams import Source, as_source
from tapetum.data.streams import huggingface as hf
from tapetum.engines.batching import batch_size
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.probe import activations
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.comparing.pictures import Deck, deck
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, LayerError, MethodError, ModelLike, TargetLike

MOST = 1000
"""Pictures of a set that are read, unless the user asks for another number."""

SMALL_PX = 112
"""Longer side of a picture that a result keeps."""


@dataclass(frozen=True, eq=False)
class Ready:
    """Images that a user gave, with the interface of a deck."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"image {row}" for row in range(len(self.images)))

    @property
    def labels(self) -> tuple[str | None, ...]:
        return (None,) * len(self.images)

    def image(self, row: int, _how: Preprocessing) -> Tensor:
        """Returns one image, (1, c, h, w)."""
        return self.images[row : row + 1]

    def batches(self, model: VisionModel, batch: Batch, *, gradients: bool = False) -> Iterator[tuple[Sequence[int], Tensor]]:
        size = batch_size(model, batch, gradients=gradients, n=len(self))
        for start in range(0, len(self), size):
            rows = range(start, min(start + size, len(self)))
            yield rows, self.images[start : rows[-1] + 1]


PictureSet: TypeAlias = Deck | Ready
"""Pictures that are read batch by batch."""


@contextmanager
def network_for(model: ModelLike, *given: Any) -> Generator[VisionModel]:
    """Yields the model, converted for the first of the given pictures that are images; sources are read later."""
    ready = next((one for one in given if isinstance(one, Tensor) and one.ndim == 4), None)
    with border(model, ready, "model" if ready is None else "images") as (network, _):
        yield network


def picture_set(model: VisionModel, given: Any, n: int | None = MOST, seed: int = 0) -> PictureSet:
    """Opens a folder or another source (n pictures of it, drawn at random), or images in a form that the model reads."""
    if not is_source(given):
        return Ready(model.as_images(given))
    found = deck(as_source(given), (model,), n, seed)
    if found.skipped:
        name, why = next(iter(found.skipped.items()))
        note(f"{len(found.skipped)} pictures of {found.source.name} are left out, such as {name}: {why}")
    return found


def is_source(given: Any) -> bool:
    """Whether pictures are given as a source, such as a folder, and not as images."""
    names = isinstance(given, (list, tuple)) and bool(given) and all(isinstance(one, (str, os.PathLike)) for one in given)
    return isinstance(given, (Source, str, os.PathLike)) or names or hf.is_dataset(given)


def thumbnails(model: VisionModel, pictures: PictureSet, rows: Sequence[int], side: int = SMALL_PX) -> list[Tensor]:
    """Returns some of the pictures as the model sees them, small, (3, h, w) in [0, 1]; their longer side has `side` px."""
    found = list[Tensor]()
    for row in rows:
        seen = viewable(model.denormalize(pictures.image(row, model.preprocessing))).float().cpu()
        h, w = seen.shape[-2:]
        share = min(1.0, side / max(h, w))
        size = (max(1, round(share * h)), max(1, round(share * w)))
        found.append(F.interpolate(seen, size, mode="bilinear", align_corners=False, antialias=True)[0].clamp(0, 1))
    return found


def pooled(model: VisionModel, pictures: PictureSet, layer: str, batch: Batch) -> Tensor:
    """Returns the mean over places of each channel of a layer, (n, c), in double precision on the CPU."""
    found = [activations(model, images, layer).mean((2, 3)) for _, images in pictures.batches(model, batch)]
    return _finite(torch.cat(found), layer)


def pulls(model: VisionModel, pictures: PictureSet, target: TargetLike, layer: str, batch: Batch) -> Tensor:
    """Returns the gradient of the target's score at a layer, summed over places, (n, c), in double precision on the CPU.

    Its inner product with a vector is the change of the score when the vector is added at every place, to first order.
    """
    found: list[Tensor] = []
    for rows, images in pictures.batches(model, batch, gradients=True):
        score = as_score(model, images, of_rows(target, rows, len(pictures)))
        found.append(layer_gradient(score, images, layer, batch=batch)[1].sum((2, 3)))
    return _finite(torch.cat(found), layer)


def first_score(model: VisionModel, pictures: PictureSet, target: TargetLike, batch: Batch) -> tuple[ModelScore, Tensor]:
    """Returns the score of the first batch of pictures, and these images: what a layer is chosen by."""
    rows, images = next(iter(pictures.batches(model, batch, gradients=True)))
    return as_score(model, images, of_rows(target, rows, len(pictures))), images


def of_rows(target: TargetLike, rows: Sequence[int], n: int) -> Any:
    """Returns the targets of some of n pictures, where each has its own; else the one target of all."""
    if isinstance(target, (list, tuple)) or (isinstance(target, Tensor) and target.ndim == 1):
        if len(target) != n:
            raise MethodError(f"{len(target)} targets were given for {n} images: one for each, or one for all")
        return [target[row] for row in rows]
    return target


def _finite(values: Tensor, layer: str) -> Tensor:
    if not bool(values.isfinite().all()):
        raise LayerError(f"{layer} has NaN or infinity on these pictures: ask about another layer")
    return values.double().cpu()
