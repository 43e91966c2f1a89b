"""Computes the features of a frozen network once, so that the head alone can be trained on them quickly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import logits_in
from tapetum.progress import report, stage
from tapetum.training.pictures import Photographs, batch_orders


class Features:
    """Inputs of the head for the pictures of one part of the data, without pictures that could not be read."""

    def __init__(self, values: Tensor, labels: Tensor) -> None:
        self.values, self.labels = values, labels

    def batches(self, orders: Sequence[Tensor], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (features, labels) for each list of rows."""
        for rows in orders:
            yield self.values[rows], self.labels[rows]


def features_of(model: VisionModel, head: str, photographs: Sequence[Photographs], batch: int) -> list[Features] | None:
    """Returns the features of each part of the data; None if other operations follow the head, so that it cannot run alone."""
    seen: list[Tensor] = []
    part = model.module.get_submodule(head)
    handle = part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        with torch.no_grad(), stage("features"):
            if not _ends_with_the_head(model, part, photographs[0], seen):
                return None
            return [_features(model, one, batch, seen) for one in photographs]
    finally:
        handle.remove()


def _ends_with_the_head(model: VisionModel, head: nn.Module, photographs: Photographs, seen: list[Tensor]) -> bool:
    images, _ = next(photographs.batches(batch_orders(min(2, len(photographs.labels)), 2), None))
    table = logits_in(called(model, model.module, images))
    given = seen.pop()
    again = head(given)
    seen.clear()
    return table is not None and torch.equal(again, table)


def _features(model: VisionModel, photographs: Photographs, batch: int, seen: list[Tensor]) -> Features:
    values, labels, total = [], [], len(photographs.labels)
    for images, of in photographs.batches(batch_orders(total, batch), None):
        called(model, model.module, images)
        values.append(seen.pop())
        labels.append(of)
        report(sum(map(len, labels)), total, "pictures")
    return Features(torch.cat(values), torch.cat(labels))


def called(model: VisionModel, module: nn.Module, images: Tensor) -> object:
    """Calls a module, by the model's own `call` function if it has one."""
    return module(images) if model.call is None else model.call(module, images)
