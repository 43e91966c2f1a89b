"""Pictures of a data set as two networks take them, each with its own preprocessing, and where each network's view lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.data.preprocessing import Preprocessing
from tapetum.data.streams import Source
from tapetum.data.streams.base import picture_of
from tapetum.data.streams.chosen import Chosen, drawn
from tapetum.engines.batching import batch_size
from tapetum.models.extra import refuse_extra
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.types import Batch, Crop, ImageError

KEPT_BYTES = 2**30
"""Memory for preprocessed pictures; further ones are read from their files again for each network."""


@dataclass(frozen=True, eq=False)
class Deck:
    """The readable pictures of a source, in order.

    samples   their numbers in the source
    sizes     (height, width) of each in px
    skipped   {name: why a picture was left out}
    """

    source: Source
    samples: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    skipped: dict[str, str]
    _ready: dict[Preprocessing, list[Tensor]] = field(default_factory=dict[Preprocessing, list[Tensor]])

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.source.ids[sample] for sample in self.samples)

    @property
    def labels(self) -> tuple[str | None, ...]:
        return tuple(self.source.labels[sample] for sample in self.samples)

    def take(self, rows: Sequence[int]) -> Deck:
        """Returns some of the pictures."""
        ready = {how: [many[row] for row in rows if row < len(many)] for how, many in self._ready.items()}
        whole = {how: many for how, many in ready.items() if len(many) == len(rows)}
        samples, sizes = tuple(self.samples[row] for row in rows), tuple(self.sizes[row] for row in rows)
        return Deck(self.source, samples, sizes, self.skipped, whole)

    def chosen(self) -> Chosen:
        """Returns the pictures as a source."""
        return Chosen(self.source, self.samples)

    def image(self, row: int, how: Preprocessing) -> Tensor:
        """Returns one picture as a network takes it, (1, c, h, w)."""
        kept = self._ready.get(how, [])
        return kept[row] if row < len(kept) else _prepared(self.source, self.samples[row], how)[0]

    def batches(self, model: VisionModel, batch: Batch, *, gradients: bool = False) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yields rows and model-ready images (k, c, h, w), batch by batch, and reports progress."""
        size = batch_size(model, batch, gradients=gradients, n=len(self))
        starts = range(0, len(self), size)
        for start in track(starts, len(starts), "batches"):
            rows = range(start, min(start + size, len(self)))
            images = torch.cat([self.image(row, model.preprocessing) for row in rows])
            yield rows, images.to(model.device, model.dtype)

    def crops(self, model: VisionModel, rows: Sequence[int], cells: int) -> list[Crop]:
        """Returns where the images lie in their photographs, in units of a grid of cells x cells over each photograph."""
        found: list[Crop] = []
        for row in rows:
            height, width = self.sizes[row]
            top, left, bottom, right = model.preprocessing.box(height, width)
            down, along = cells / height, cells / width
            found.append(Crop((cells, cells), top * down, left * along, bottom * down, right * along))
        return found


def deck(source: Source, models: Sequence[VisionModel], n: int | None, seed: int) -> Deck:
    """Reads the pictures (n of them, drawn at random) once; those that a network cannot take are left out and named."""
    for model in models:
        refuse_extra(model.extra, "a comparison shows it", model.name)
    some = drawn(source, n, seed)
    ways = list(dict.fromkeys(model.preprocessing for model in models))
    ready: dict[Preprocessing, list[Tensor]] = {how: [] for how in ways}
    found = Deck(some, (), (), {}, ready)
    samples, sizes = list[int](), list[tuple[int, int]]()
    for sample in track(range(len(some.ids)), len(some.ids), "pictures"):
        try:
            made = [_prepared(some, sample, how) for how in ways]
        except ImageError as error:
            found.skipped[some.ids[sample]] = str(error)
            continue
        samples.append(sample)
        sizes.append(made[0][1])
        _keep(ready, ways, [one for one, _ in made])
    if not samples:
        why = next(iter(found.skipped.values()), "it has no pictures")
        raise ImageError(f"none of the {len(some.ids)} pictures of {some.name} could be used: {why}")
    return Deck(some, tuple(samples), tuple(sizes), found.skipped, ready)


def _prepared(source: Source, sample: int, how: Preprocessing) -> tuple[Tensor, tuple[int, int]]:
    with picture_of(source, sample, how) as pixels:
        return how(pixels), (int(pixels.shape[-2]), int(pixels.shape[-1]))


def _keep(ready: dict[Preprocessing, list[Tensor]], ways: Sequence[Preprocessing], made: Sequence[Tensor]) -> None:
    """Keeps preprocessed pictures while there is room: always a first part of the deck."""
    bytes_ = sum(len(ready[how]) * one.nbytes for how, one in zip(ways, made, strict=True))
    if bytes_ < KEPT_BYTES:
        for how, one in zip(ways, made, strict=True):
            ready[how].append(one)
