"""An activation with parts of it dimmed: what a score loses without each part, and the parts' total Sobol indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.batching import in_chunks
from tapetum.families.perturbations.designs import jansen, sobol_design


@dataclass(frozen=True, eq=False)
class Dimmed:
    """An activation of one image and k parts of it, which are dimmed while the rest of it stays.

    score       (p, c, h, w) -> (p,), of the image with other activations
    activation  (1, c, h, w)
    parts       (k, c, h, w)
    batch       most activations that are scored at once
    """

    score: Callable[[Tensor], Tensor]
    activation: Tensor
    parts: Tensor
    batch: int

    def at(self, points: Tensor) -> Tensor:
        """Returns the scores (p,) with the parts multiplied by each point (p, k)."""

        def work(rows: Sequence[int]) -> Tensor:
            some = points[rows[0] : rows[-1] + 1].to(self.parts)
            return self.score(self.activation - torch.einsum("pk,kchw->pchw", 1 - some, self.parts))

        with torch.no_grad():
            return torch.cat(list(in_chunks(range(len(points)), self.batch, work)))

    def losses(self) -> Tensor:
        """Returns what the score loses without each part, (k,)."""
        without = 1 - torch.eye(len(self.parts), dtype=torch.float64)
        values = self.at(torch.cat([torch.ones_like(without[:1]), without]))
        return values[0] - values[1:]

    def totals(self, designs: int, seed: int) -> Tensor:
        """Returns the total Sobol indices (k,) of the parts' factors in [0, 1], from a design of that many points."""
        points = sobol_design(designs, len(self.parts), torch.Generator().manual_seed(seed))
        return jansen(self.at(points).double(), designs)[0]
