"""Protocol of scores: engines know a model and a target only as a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Score(Protocol):
    """Maps model-ready images (n, c, h, w) to one value per image (n,), the value that is explained.

    A score may treat its images differently (each has its own class): `take(rows)` is the score of those images alone,
    in that order, so an engine that repeats or splits a batch passes the index of the image behind each row.
    """

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def take(self, rows: Sequence[int], /) -> Score: ...
