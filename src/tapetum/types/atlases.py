"""Activation atlases: a layer's activations over a data set, averaged in the cells of a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.refusals import TapetumError, TargetError
from tapetum.types.renderings import Made
from tapetum.types.results import PARTS, Result, saved
from tapetum.types.text import table


@saved
@dataclass(frozen=True)
class MapCell:
    """One cell of an activation atlas.

    row, column  on the grid, from the top left
    count        activation vectors in it
    labels       (label, vectors from pictures of that label), most frequent first
    units        (channel, z) of its strongest units: z = (the cell's mean - the layer's mean) / the layer's standard deviation
    pictures     samples whose vectors are nearest to the cell's mean by cosine, nearest first, each once
    supports     (class, evidence): the classes whose logits the cell's mean raises most above the other cells', in logits
    """

    row: int
    column: int
    count: int
    labels: tuple[tuple[str, int], ...] = ()
    units: tuple[tuple[int, float], ...] = ()
    pictures: tuple[int, ...] = ()
    supports: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class ActivationAtlas(Result):
    """A layer's activation vectors over a data set, laid out with similar vectors near each other, averaged in cells of a grid.

    layout     "umap" or "pca"
    grid       (rows, columns); cells with too few vectors are left out of `cells`
    points     (m, 2) where each vector lies, in [0, 1], x to the right and y down
    samples    (m,) the picture of each vector;  places (m,) its flat position on the layer's grid;  ids: sample -> id
    members    (m,) the cell of each vector, -1 in cells that are left out
    means      (k, c) the mean vector of each cell
    pixels     (k, 3, h, w) in [0, 1] the picture of each cell; None if none were made.  status: outcome of each picture
    evidence   (k, classes) each logit if all places had the cell's mean vector, minus its mean over cells; None without classes
    classes    label -> ((cell, vectors), ...), the cells with most vectors from pictures of that label first
    labelled   where labels come from: "labels" of the data set, the model's "predictions", or "nothing"
    positions  number of vectors per picture
    """

    layer: str
    layout: Literal["umap", "pca"]
    grid: tuple[int, int]
    cells: tuple[MapCell, ...] = field(metadata=PARTS)
    points: Tensor
    samples: Tensor
    places: Tensor
    members: Tensor
    means: Tensor
    ids: Mapping[int, str] = field(repr=False)
    pixels: Tensor | None = None
    status: tuple[Made, ...] = ()
    evidence: Tensor | None = None
    classes: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict[str, tuple[tuple[int, int], ...]])
    labelled: Literal["labels", "predictions", "nothing"] = "nothing"
    positions: int = 1
    model: str = ""
    data: str = ""
    class_names: tuple[str, ...] | None = field(default=None, repr=False)
    key: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        vectors, cells = f"{len(self.points)} activation vectors of {self.layer}", f"{len(self.cells)} cells"
        head = f"{vectors} of {self.model} over {self.data}, laid out by {self.layout} in {cells}"
        labels = [", ".join(label for label, _ in cell.labels[:3]) for cell in self.cells]
        rows = [(f"{one.row}, {one.column}", str(one.count), some) for one, some in zip(self.cells, labels, strict=True)]
        return "\n".join([head, table(("cell", "vectors", "labels"), rows), *self.notes])

    def speaking_for(self, label: str | int) -> list[tuple[int, float]]:
        """Returns the cells as (cell, evidence in logits) for a class of the model, the strongest evidence first."""
        if self.evidence is None:
            raise TapetumError("this atlas has no evidence for classes: its model gives none")
        index = self._index(label)
        values, order = self.evidence[:, index].sort(descending=True, stable=True)
        return list(zip(listed(order), listed(values), strict=True))

    def _index(self, label: str | int) -> int:
        known = 0 if self.evidence is None else self.evidence.shape[1]
        if isinstance(label, str) and self.class_names is not None and label in self.class_names:
            return self.class_names.index(label)
        if isinstance(label, int) and 0 <= label < known:
            return label
        raise TargetError(f"the model has no class '{label}': give one of its names, or 0 to {known - 1}")

    @property
    def density(self) -> Tensor:
        """Number of vectors in each cell of the grid, (rows, columns); 0 in cells that are left out."""
        counts = torch.zeros(self.grid, dtype=torch.long)
        for cell in self.cells:
            counts[cell.row, cell.column] = cell.count
        return counts
