"""Channels of a layer that carry most of a score."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes


@dataclass(frozen=True, eq=False)
class ConceptRelevance(Result):
    """The k channels of a layer that carry most of the score, for each of n images.

    values        (n, k, h, w) the relevance of each place of those channels, in units of the score
    channels      (n, k) indices of these channels, the most relevant first
    relevance     (n, k) the sums of `values` over places
    total         (n,) the sum over all channels and places of the layer
    targets       n texts, the targets of the scores
    photographs   (n, 3, H, W) in [0, 1], as the model saw them
    """

    layer: str
    values: Tensor = field(metadata=axes("n k h w"))
    channels: Tensor = field(metadata=axes("n k"))
    relevance: Tensor = field(metadata=axes("n k"))
    total: Tensor = field(metadata=axes("n"))
    targets: tuple[str, ...] = field(metadata=axes("n"))
    photographs: Tensor = field(metadata=axes("n _ _ _"))
    notes: tuple[str, ...] = ()

    def empty(self, row: int) -> bool:
        """Returns whether nothing of an image's score came through the layer; the order of its channels is then meaningless."""
        return not bool((self.values[row] != 0).any())

    def __str__(self) -> str:
        """Lists, one line per image: the target, the layer's total, and each channel with its relevance."""
        return "\n".join([*(self._line(row) for row in range(len(self.channels))), *self.notes])

    def _line(self, row: int) -> str:
        head = f"{self.targets[row]}, relevance in {self.layer} {float(self.total[row]):.3g}"
        if self.empty(row):
            return f"{head}: nothing of the score came through it"
        pairs = zip(listed(self.channels[row]), listed(self.relevance[row]), strict=True)
        return f"{head}: " + ", ".join(f"channel {channel} {value:+.3g}" for channel, value in pairs)
