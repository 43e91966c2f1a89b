"""One network of other people's as data: how it is built, what it takes, and how its answer is read by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

Words = Literal["softmax", "probabilities", "log_probabilities", "sigmoid", "independent", "binary", "numbers", "maps"]


def first_table(output: Any) -> Tensor:
    """The logits of what most networks give."""
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "logits"):
        return output.logits
    return next(iter(output.values())) if isinstance(output, dict) else output[0]


@dataclass(frozen=True)
class Other:
    """A row of the sweep.

    build    the module in eval mode, the same each time
    shape    (c, h, w) of its images
    words    what its numbers are: softmax (logits of classes), sigmoid (of labels), independent (probabilities of labels),
             binary (the second of two names' logit), numbers (of a regression), maps (of a segmentation)
    table    the (n, k) or (n, k, h, w) in its output
    run      how it is run on images
    options  what a user says to `wrap` besides size, mean and std
    target   what is asked for, of networks without an answer of their own
    dtype    the only one that it runs in
    twin     a module of plain layers that computes the same, where `build` cannot be watched
    rough    how far its numbers may be off, in parts of the largest, where it rounds more than its type does
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, int, int] = (3, 32, 32)
    words: Words = "softmax"
    table: Callable[[Any], Tensor] = first_table
    run: Callable[[nn.Module, Tensor], Any] = lambda module, images: module(images)
    options: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    dtype: torch.dtype | None = None
    twin: Callable[[], nn.Module] | None = None
    rough: float | None = None
