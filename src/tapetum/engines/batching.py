"""Sizes of batches: small enough for the memory, and no larger than is quick."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from tapetum.engines.memory import free_bytes
from tapetum.engines.scores import ModelScore
from tapetum.models.vision_model import VisionModel
from tapetum.progress import SoFar, report
from tapetum.types import Batch, MethodError

T = TypeVar("T")
R = TypeVar("R")

USUAL = 16
"""Largest batch on a CPU, where larger ones do not fit the caches; 4 to 16 images per pass were quickest (ResNet-50)."""

FEWEST, BLOCK = 4, 20 * 2**20
"""Batches of more than 4 images keep the largest output of a layer below 20 MiB on a CPU: glibc maps blocks of more than 32 MiB
anew each time, and fills their pages with zeros (EfficientNet-Lite0: 16 images took 1.7 times as long as 4 times 4)."""

SHARE = 0.4
"""Share of the free memory that is used; the rest is a reserve for what the estimate does not count."""


def batch_size(model: VisionModel, batch: Batch, *, gradients: bool = False, n: int | None = None) -> int:
    """Returns the number of images per pass; "auto" gives at most 16 (on a GPU 64), fewer where memory is short.

    On a CPU, networks with large layers get fewer, but at least 4, unless the process keeps large blocks. With gradients, it
    gives at most half of 16 or 64. It is always 1 if there is one image (n = 1), or if the network itself takes images one by
    one, since a layer then holds the output of one image at a time.
    """
    if batch != "auto" and batch < 1:
        raise MethodError(f"batch must be at least 1, not {batch}")
    if n == 1 or model.one_by_one:
        return 1
    if batch != "auto":
        return batch
    fits = fitting(model, 2 if gradients else 1)
    usual = USUAL if model.device.type == "cpu" else 4 * USUAL
    if gradients:
        return max(1, min(fits, usual // 2))
    largest = model.survey.largest_bytes
    if model.device.type == "cpu" and usual * largest > BLOCK and not _keeps_blocks():
        usual = max(FEWEST, BLOCK // largest)
    return max(1, min(fits, usual))


def fitting(model: VisionModel, copies: int) -> int:
    """Returns the number of images of which so many copies of all layers' outputs fit into the free memory's share."""
    return int(free_bytes(model.device) * SHARE / (max(1, model.survey.activation_bytes) * copies))


def _keeps_blocks() -> bool:
    """Whether glibc was told to keep blocks of this size (`keep_large_blocks` says so to child processes, too)."""
    threshold = os.environ.get("MALLOC_MMAP_THRESHOLD_", "")
    return threshold.isdecimal() and int(threshold) > USUAL * BLOCK


def over_images(
    score: ModelScore, images: Tensor, work: Callable[..., R], batch: Batch, *beside: Tensor, gradients: bool = False
) -> R:
    """Calls `work` with the score and the images of each batch, and joins the results: a tensor (n, ...), or a tuple of them.

    beside: tensors (n, ...) whose rows `work` gets, too.
    """

    def some(rows: Sequence[int]) -> R:
        parts = (one[rows[0] : rows[-1] + 1] for one in (images, *beside))
        return work(score if len(rows) == len(images) else score.take(rows), *parts)

    size = batch_size(score.model, batch, gradients=gradients, n=len(images))
    parts: list[Any] = list(in_chunks(range(len(images)), size, some, "images"))
    joined: Any = torch.cat(parts) if isinstance(parts[0], Tensor) else tuple(map(torch.cat, zip(*parts, strict=True)))
    return joined


def in_chunks(
    items: Sequence[T],
    size: int,
    work: Callable[[Sequence[T]], R],
    unit: str | None = None,
    so_far: SoFar | None = None,
    rows: Iterable[int] = (),
) -> Iterator[R]:
    """Yields the results of `work` on chunks of at most `size` items; halves `size` and tries again if memory runs out.

    With a `unit`, reports progress after the caller has handled each result; `so_far` makes the map of what it has handled, and
    `rows` holds the rows of the method's result that it is of.
    """
    start = 0
    if unit is not None:
        report(0, len(items), unit)
    while start < len(items):
        try:
            result = work(items[start : start + size])
        except (torch.OutOfMemoryError, MemoryError) as error:
            if size == 1:
                raise MethodError("one image alone does not fit into the free memory") from error
            size //= 2
            continue
        yield result
        start = min(start + size, len(items))
        if unit is not None:
            report(start, len(items), unit, None, so_far, rows)
