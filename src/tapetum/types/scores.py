"""The score, which is all that engines know of a model and a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Score(Protocol):
    """What is explained: model-ready images (n, c, h, w) to one value per image (n,).

    A score may treat its images differently (each has its own class): `take(rows)` is the score of those images alone,
    in that order, so an engine that repeats or splits a batch says which image each row came from.
    """

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def take(self, rows: Sequence[int], /) -> Score: ...
