"""Remembers facts about a batch tensor while it exists: where its images lie in their photographs, and that it was checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.data.preprocessing import Preprocessing
from tapetum.types import Crop


class Batches:
    """Facts about batches that a model made or checked: their crops, and whether their values look like raw pixels.

    Nothing is known of a batch that was changed since or was made elsewhere; whether it looks raw is None until checked.
    """

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()

    def cut(self, images: Tensor, photo: tuple[int, int], how: Preprocessing) -> Tensor:
        """Remembers that the images were cut from photographs of size (height, width), and returns the images."""
        return self.keep(images, (Crop(photo, *how.box(*photo)),) * len(images))

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Concatenates batches, with their crops, into one."""
        return self.keep(torch.cat([*parts]), tuple(crop for part in parts for crop in self.of(part)[0]))

    def keep(self, images: Tensor, crops: tuple[Crop, ...], raw: bool | None = None) -> Tensor:
        if not images.is_inference():  # an inference tensor has no version, so changes would go unnoticed
            seen = images._version, images.data_ptr()
            self._known[images] = seen, crops if len(crops) == len(images) else (), raw
        return images

    def of(self, images: Tensor) -> tuple[tuple[Crop, ...], bool | None]:
        """Returns the crops of a batch, and whether it looks raw (unnormalised); (), None where nothing is known of it.

        Values in memory that torch shares, such as a numpy array's, can change unseen: whether these look raw is not known.
        """
        seen, crops, raw = (None, (), None) if images.is_inference() else self._known.get(images, (None, (), None))
        if seen is None or seen != (images._version, images.data_ptr()):
            return (), None
        return crops, raw if images.untyped_storage().resizable() else None
