"""What an attack needs from a classifier: the log probabilities of classes that exclude each other, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.scores import Reading, answer, check_target, table_of
from tapetum.engines.scores.base import index_name
from tapetum.engines.scores.outputs import finite, no_classes
from tapetum.models.vision_model import Head, VisionModel
from tapetum.types import TargetError, TargetLike

INSTEAD = "an attack changes the answer of a classifier, one class per image"


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of a network, of which one is true for each image.

    alone  True: the network gives one number for one label, which becomes two classes, the label and "not" the label
    """

    model: VisionModel
    head: Head
    reading: Reading
    alone: bool

    def log_probability(self, output: Any) -> Tensor:
        """Returns log p (n, k) of every class, in float32 or more, from the network's output."""
        table = finite(table_of(output, self.head, self.model.name), self.model)
        wide = table.float() if table.dtype.itemsize < 4 else table
        logs = self.reading.log_probability(wide)
        return logs.flip(1) if self.alone else logs

    def name(self, index: int) -> str:
        """Returns the name of a class: its label, or "class 281"."""
        labels = self.model.labels_of(self.head) or self.model.labels
        if not self.alone:
            return index_name(self.model, index) if labels is None else labels[index]
        only = "yes" if labels is None else labels[0]
        return only if index == 0 else "no" if labels is None else f"not {only}"

    def names(self, indices: Tensor) -> tuple[str, ...]:
        return tuple(map(self.name, indices.tolist()))


def classes_of(model: VisionModel, images: Tensor) -> Classes:
    """Returns the classes of a network; refuses networks whose answer is not one class per image."""
    if model.encode_text is not None:
        raise no_classes(model)
    found = answer(model, images)
    if found.kind != "table":
        what = "boxes of objects" if found.kind == "detections" else "a class for every place"
        raise TargetError(f"{model.name} gives {what}: {INSTEAD}")
    reading = found.read
    if reading.measured:
        one = "; say tp.wrap(outputs='sigmoid') if the number is a logit" if reading.columns == 1 else ""
        raise TargetError(f"{model.name} gives {reading.words.partition(':')[0]}: {INSTEAD}{one}")
    if reading.kind == "labels":
        raise TargetError(
            f"{model.name} gives {reading.columns} labels of which several may be true: {INSTEAD}; tp.wrap(module, "
            "outputs='sigmoid', call=lambda module, x: module(x)[:, i]) makes a classifier of label i alone"
        )
    alone = reading.columns == 1 and not reading.binary
    return Classes(model, found.head, replace(reading, binary=True, exclusive=True) if alone else reading, alone)


def indices_of(model: VisionModel, images: Tensor, target: TargetLike) -> Tensor | None:
    """Returns a class index (n,) per image, or None if none was given; refuses targets that are no class."""
    if target is None:
        return None
    many: Sequence[Any] = (target,) if callable(target) else check_target(model, images, target)
    wrong = next((one for one in many if type(one) is not int), 0)
    if wrong != 0 or callable(target):
        raise TargetError(f"an attack leads to a class, or away from one: give an index or a label, not {wrong}")
    return torch.tensor(many, device=images.device)
