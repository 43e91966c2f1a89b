"""From targets to scores: the one place that knows class indices, labels and output types.

score = as_score(model, images, "tabby")     # or 281, [281, 207], contrast(281, 282), Unit, callable, None
score(images)                                # (n,)
score.take([0])                              # the score of the first image alone
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tapetum.data.labels import find_label
from tapetum.engines.probe import edit
from tapetum.models.vision_model import VisionModel
from tapetum.types import Contrast, LayerError, Scale, TargetError, TargetLike, Unit


@dataclass(frozen=True, eq=False)
class ClassScore:
    """One logit per image, or the difference of two; on the probability scale, the softmax (one output: sigmoid).

    A contrast on the probability scale is the probability of `a` against `b` alone: sigmoid(logit a - logit b).
    """

    model: VisionModel
    targets: tuple[int | Contrast, ...]
    scale: Scale = "logit"

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.model(images))

    def read(self, output: Any) -> Tensor:
        """The model's output to (n,)."""
        table = logits(output, self.model.name)
        if len(table) != len(self.targets):
            raise TargetError(f"{len(self.targets)} targets were given for {len(table)} images: one per image, or one for all")
        for_, against = self._columns(table.device)
        rows = torch.arange(len(table), device=table.device)
        chosen = table[rows, for_]
        contrasts = against >= 0
        if not contrasts.any():
            return chosen if self.scale == "logit" else _probabilities(table)[rows, for_]
        difference = chosen - table[rows, against.clamp(min=0)]
        if self.scale == "logit":
            return torch.where(contrasts, difference, chosen)
        return torch.where(contrasts, difference.sigmoid(), _probabilities(table)[rows, for_])

    def _columns(self, device: torch.device) -> tuple[Tensor, Tensor]:
        pairs = [(t.a, t.b) if isinstance(t, Contrast) else (t, -1) for t in self.targets]
        return torch.tensor([a for a, _ in pairs], device=device), torch.tensor([b for _, b in pairs], device=device)

    def take(self, rows: Sequence[int], /) -> ClassScore:
        return dataclasses.replace(self, targets=tuple(self.targets[row] for row in rows))


@dataclass(frozen=True, eq=False)
class PredictedScore:
    """The logit of each image's own predicted class, found out in the first pass that sees the image.

    For engines that ask for the score of the images themselves and of nothing else: it saves a pass.
    """

    model: VisionModel
    rows: tuple[int, ...]
    found: dict[int, int] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[int, ...]:
        return tuple(self.found[row] for row in self.rows)

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.model(images))

    def read(self, output: Any) -> Tensor:
        best = _finite(logits(output, self.model.name), self.model).argmax(1).tolist()
        for row, index in zip(self.rows, best, strict=True):
            self.found.setdefault(row, index)
        return ClassScore(self.model, self.targets).read(output)

    def take(self, rows: Sequence[int], /) -> PredictedScore:
        return dataclasses.replace(self, rows=tuple(self.rows[row] for row in rows))


@dataclass(frozen=True, eq=False)
class CallableScore:
    """The user's own function of the model's output: (n,) values, one per image."""

    model: VisionModel
    function: Callable[[Any], Tensor]

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.model(images))

    def read(self, output: Any) -> Tensor:
        values = self.function(output)
        if not isinstance(values, Tensor) or values.ndim != 1:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise TargetError(f"a callable target returns one value per image, a tensor (n,); this one returned {shape}")
        return values

    def take(self, rows: Sequence[int], /) -> CallableScore:
        return self


@dataclass(frozen=True, eq=False)
class UnitScore:
    """A unit inside the network: the activation at its position, else its mean over the map (n,)."""

    model: VisionModel
    units: tuple[Unit, ...]

    def __call__(self, images: Tensor, /) -> Tensor:
        seen: dict[str, Tensor] = {}
        layers = {unit.layer: None for unit in self.units}
        edits = {layer: _remember(seen, layer) for layer in layers}
        with edit(self.model, edits, stop=True):
            self.model(images)
        return torch.stack([_unit_value(seen[unit.layer][row], unit) for row, unit in enumerate(self.units)])

    def take(self, rows: Sequence[int], /) -> UnitScore:
        return dataclasses.replace(self, units=tuple(self.units[row] for row in rows))


ModelScore = ClassScore | PredictedScore | CallableScore | UnitScore
"""A score that knows its model, so that engines can look at layers on the way."""


def _remember(seen: dict[str, Tensor], layer: str) -> Callable[[Tensor], None]:
    return lambda activation: seen.__setitem__(layer, activation.clone())


def _unit_value(activation: Tensor, unit: Unit) -> Tensor:
    """(c, h, w) or (c,) to a scalar."""
    channel = activation[unit.channel]
    if unit.position is None:
        return channel.mean()
    return channel[unit.position]


def _probabilities(table: Tensor) -> Tensor:
    return table.sigmoid() if table.shape[1] == 1 else table.softmax(1)


def logits(output: Any, name: str = "the model") -> Tensor:
    """The table (n, k) in a model's output: a tensor, the first of a tuple, `.logits`, or a dict's "logits" or "out"."""
    if isinstance(output, Tensor):
        table = output
    elif isinstance(output, Mapping):
        table = next((output[key] for key in ("logits", "out") if key in output), next(iter(output.values()), None))
    elif hasattr(output, "logits"):
        table = output.logits
    elif isinstance(output, (tuple, list)) and output:
        table = output[0]
    else:
        table = None
    if isinstance(table, Tensor) and table.ndim == 1:
        table = table[:, None]
    if not isinstance(table, Tensor) or table.ndim != 2:
        shape = tuple(table.shape) if isinstance(table, Tensor) else type(output).__name__
        raise TargetError(f"{name} gives no table of logits (n, classes) but {shape}; pass target=callable(output) -> (n,)")
    return table


def forward_logits(model: VisionModel, images: Tensor) -> Tensor:
    """(n, k) without gradients; NaN or infinity is refused, since every explanation of it would be made up."""
    with torch.no_grad():
        table = logits(model(images), model.name)
    return _finite(table, model)


def _finite(table: Tensor, model: VisionModel) -> Tensor:
    if not torch.isfinite(table).all():
        raise TargetError(f"{model.name} answers with NaN or infinity: its weights or the images are broken")
    return table


def as_score(model: VisionModel, images: Tensor, target: TargetLike = None, scale: Scale = "logit") -> ModelScore:
    """What the user asked about, checked: None is the predicted class of each image."""
    targets = _one_per_image(target, len(images))
    if targets and all(isinstance(one, Unit) for one in targets):
        return UnitScore(model, tuple(_checked_unit(model, one) for one in targets))
    if callable(target):
        return CallableScore(model, target)
    if target is None:
        return ClassScore(model, tuple(forward_logits(model, images).argmax(1).tolist()), scale)
    classes = n_classes(model, images)
    return ClassScore(model, tuple(_as_class(model, one, classes) for one in targets), scale)


def n_classes(model: VisionModel, images: Tensor) -> int:
    """How many logits the model gives; one pass the first time, kept on the model until its structure changes."""
    return model.remember("n_classes", lambda: forward_logits(model, images[:1]).shape[1])


def _one_per_image(target: TargetLike, n: int) -> list[Any]:
    if isinstance(target, Tensor):
        target = target.tolist()
    many = list(target) if isinstance(target, (list, tuple)) else [target] * n
    if len(many) != n:
        raise TargetError(f"{len(many)} targets were given for {n} images: one per image, or one for all")
    return many


def _as_class(model: VisionModel, target: Any, classes: int) -> int | Contrast:
    if isinstance(target, Contrast):
        return Contrast(_class_index(model, target.a, classes), _class_index(model, target.b, classes))
    return _class_index(model, target, classes)


def _class_index(model: VisionModel, target: Any, classes: int) -> int:
    if isinstance(target, str):
        if model.labels is None:
            raise TargetError(f"{model.name} has no class names: give an index from 0 to {classes - 1}, not '{target}'")
        return find_label(model.labels, target)
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise TargetError(f"{target!r} is no target: give a class index, a label, contrast(a, b), a Unit or a callable")
    index = target.__index__()
    if not 0 <= index < classes:
        raise TargetError(f"class {index} does not exist: {model.name} has {classes} classes, 0 to {classes - 1}")
    return index


def _checked_unit(model: VisionModel, unit: Unit) -> Unit:
    (layer,) = model.find_layers(unit.layer)
    channels, grid = model.survey[layer].channels, model.survey[layer].grid
    if channels is None:
        raise LayerError(f"{layer} of {model.name} has no map and so no units")
    if unit.channel >= channels:
        raise TargetError(f"unit {unit} does not exist: {layer} has {channels} channels, 0 to {channels - 1}")
    if unit.position is not None and grid is not None and not all(0 <= p < g for p, g in zip(unit.position, grid, strict=True)):
        raise TargetError(f"unit {unit} does not exist: the map of {layer} has {grid[0]} x {grid[1]} positions")
    return unit


def describe_targets(score: ModelScore, n: int) -> tuple[str, ...]:
    """One text per image for captions: the class name where there is one."""
    if isinstance(score, CallableScore):
        return (getattr(score.function, "__name__", "callable"),) * n
    if isinstance(score, UnitScore):
        return tuple(map(str, score.units))
    return tuple(class_name(score.model, one) for one in score.targets)


def class_name(model: VisionModel, target: int | str | Contrast) -> str:
    """ "tabby", "tabby rather than tiger cat", or "class 281" without labels."""
    if isinstance(target, Contrast):
        return f"{class_name(model, target.a)} rather than {class_name(model, target.b)}"
    if isinstance(target, str):
        return target
    return f"class {target}" if model.labels is None or target >= len(model.labels) else model.labels[target]


def explained(score: ModelScore, n: int) -> tuple[Any, ...]:
    """What `as_score` takes to build this score again, one per image."""
    if isinstance(score, CallableScore):
        return (score.function,) * n
    return score.units if isinstance(score, UnitScore) else score.targets
