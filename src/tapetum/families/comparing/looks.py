"""What one network says of the pictures: its answers, its maps of given classes on the photographs, its deepest features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.scores import answer, forward_table
from tapetum.engines.similarity import rank_correlation
from tapetum.families.comparing.pictures import Deck
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.registry import lookup, parameters
from tapetum.types import Batch, MethodError, Output, TapetumError
from tapetum.types.crops import on_photo

CELLS = 14
"""Cells per side of the grid over the photograph on which maps are compared: about the finest detail of a CAM."""

YES, NO = "yes", "no"
"""Classes of a network with one output and no names: a probability of at least one half, and less."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a network to n pictures.

    kind           "classes", "labels" (the most probable counts), "binary", or "numbers"
    names          of the classes that it predicts, one per picture; "" for numbers
    known          {name: index} of its classes
    probabilities  (n,) of the predicted classes; for one number the number itself
    """

    kind: Literal["classes", "labels", "binary", "numbers"]
    names: tuple[str, ...]
    known: dict[str, int]
    probabilities: Tensor
    columns: int


def answers(model: VisionModel, pictures: Deck, batch: Batch) -> Answers:
    """Returns a network's answers to all pictures."""
    tables: list[Tensor] = []
    reading: Any = None
    for _, images in pictures.batches(model, batch):
        table, reading = forward_table(model, images)
        tables.append((table if reading.measured else reading.on("probability", table)).double().cpu())
    table = torch.cat(tables)
    if reading.measured:
        return Answers("numbers", ("",) * len(table), {}, table[:, 0], table.shape[1])
    if table.shape[1] == 1:
        names = tuple(YES if p >= 0.5 else NO for p in table[:, 0].tolist())
        return Answers("binary", names, {YES: 0, NO: 0}, torch.maximum(table, 1 - table)[:, 0], 1)
    labels = model.labels_of(answer(model, model.blank()).head) or model.labels
    said = [str(i) for i in range(table.shape[1])] if labels is None else list(labels)
    top = table.max(1)
    names = tuple(said[i] for i in top.indices.tolist())
    return Answers(reading.kind, names, _first_of_each(said), top.values, table.shape[1])


def _first_of_each(names: Sequence[str]) -> dict[str, int]:
    """Returns {name: index}; of classes with the same name the first."""
    found: dict[str, int] = {}
    for i, name in enumerate(names):
        found.setdefault(name.casefold(), i)
    return found


def class_targets(names: Sequence[str], own: Answers, model: VisionModel) -> list[Any | None]:
    """Returns for each picture the target of a network for the class of that name; None where it has no such class."""
    if own.kind == "numbers":
        return [Output(0) if own.columns == 1 else None] * len(names)
    found = [own.known.get(name.casefold()) for name in names]
    lost = sorted({name for name, one in zip(names, found, strict=True) if one is None})
    if lost:
        shown = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        note(f"{model.name} has no class {shown}: pictures that a calls so have no map by it")
    return list(found)


@dataclass(frozen=True)
class Maker:
    """A method with which maps are made: its name, and the layer, where it was chosen or given."""

    method: str
    layer: str | None = None
    batch: Batch = "auto"

    def maps(self, model: VisionModel, pictures: Deck, targets: Sequence[Any | None]) -> tuple[Tensor, str | None]:
        """Returns maps (n, 14, 14) over the photographs, NaN outside the view, and the layer at which they were made."""
        found = torch.full((len(pictures), CELLS, CELLS), torch.nan, dtype=torch.float64)
        rows = [row for row, target in enumerate(targets) if target is not None]
        layer = self.layer
        if not rows:
            return found, layer
        for some, images in pictures.take(rows).batches(model, self.batch, gradients=True):
            made = self._made(model, images, [targets[rows[i]] for i in some], layer)
            layer = made.layer
            crops = pictures.crops(model, [rows[i] for i in some], CELLS)
            found[[rows[i] for i in some]] = on_photo(_coarse(made.ranking(None)), crops).double().cpu()
        return found, layer

    def _made(self, model: VisionModel, images: Tensor, targets: list[Any], layer: str | None) -> Any:
        row = lookup(self.method)
        takes = {one.name for one in parameters(row)}
        try:
            return row.function(model, images, targets, **({"layer": layer} if layer and "layer" in takes else {}))
        except TapetumError as error:
            raise MethodError(f"{error}; compare takes other maps by method=, such as integrated_gradients") from error


def _coarse(maps: Tensor) -> Tensor:
    """Returns maps (n, 1, h, w) of at most 14 x 14 cells."""
    h, w = maps.shape[-2:]
    return F.adaptive_avg_pool2d(maps[:, None].float(), (min(CELLS, h), min(CELLS, w)))


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Returns Spearman's correlation (n,) of maps (n, h, w) over the cells that both have; NaN where one has no map."""
    seen = a.isfinite() & b.isfinite()
    together = list(dict.fromkeys(map(_key, seen)))
    found = torch.full((len(a),), torch.nan, dtype=torch.float64)
    for key in together:  # pictures whose common cells are the same are compared at once
        rows = [row for row, one in enumerate(seen) if _key(one) == key]
        where = seen[rows[0]]
        if int(where.sum()) > 2:
            found[rows] = rank_correlation(a[rows][:, where], b[rows][:, where])
    return found


def _key(mask: Tensor) -> bytes:
    return mask.numpy().tobytes()


def thumbnails(pictures: Deck, rows: Sequence[int], side: int) -> Tensor:
    """Returns photographs (k, 3, side, side), squashed to a square, as the maps' grid lies over them."""
    made = [_square(pictures.source.read(pictures.samples[row]), side) for row in rows]
    return torch.cat(made).expand(-1, 3, -1, -1) if made else torch.zeros(0, 3, side, side)


def _square(pixels: Tensor, side: int) -> Tensor:
    """Squashes a picture (1, c, H, W) to a square."""
    return F.interpolate(pixels[:, :3].float(), (side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
