"""Grad-CAM with all of its numbers, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes

SMALL = 4
"""Up to so many cells a side every number of a map is written out, in texts and in figures."""


@dataclass(frozen=True, eq=False)
class GradCamSteps(Result):
    """Grad-CAM of n images for m targets each, step by step; k of the layer's c channels are kept whole.

    activations   (n, k, h, w) the maps A_k, the same for all targets
    gradients     (n, m, k, h, w) d score / d A_k; None where weights were given by hand
    weights       (n, m, c) a_k of all channels: the means of the gradients over places
    channels      (n, k) which channels are kept
    rest          (n, m, h, w) what all other channels add to the sum
    total         (n, m, h, w) the sum over all channels of a_k A_k, before the ReLU
    targets       n tuples of m texts
    scores        (n, m) what was differentiated
    reference     (n, m, h, w) `grad_cam`'s own values, found another way; None by hand
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
        """(n, m, k): the weights of the kept channels."""
        return torch.stack([weights[:, kept] for weights, kept in zip(self.weights, self.channels, strict=True)])

    @property
    def weighted(self) -> Tensor:
        """(n, m, k, h, w): a_k A_k of the kept channels."""
        return self.strengths[..., None, None] * self.activations[:, None]

    @property
    def positive(self) -> Tensor:
        """(n, m, h, w): ReLU of the sum, what the heatmap is made of."""
        return self.total.clamp(min=0)

    @property
    def heatmap(self) -> Tensor:
        """(n, m, H, W): the positive part, upsampled bilinearly (align_corners=False)."""
        return torch.nn.functional.interpolate(self.positive, self.size, mode="bilinear", align_corners=False)

    @property
    def difference(self) -> Tensor | None:
        """(n, m): the largest difference from `grad_cam`'s values, as a share of the largest of those (0 where all are 0)."""
        if self.reference is None:
            return None
        largest = self.reference.abs().amax((2, 3))
        return (self.total - self.reference).abs().amax((2, 3)) / largest.where(largest > 0, 1)

    def __str__(self) -> str:
        return "\n\n".join(
            _story(self, row, column) for row in range(len(self.targets)) for column in range(self.weights.shape[1])
        )


def _story(steps: GradCamSteps, row: int, column: int) -> str:
    """The steps for one target of one image, every number of them."""
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
    """The sum; by hand with its arithmetic, place by place."""
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
    """Matrices side by side under their names; a grid of more than 8 cells a side has a block of its own each."""
    blocks = [[f"  {name}", *_rows(values)] for name, values in parts]
    if parts[0][1].shape[-1] > 8:
        return [line for block in blocks for line in block]
    widths = [max(map(len, block)) for block in blocks]
    return [
        "  ".join(line.ljust(w) for line, w in zip(lines, widths, strict=True)).rstrip() for lines in zip(*blocks, strict=True)
    ]


def _rows(values: Tensor) -> list[str]:
    """A map (h, w) as lines of numbers: three digits, two where there are many."""
    digits = 3 if max(values.shape) <= SMALL else 2
    cells = [[f"{one + 0.0:.{digits}g}" for one in row] for row in listed(values)]  # + 0.0: no "-0"
    width = max(len(cell) for row in cells for cell in row)
    return ["  " + " ".join(cell.rjust(width) for cell in row) for row in cells]
