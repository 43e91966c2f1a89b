"""Several scores of the same image, read from one pass where they read the network's output."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.scores.base import ModelScore


@dataclass(frozen=True, eq=False)
class Together(ModelScore):
    """Scores of the same images side by side, (n, scores), for targets that are measured on the same hidden parts."""

    scores: tuple[ModelScore, ...] = ()

    def __call__(self, images: Tensor, /) -> Tensor:
        if all(type(one).__call__ is ModelScore.__call__ for one in self.scores):
            return self.read(self.model(images, self.rows))
        return torch.stack([one(images) for one in self.scores], 1)

    def read(self, output: Any) -> Tensor:
        """Returns the scores (n, scores) of each image, read from the model's output."""
        return torch.stack([one.read(output) for one in self.scores], 1)

    def take(self, rows: Sequence[int], /) -> Together:
        """Returns the scores of the images `rows` alone, in that order; an index may occur several times."""
        some = tuple(one.take(rows) for one in self.scores)
        return dataclasses.replace(self, rows=some[0].rows, scores=some)

    def explains(self, n: int) -> tuple[Any, ...]:
        """Returns the targets of the first score."""
        return self.scores[0].explains(n)

    def describe(self, n: int) -> tuple[str, ...]:
        """Returns the names of the targets of the first score."""
        return self.scores[0].describe(n)
