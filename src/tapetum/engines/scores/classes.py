"""Scores of classes: logits, probabilities and contrasts; the class that the model itself predicts; numbers as they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.scores.base import ModelScore, class_name, one_each
from tapetum.engines.scores.outputs import head_of, logits, on_scale
from tapetum.models.vision_model import VisionModel
from tapetum.types import Contrast, Output, Scale, Scaled, TargetError

ClassTarget = int | Contrast | Scaled


@dataclass(frozen=True, eq=False)
class ClassScore(ModelScore):
    """One logit per image, or the difference of two; on other scales, the softmax (one output: sigmoid) or its logarithm.

    A contrast on the probability scale is the probability of `a` against `b` alone: sigmoid(logit a - logit b). A target
    that names its scale keeps it; `scale` is that of the others.
    """

    per_image = ("targets",)

    targets: tuple[ClassTarget, ...]
    scale: Scale = "logit"

    def read(self, output: Any) -> Tensor:
        """The model's output to (n,)."""
        table = logits(output, self.model.name)
        one_each(self.targets, len(table))
        scales: list[Scale] = [one.scale if isinstance(one, Scaled) else self.scale for one in self.targets]
        values = None
        for scale in dict.fromkeys(scales):
            some = self._on(scale, table)
            wanted = torch.tensor([one == scale for one in scales], device=table.device)
            values = some if values is None else torch.where(wanted, some, values)
        assert values is not None  # there is an image
        return values

    def _on(self, scale: Scale, table: Tensor) -> Tensor:
        for_, against = self._columns(table.device)
        rows = torch.arange(len(table), device=table.device)
        contrasts = against >= 0
        chosen = on_scale(table, scale)[rows, for_]
        if not contrasts.any():
            return chosen
        difference = table[rows, for_] - table[rows, against.clamp(min=0)]
        if scale != "logit":
            difference = difference.sigmoid() if scale == "probability" else F.logsigmoid(difference)
        return torch.where(contrasts, difference, chosen)

    def _columns(self, device: torch.device) -> tuple[Tensor, Tensor]:
        pairs = [_pair(one.of if isinstance(one, Scaled) else one) for one in self.targets]
        return torch.tensor([a for a, _ in pairs], device=device), torch.tensor([b for _, b in pairs], device=device)

    def explains(self, n: int) -> tuple[ClassTarget, ...]:
        return self.targets

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(words_for(self.model, one) for one in self.targets)


def _pair(target: Any) -> tuple[int, int]:
    return (int(target.a), int(target.b)) if isinstance(target, Contrast) else (target, -1)


def words_for(model: VisionModel, target: Any) -> str:
    """ "tabby", "tabby rather than tiger cat", "probability of tabby", or "class 281" without labels."""
    if isinstance(target, Scaled):
        return str(dataclasses.replace(target, of=words_for(model, target.of)))
    if isinstance(target, Contrast):
        return f"{class_name(model, target.a)} rather than {class_name(model, target.b)}"
    return class_name(model, target)


@dataclass(frozen=True, eq=False)
class OutputScore(ModelScore):
    """Numbers that the model gives, as they are."""

    per_image = ("targets",)

    targets: tuple[Output, ...]

    def read(self, output: Any) -> Tensor:
        """The model's output to (n,)."""
        tables = {target.head: head_of(output, target.head, self.model.name) for target in self.targets}
        for table in tables.values():
            one_each(self.targets, len(table))
        return torch.stack([self._value(tables[target.head], row, target) for row, target in enumerate(self.targets)])

    def _value(self, table: Tensor, row: int, target: Output) -> Tensor:
        if not 0 <= target.index < table.shape[1]:
            raise TargetError(f"{target} does not exist: {self.model.name} gives {table.shape[1]}, 0 to {table.shape[1] - 1}")
        return table[row, target.index]

    def explains(self, n: int) -> tuple[Output, ...]:
        return self.targets

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(map(str, self.targets))
