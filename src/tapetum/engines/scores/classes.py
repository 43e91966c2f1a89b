"""Scores of classes: logits, probabilities, contrasts and unions; and scores of plain numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.scores.base import TargetScore, index_name, one_each
from tapetum.engines.scores.outputs import Answer, table_of
from tapetum.models.vision_model import Head, VisionModel
from tapetum.types import AnyOf, Contrast, Output, Scale, Scaled, TargetError

CLASSES = "classes"
"""Cache key of the part of an answer that scores of classes read."""


@dataclass(frozen=True, eq=False)
class ClassScore(TargetScore):
    """Score of one class per image, a contrast of two classes, or a union: the logit, or on other scales the (log) probability.

    On the probability scale, a contrast is the probability of `a` against `b` alone: sigmoid(logit a - logit b). `scale`
    applies to targets without a scale of their own. `answers` tell how to read each head.
    """

    answers: dict[Head, Answer]
    scale: Scale = "logit"
    part: str | None = field(default=CLASSES, init=False)

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        different = list(dict.fromkeys(self.targets))
        if len(different) == 1 and type(different[0]) is int:  # the usual target is one column
            main = next(iter(self.answers))
            table = table_of(output, main, self.model.name)
            one_each(self.targets, len(table))
            return self.answers[main].read.on(self.scale, table)[:, different[0]]
        read = _Tables(self, output)
        values = torch.stack([read.value(one, self.scale) for one in different])
        if len(different) == 1:
            return values[0]
        which = torch.tensor([different.index(one) for one in self.targets], device=values.device)
        return values[which, torch.arange(len(self.targets), device=values.device)]

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(class_name(self.model, one) for one in self.targets)

    @property
    def is_probability(self) -> bool:
        """Checks whether the values of this score are probabilities; measurements never are."""
        heads = {head for one in self.targets for head in heads_in(one, self.main)}
        return self.scale == "probability" and not any(self.answers[head].read.measured for head in heads)

    @property
    def main(self) -> Head:
        """Head that a target reads if it is a plain index."""
        return next(iter(self.answers))


class _Tables:
    """Reads the heads of one output as tables (n, k), each only once per scale."""

    def __init__(self, score: ClassScore, output: Any) -> None:
        self.score, self.output = score, output
        self.tables: dict[Head, Tensor] = {}
        self.read: dict[tuple[Head, str], Tensor] = {}

    def table(self, head: Head) -> Tensor:
        if head not in self.tables:
            self.tables[head] = table_of(self.output, head, self.score.model.name)
            one_each(self.score.targets, len(self.tables[head]))
        return self.tables[head]

    def column(self, target: Any, scale: str) -> Tensor:
        head, index = _place(target, self.score.main)
        if (head, scale) not in self.read:
            reading, table = self.score.answers[head].read, self.table(head)
            self.read[head, scale] = reading.evidence(table) if scale == "evidence" else reading.on(cast("Scale", scale), table)
        return self.read[head, scale][:, index]

    def value(self, target: Any, scale: Scale) -> Tensor:
        """Returns the values (n,) of one target for every image."""
        if isinstance(target, Scaled):
            return self.value(target.of, target.scale)
        if isinstance(target, AnyOf):
            head = _place(target.of[0], self.score.main)[0]
            indices = [_place(one, self.score.main)[1] for one in target.of]
            return self.score.answers[head].read.any_of(scale, self.table(head), indices)
        if not isinstance(target, Contrast):
            return self.column(target, scale)
        difference = self.column(target.a, "evidence") - self.column(target.b, "evidence")
        if scale == "logit" or self.score.answers[_place(target.a, self.score.main)[0]].read.measured:
            return difference
        return difference.sigmoid() if scale == "probability" else F.logsigmoid(difference)


def _place(target: Any, main: Head) -> tuple[Head, int]:
    return (target.head, int(target.index)) if isinstance(target, Output) else (main, int(target))


def heads_in(target: Any, main: Head = None) -> list[Head]:
    """Returns the heads that a target reads, each once; plain indices read the head `main`."""
    if isinstance(target, Scaled):
        return heads_in(target.of, main)
    parts = (target.a, target.b) if isinstance(target, Contrast) else target.of if isinstance(target, AnyOf) else ()
    if parts:
        return list(dict.fromkeys(head for one in parts for head in heads_in(one, main)))
    return [target.head] if isinstance(target, Output) else [main]


def class_name(model: VisionModel, target: Any) -> str:
    """Returns the text of a target, such as "tabby", "tabby rather than lynx", "tabby or lynx", "probability of tabby", "class
    281".
    """
    if isinstance(target, Scaled):
        return str(dataclasses.replace(target, of=class_name(model, target.of)))
    if isinstance(target, Contrast):
        return f"{class_name(model, target.a)} rather than {class_name(model, target.b)}"
    if isinstance(target, AnyOf):
        return " or ".join(class_name(model, one) for one in target.of)
    if isinstance(target, Output):
        labels = model.labels_of(target.head)
        named = target.head is not None and labels is not None and isinstance(target.index, int) and target.index < len(labels)
        return f"{labels[int(target.index)]} of {target.head}" if named and labels is not None else str(target)
    return index_name(model, target)


@dataclass(frozen=True, eq=False)
class OutputScore(TargetScore):
    """Score that is one number of the model's output, unchanged; `main` is the head of targets that name none."""

    main: Head = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "part", f"outputs {sorted({str(one.head) for one in self.targets})}")

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        tables = {target.head: table_of(output, self._head(target), self.model.name) for target in self.targets}
        for table in tables.values():
            one_each(self.targets, len(table))
        return torch.stack([self._value(tables[target.head], row, target) for row, target in enumerate(self.targets)])

    def _head(self, target: Output) -> Head:
        return self.main if target.head is None else target.head

    def _value(self, table: Tensor, row: int, target: Output) -> Tensor:
        if not 0 <= int(target.index) < table.shape[1]:
            raise TargetError(f"{target} does not exist: {self.model.name} gives {table.shape[1]}, 0 to {table.shape[1] - 1}")
        return table[row, int(target.index)]

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(class_name(self.model, one) for one in self.targets)
