"""How many images go through the network at once: few enough for the memory, and small batches are often quicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from tapetum.engines.memory import free_bytes
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, MethodError

T = TypeVar("T")
R = TypeVar("R")

USUAL = 16
"""On a CPU the buffers of larger batches leave the caches; 4 to 16 images a pass were quickest (measured, ResNet-50)."""

SHARE = 0.4
"""Of the free memory; the rest is left to what the estimate does not see."""


def batch_size(model: VisionModel, batch: Batch, *, gradients: bool = False) -> int:
    """Images a pass. "auto": at most 16 (a GPU: 64), fewer where the activations of images of that size would not fit.

    One where the network itself takes them one by one: a layer then has the output of one image at a time.
    """
    if batch != "auto" and batch < 1:
        raise MethodError(f"batch must be at least 1, not {batch}")
    if model.one_by_one:
        return 1
    if batch != "auto":
        return batch
    one = max(1, model.survey.activation_bytes) * (2 if gradients else 1)
    fits = int(free_bytes(model.device) * SHARE / one)
    usual = USUAL if model.device.type == "cpu" else 4 * USUAL
    return max(1, min(fits, usual // 2 if gradients else usual))


def in_chunks(items: Sequence[T], size: int, work: Callable[[Sequence[T]], R]) -> Iterator[R]:
    """`work` on chunks of at most `size` items; a chunk that does not fit into memory is halved and tried again."""
    start = 0
    while start < len(items):
        try:
            result = work(items[start : start + size])
        except (torch.OutOfMemoryError, MemoryError) as error:
            if size == 1:
                raise MethodError("one image alone does not fit into the free memory") from error
            size //= 2
            continue
        yield result
        start += size
