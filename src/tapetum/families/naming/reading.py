"""Reads the pictures that names are judged on, of which none may be missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from tapetum.data.streams import Source
from tapetum.data.streams.base import read_images
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.types import MethodError


def pictures(
    model: VisionModel, source: Source, samples: Sequence[int], size: int, refusal: str
) -> Iterator[tuple[range, Tensor]]:
    """Yields places in `samples` and these pictures as the model takes them, `size` at a time.

    refusal: what is said where one cannot be read, with "{}" for the reason
    """
    parts = [range(start, min(start + size, len(samples))) for start in range(0, len(samples), size)]
    for part in track(parts, len(samples), "pictures", len):
        images, _, refused = read_images(source, [samples[place] for place in part], model.preprocessing)
        if refused:
            raise MethodError(refusal.replace("{}", next(iter(refused.values()))))
        yield part, images.to(model.device, model.dtype)
