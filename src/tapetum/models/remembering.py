"""Facts about batches, known for as long as they are: where images lie in their photographs, and that they were checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.data.preprocessing import Preprocessing
from tapetum.types import Crop


class Photos:
    """Crops of the batches that a model made; none of a batch that was changed since, or put together elsewhere."""

    def __init__(self) -> None:
        self._crops: Any = WeakTensorKeyDictionary()

    def cut(self, images: Tensor, photo: tuple[int, int], how: Preprocessing) -> Tensor:
        """The images, which were made of photographs (height, width) of one size."""
        return self.keep(images, (Crop(photo, *how.box(*photo)),) * len(images))

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """One batch of several."""
        return self.keep(torch.cat([*parts]), tuple(crop for part in parts for crop in self.of(part)))

    def keep(self, images: Tensor, crops: tuple[Crop, ...]) -> Tensor:
        if len(crops) == len(images) and not images.is_inference():  # those have no version that tells of changes
            self._crops[images] = images._version, crops
        return images

    def of(self, images: Tensor) -> tuple[Crop, ...]:
        if images.is_inference():
            return ()
        version, crops = self._crops.get(images, (None, ()))
        return crops if version == images._version else ()


class Checked:
    """Batches that a model has checked already; a batch that was changed since is not among them."""

    def __init__(self) -> None:
        self._batches: Any = WeakTensorKeyDictionary()

    def add(self, images: Tensor, raw: bool) -> None:
        """`raw`: the images look like pixels that were not normalised."""
        if not images.is_inference():
            self._batches[images] = images._version, raw

    def raw(self, images: Tensor) -> bool | None:
        """Whether a known batch looks raw; None for one that is to be checked."""
        if images.is_inference():
            return None
        version, raw = self._batches.get(images, (None, None))
        return raw if version == images._version else None
