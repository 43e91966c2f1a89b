"""Protocol of scores: engines see a model and a target only as a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Score(Protocol):
    """Maps model-ready images (n, c, h, w) to one value per image (n,), which is explained.

    A score may treat its images differently (each has its own class): `take(rows)` is the score of those images alone,
    in that order, so an engine that repeats or splits a batch says which image each row came from.
    """

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def take(self, rows: Sequence[int], /) -> Score: ...
