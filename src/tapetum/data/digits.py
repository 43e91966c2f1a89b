"""Handwritten digits from scikit-learn: small enough to train on within a minute, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.streams.base import digest
from tapetum.types import ImageError
from tapetum.types.refusals import imported

SPLITS = ("train", "test")
TEST_SHARE = 0.2
CLASSES = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class Digits:
    """Light digits on dark: `levels` (n, 3, size, size) uint8 and class indices `targets` (n,), which are the digits.

    `rows` are their indices in scikit-learn's table. It is also a source of pictures for scans
    and training, with `name`, `ids`, `labels`, `fingerprint` and `read`.
    """

    name: str
    rows: tuple[int, ...]
    levels: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names "0" to "9", by index."""
        return CLASSES

    @property
    def pixels(self) -> Tensor:
        """All pictures (n, 3, size, size), float32 in [0, 1]."""
        return self.levels.float() / 255

    @property
    def ids(self) -> Sequence[str]:
        """Names such as "0042_7": the picture's index in scikit-learn's table, and its digit."""
        return self._names[0]

    @property
    def labels(self) -> Sequence[str]:
        """The digit of each picture, as text."""
        return self._names[1]

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        labels = tuple(CLASSES[target] for target in self.targets.tolist())
        return tuple(f"{row:04d}_{label}" for row, label in zip(self.rows, labels, strict=True)), labels

    def fingerprint(self) -> str:
        """SHA-256 over the indices and pixels of the pictures."""
        return digest("digits", [self.rows, self.levels.numpy().tobytes()])

    def read(self, sample: int) -> Tensor:
        """Pixels (1, 3, size, size) of picture number `sample`, float32 in [0, 1]."""
        return self.levels[sample : sample + 1].float() / 255


def digits(split: Literal["train", "test"] | None = None, size: int = 32) -> Digits:
    """1,797 handwritten digits of 8 x 8 px (UCI ML, Alpaydin and Kaynak 1998), enlarged bilinearly, with a fixed split.

    The test split is a fifth of each digit, the same on every machine and for every size.

    Args:
        split: "train" (1,438), "test" (359), or None for both.
        size: pixels per side, 8 (as they are) to 1024.

    Example:
        >>> tp.digits("test").pixels.shape
        torch.Size([359, 3, 32, 32])
    """
    if split not in (None, *SPLITS):
        raise ImageError(f'digits have the splits "train" and "test", not "{split}"')
    if not 8 <= size <= 1024:
        raise ImageError(f"digits have 8 to 1024 pixels a side, not {size}")
    grey, targets = _table()
    rows = np.arange(len(targets)) if split is None else np.flatnonzero(_is_test(targets) == (split == "test"))
    planes = torch.from_numpy(grey[rows]).float()[:, None] / 16  # each value counts the inked pixels in a block of 4 x 4
    if size != 8:
        planes = F.interpolate(planes, (size, size), mode="bilinear", align_corners=False)
    levels = (planes * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    name = "digits" if split is None else f"digits/{split}"
    return Digits(name, tuple(rows.tolist()), levels, torch.from_numpy(targets[rows]).long())


def _table() -> tuple[np.ndarray, np.ndarray]:
    """Pictures (1797, 8, 8) with values 0 to 16, and their digits."""
    sklearn = imported("sklearn.datasets", "the digits come with scikit-learn: pip install 'tapetum[lessons]'")
    table = sklearn.load_digits()
    return table.images, table.target


def _is_test(targets: np.ndarray) -> np.ndarray:
    """Mask (n,) of the test split: a random fifth of each digit, the same on every machine."""
    order = np.random.Generator(np.random.PCG64(0)).random(len(targets))
    chosen = np.zeros(len(targets), dtype=bool)
    for digit in range(10):
        rows = np.flatnonzero(targets == digit)
        chosen[rows[order[rows].argsort()][: round(TEST_SHARE * len(rows))]] = True
    return chosen


def from_text(text: str) -> Digits:
    """Returns the digits that a text such as "digits", "digits:train", "digits:test" or "digits:test:size=28" names."""
    split: Literal["train", "test"] | None = None
    size = 32
    for part in text.split(":")[1:]:
        if part == "train" or part == "test":
            split = part
        elif part.startswith("size=") and part[5:].isdecimal():
            size = int(part[5:])
        else:
            raise ImageError(f'"{part}" of {text} is not understood; the form is "digits[:train|test][:size=32]"')
    return digits(split, size)
