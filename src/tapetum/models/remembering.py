"""Facts about batches, known for as long as they are: where images lie in their photographs, and that they were checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.data.preprocessing import Preprocessing
from tapetum.types import Crop


class Batches:
    """What a model knows of batches that it made or checked; nothing of one that was changed since, or put together elsewhere.

    For each batch its crops, and whether it looks like pixels that were not normalised (None: not checked yet).
    """

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()

    def cut(self, images: Tensor, photo: tuple[int, int], how: Preprocessing) -> Tensor:
        """The images, which were made of photographs (height, width) of one size."""
        return self.keep(images, (Crop(photo, *how.box(*photo)),) * len(images))

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """One batch of several."""
        return self.keep(torch.cat([*parts]), tuple(crop for part in parts for crop in self.of(part)[0]))

    def keep(self, images: Tensor, crops: tuple[Crop, ...], raw: bool | None = None) -> Tensor:
        if not images.is_inference():  # those have no version that tells of changes
            self._known[images] = images._version, crops if len(crops) == len(images) else (), raw
        return images

    def of(self, images: Tensor) -> tuple[tuple[Crop, ...], bool | None]:
        """Crops of the images, and whether they look raw."""
        version, crops, raw = (None, (), None) if images.is_inference() else self._known.get(images, (None, (), None))
        return (crops, raw) if version is not None and version == images._version else ((), None)
