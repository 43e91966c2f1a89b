"""Grad-CAM with all of its numbers, in the order of the computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes

SMALL = 4
"""Largest side of a map, in cells, whose numbers are all written out in texts and figures."""


@dataclass(frozen=True, eq=False)
class GradCamSteps(Result):
    """Grad-CAM of n images for m targets each, step by step; k of the layer's c channels are kept whole.

    activations   (n, k, h, w) the maps A_k, the same for all targets
    gradients     (n, m, k, h, w) d score / d A_k; None where weights were given by hand
    weights       (n, m, c) a_k of all channels: the means of the gradients over places
    channels      (n, k) which channels are kept
    rest          (n, m, h, w) the contribution of all other channels to the sum
    total         (n, m, h, w) the sum over all channels of a_k A_k, before the ReLU
    targets       n tuples of m texts
    scores        (n, m) the values that were differentiated
    reference     (n, m, h, w) the values of `grad_cam`, which computes them another way; None by hand
    photographs   (n, 3, H, W) in [0, 1] as the model saw them; None by hand
    size          (H, W) that the heatmap is upsampled to
    layer         where the activations were taken
    """

    activations: Tensor = field(metadata=axes("n k h w"))
    gradients: Tensor | None = field(metadata=axes("n m k h w"))
    weights: Tensor = field(metadata=axes("n m c"))
    channels: Tensor = field(metadata=axes("n k"))
    rest: Tensor = field(metadata=axes("n m h w"))
    total: Tensor = field(metadata=axes("n m h w"))
    targets: tuple[tuple[str, ...], ...] = field(metadata=axes("n"))
    scores: Tensor = field(metadata=axes("n m"))
    size: tuple[int, int]
    layer: str
    reference: Tensor | None = field(default=None, metadata=axes("n m h w"))
    photographs: Tensor | None = field(default=None, metadata=axes("n _ _ _"))
    notes: tuple[str, ...] = ()

    @property
    def strengths(self) -> Tensor:
        """Weights (n, m, k) of the kept channels."""
        return torch.stack([weights[:, kept] for weights, kept in zip(self.weights, self.channels, strict=True)])

    @property
    def weighted(self) -> Tensor:
        """Weighted activations a_k A_k of the kept channels, (n, m, k, h, w)."""
        return self.strengths[..., None, None] * self.activations[:, None]

    @property
    def positive(self) -> Tensor:
        """ReLU of the sum over channels (n, m, h, w), from which the heatmap is made."""
        return self.total.clamp(min=0)

    @property
    def heatmap(self) -> Tensor:
        """Returns the heatmap (n, m, H, W): the positive part of the sum, upsampled bilinearly (align_corners=False)."""
        return torch.nn.functional.interpolate(self.positive, self.size, mode="bilinear", align_corners=False)

    @property
    def difference(self) -> Tensor | None:
        """Largest difference (n, m) from `grad_cam`'s values, as a share of the largest of them (0 where all are 0)."""
        if self.reference is None:
            return None
        largest = self.reference.abs().amax((2, 3))
        return (self.total - self.reference).abs().amax((2, 3)) / largest.where(largest > 0, 1)

    def __str__(self) -> str:
        n, m = self.weights.shape[:2]
        return "\n\n".join(_story(self, row, column) for row in range(n) for column in range(m))


def _story(steps: GradCamSteps, row: int, column: int) -> str:
    """Writes the computation for one target of one image as text, with every number."""
    h, w = steps.total.shape[-2:]
    c = steps.weights.shape[-1]
    score = "" if steps.gradients is None else f", score {float(steps.scores[row, column]):.4g}"
    lines = [f"Grad-CAM for {steps.targets[row][column]} at {steps.layer}: {c} channels of {h} x {w}{score}"]
    for i in range(steps.activations.shape[1]):
        lines += ["", *_channel(steps, row, column, i)]
    if steps.activations.shape[1] < c:
        lines += ["", f"the other {c - steps.activations.shape[1]} channels add", *_rows(steps.rest[row, column])]
    lines += ["", "sum over all channels", *_sum(steps, row, column)]
    lines += ["", "ReLU: what is negative becomes 0", *_rows(steps.positive[row, column])]
    return "\n".join([*lines, "", *_end(steps, row, column)])


def _channel(steps: GradCamSteps, row: int, column: int, i: int) -> list[str]:
    weight = float(steps.strengths[row, column, i])
    name = f"channel {int(steps.channels[row, i])}"
    parts = [("activation", steps.activations[row, i]), (f"times {weight:.4g}", steps.weighted[row, column, i])]
    if steps.gradients is None:
        return [f"{name}: weight {weight:.4g}", *_beside(parts)]
    parts.insert(1, ("gradient", steps.gradients[row, column, i]))
    return [f"{name}: weight {weight:.4g}, the mean of the gradient over places", *_beside(parts)]


def _sum(steps: GradCamSteps, row: int, column: int) -> list[str]:
    """Writes the sum over channels as lines; where weights were given by hand, with its arithmetic, place by place."""
    total = steps.total[row, column]
    if steps.photographs is not None or max(total.shape) > SMALL:
        return _rows(total)
    h, w = total.shape
    kept = list(zip(listed(steps.strengths[row, column]), steps.activations[row], strict=True))
    return [
        f"  ({y}, {x}): " + " + ".join(f"{a:g}*{float(maps[y, x]):g}" for a, maps in kept) + f" = {float(total[y, x]):.4g}"
        for y in range(h)
        for x in range(w)
    ]


def _end(steps: GradCamSteps, row: int, column: int) -> list[str]:
    h, w = steps.total.shape[-2:]
    lines = [f"upsampled bilinearly from {h} x {w} to {steps.size[0]} x {steps.size[1]}"]
    if steps.difference is not None:
        share = float(steps.difference[row, column])
        lines.append(f"the sum is grad_cam's map but for rounding: they differ by {share:.1e} of its largest value")
    return lines


def _beside(parts: Sequence[tuple[str, Tensor]]) -> list[str]:
    """Writes matrices side by side under their names; larger than 8 x 8 cells, one below the other."""
    blocks = [[f"  {name}", *_rows(values)] for name, values in parts]
    if parts[0][1].shape[-1] > 8:
        return [line for block in blocks for line in block]
    widths = [max(map(len, block)) for block in blocks]
    return ["  ".join(map(str.ljust, lines, widths)).rstrip() for lines in zip(*blocks, strict=True)]


def _rows(values: Tensor) -> list[str]:
    """Writes a map (h, w) as lines of numbers with three digits, or two where there are many numbers."""
    digits = 3 if max(values.shape) <= SMALL else 2
    cells = [[f"{one + 0.0:.{digits}g}" for one in row] for row in listed(values)]  # + 0.0 turns -0 into 0
    width = max(len(cell) for row in cells for cell in row)
    return ["  " + " ".join(cell.rjust(width) for cell in row) for row in cells]
