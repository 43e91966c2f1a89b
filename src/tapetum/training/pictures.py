"""Prepares pictures for training: crops them, keeps them in 8 bits or decodes them when needed, and changes them at random."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from tapetum.data.preprocessing import Preprocessing, Size
from tapetum.progress import stage, track
from tapetum.training.data import Subset, seeded
from tapetum.types import ImageError

Augment = Literal["none", "flip", "crop"]
"""Random changes of a training picture: none; mirrored left to right; or mirrored, and cropped at a random place."""

KEEP_BYTES = 1_000_000_000
"""Largest size in bytes of 8-bit pictures kept in memory; more are decoded again in every epoch."""

AHEAD = 2  # batches that are decoded before their turn


@runtime_checkable
class Examples(Protocol):
    """Protocol of data for an epoch: a network's inputs (pictures, or features of a frozen part) with their classes."""

    @property
    def labels(self) -> Tensor:
        """Classes as numbers, (n,)."""
        ...

    def batches(self, orders: Sequence[Tensor], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (inputs, labels) for each list of rows; `epoch` seeds random changes, None: no changes."""
        ...


class Photographs:
    """Pictures of one part of the data, as the network sees them; unreadable ones are left out and listed in `skipped`."""

    def __init__(self, part: Subset, preprocessing: Preprocessing, augment: Augment, seed: int, keep_bytes: int) -> None:
        self.part, self.preprocessing, self.augment, self.seed = part, preprocessing, augment, seed
        self.labels = part.labels
        self.skipped: dict[str, str] = {}
        self.cut = preprocessing.wider() if augment == "crop" else preprocessing
        self.place: Callable[[Tensor], Tensor] = lambda images: images  # moves images to the network's device and type
        self._kept: Tensor | None = None
        self._readable = torch.ones(len(part), dtype=torch.bool)
        if len(part) * 3 * prod(self.cut.size) <= keep_bytes:
            self._keep()

    def batches(self, orders: Sequence[Tensor], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (model-ready images, labels) for each list of rows, without pictures that could not be read."""
        changes = None if epoch is None or self.augment == "none" else self._draw(epoch)
        for rows, levels in self.levels(orders):
            if len(rows):
                pixels = self._changed(levels, rows, changes).float() / 255
                yield self.place(self.preprocessing.normalize(pixels)), self.labels[rows]

    def levels(self, orders: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (rows, their pictures as uint8 (m, 3, h, w)) for each list of rows, without unreadable pictures."""
        if self._kept is None:
            yield from self._decoded(orders)
            return
        for rows in orders:
            rows = rows[self._readable[rows]]
            yield rows, self._kept[rows]

    @property
    def readable(self) -> Tensor:
        """Rows of all pictures except those that have turned out to be unreadable."""
        rows = [row for row in range(len(self.part)) if self.part.id(row) not in self.skipped]
        return torch.tensor(rows, dtype=torch.long)

    def mean_and_std(self, n: int = 1000) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns mean and standard deviation (at least 0.01) per channel over up to n pictures, rounded to 4 digits."""
        rows = torch.randperm(len(self.part), generator=seeded(self.seed, "mean"))[:n].sort().values
        found = [levels.double() / 255 for _, levels in self.levels(rows.split(100)) if len(levels)]
        if not found:
            raise ImageError(f"{self.part.source.name}: none of its pictures can be read")
        pixels = torch.cat(found)
        mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3), correction=0).clamp(min=0.01)
        return tuple(round(one, 4) for one in mean.tolist()), tuple(round(one, 4) for one in std.tolist())

    # --- decoding

    def _keep(self) -> None:
        everything = torch.arange(len(self.part))
        self._kept = torch.zeros(len(self.part), 3, *self.cut.size, dtype=torch.uint8)
        with stage("reading"):
            batches = zip(everything.split(64), self._decoded(everything.split(64)), strict=True)
            for asked, (rows, levels) in track(batches, len(self.part), "pictures", size=lambda batch: len(batch[0])):
                self._kept[rows] = levels
                self._readable[asked] = False
                self._readable[rows] = True

    def _decoded(self, orders: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Decodes batches in threads, up to `AHEAD` batches in advance, and yields them in the given order."""
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "tapetum-pictures")
        waiting: deque[tuple[Tensor, list[Future[Tensor | None]]]] = deque()
        try:
            for rows in orders:
                waiting.append((rows, [pool.submit(self._one, row) for row in rows.tolist()]))
                if len(waiting) > AHEAD:
                    yield self._gathered(*waiting.popleft())
            while waiting:
                yield self._gathered(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _gathered(self, rows: Tensor, futures: Sequence[Future[Tensor | None]]) -> tuple[Tensor, Tensor]:
        found = [one.result() for one in futures]
        there = [one for one in found if one is not None]
        empty = torch.zeros(0, 3, *self.cut.size, dtype=torch.uint8)
        return rows[torch.tensor([one is not None for one in found], dtype=torch.bool)], torch.stack(there) if there else empty

    def _one(self, row: int) -> Tensor | None:
        """Reads a picture as (3, h, w) uint8; returns None, and lists the picture as skipped, if it cannot be read."""
        try:
            return (self._seen(self.part.read(row))[0] * 255).round().to(torch.uint8)
        except ImageError as error:
            self.skipped[self.part.id(row)] = str(error)
            return None

    def _seen(self, pixels: Tensor) -> Tensor:
        """Returns a picture at the network's scale, with mirrored borders where random crops need more room."""
        if self.cut.resize != "crop":
            return self.cut.crop(pixels)
        whole = self.preprocessing.resized(pixels)
        missing = [max(0, -(-(side - has) // 2)) for side, has in zip(self.cut.size, whole.shape[-2:], strict=True)]
        return TF.center_crop(TF.pad(whole, missing[::-1], padding_mode="reflect"), list(self.cut.size))

    # --- random changes

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Draws for every row whether its picture is mirrored, (n,), and where it is cropped, (n, 2) in [0, 1)."""
        generator = seeded(self.seed, "augment", epoch)
        n = len(self.part)
        return torch.rand(n, generator=generator) < 0.5, torch.rand(n, 2, generator=generator)

    def _changed(self, levels: Tensor, rows: Tensor, changes: tuple[Tensor, Tensor] | None) -> Tensor:
        """Returns the pictures after mirroring and after the central or random crop, (m, 3, *size)."""
        if self.augment == "none" or (self.augment == "flip" and changes is None):
            return levels
        if changes is not None:
            mirrored, places = changes
            levels = torch.where(mirrored[rows][:, None, None, None], levels.flip(-1), levels)
            if self.augment == "crop":
                return _cut_at(levels, places[rows], self.preprocessing.size)
        return TF.center_crop(levels, list(self.preprocessing.size))


def _cut_at(levels: Tensor, places: Tensor, size: Size) -> Tensor:
    """Crops pictures to `size` at places in [0, 1); those no larger than `size` are first extended by a mirrored eighth."""
    h, w = size
    if tuple(levels.shape[-2:]) == size:
        down, across = h // 8, w // 8
        levels = F.pad(levels.float(), (across, across, down, down), mode="reflect").to(levels.dtype)
    free = torch.tensor([levels.shape[-2] - h + 1, levels.shape[-1] - w + 1])
    corners = (places * free).long().tolist()
    return torch.stack([one[:, y : y + h, x : x + w] for one, (y, x) in zip(levels, corners, strict=True)])


def batch_orders(n: int, batch: int, shuffled: torch.Generator | None = None) -> list[Tensor]:
    """Returns rows 0 .. n - 1 in batches, in order or shuffled; a last batch of one joins the previous one (for batch-norm)."""
    rows = torch.arange(n) if shuffled is None else torch.randperm(n, generator=shuffled)
    orders = list(rows.split(batch))
    if len(orders) > 1 and len(orders[-1]) == 1:
        orders[-2:] = [torch.cat(orders[-2:])]
    return orders
