"""Pictures on their way into the network: cut to what it sees, kept in 8 bits or decoded when needed, changed a little."""

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
"""Random changes of a training picture: none; left and right; or also the place of the cut."""

KEEP_BYTES = 1_000_000_000
"""Pictures that take more than this, in 8 bits, are decoded anew in every epoch."""

AHEAD = 2  # batches that are decoded before their turn


@runtime_checkable
class Examples(Protocol):
    """Inputs of a network with their classes: pictures, or the features of a frozen part."""

    @property
    def labels(self) -> Tensor:
        """(n,)"""
        ...

    def batches(self, orders: Sequence[Tensor], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) of each list of rows; `epoch` numbers the random changes, None: without any."""
        ...


class Photographs:
    """The pictures of one part as the network sees them. A picture that cannot be read is left out of its batch and listed."""

    def __init__(self, part: Subset, preprocessing: Preprocessing, augment: Augment, seed: int, keep_bytes: int) -> None:
        self.part, self.preprocessing, self.augment, self.seed = part, preprocessing, augment, seed
        self.labels = part.labels
        self.skipped: dict[str, str] = {}
        self.cut = preprocessing.wider() if augment == "crop" else preprocessing
        self.place: Callable[[Tensor], Tensor] = lambda images: images  # to the network's device and type
        self._kept: Tensor | None = None
        self._readable = torch.ones(len(part), dtype=torch.bool)
        if len(part) * 3 * prod(self.cut.size) <= keep_bytes:
            self._keep()

    def batches(self, orders: Sequence[Tensor], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """(model-ready images, labels) of each list of rows, without the pictures that could not be read."""
        changes = None if epoch is None or self.augment == "none" else self._draw(epoch)
        for rows, levels in self.levels(orders):
            if len(rows):
                pixels = self._changed(levels, rows, changes).float() / 255
                yield self.place(self.preprocessing.normalize(pixels)), self.labels[rows]

    def levels(self, orders: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, their pictures as uint8 (m, 3, h, w)) of each list of rows."""
        if self._kept is None:
            yield from self._decoded(orders)
            return
        for rows in orders:
            rows = rows[self._readable[rows]]
            yield rows, self._kept[rows]

    @property
    def readable(self) -> Tensor:
        """The rows whose picture could be read, as far as they were tried."""
        rows = [row for row in range(len(self.part)) if self.part.id(row) not in self.skipped]
        return torch.tensor(rows, dtype=torch.long)

    def mean_and_std(self, n: int = 1000) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std per channel over up to n pictures, with 4 digits; the std is at least .01, for constant channels."""
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
        """Decodes batches in threads, a few ahead, in the requested order."""
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
        """Reads a picture (3, h, w) uint8; None, and listed, where it cannot be read."""
        try:
            return (self._seen(self.part.read(row))[0] * 255).round().to(torch.uint8)
        except ImageError as error:
            self.skipped[self.part.id(row)] = str(error)
            return None

    def _seen(self, pixels: Tensor) -> Tensor:
        """The stored picture: at the network's scale, with mirrored borders where a crop needs room."""
        if self.cut.resize != "crop":
            return self.cut.crop(pixels)
        whole = self.preprocessing.resized(pixels)
        missing = [max(0, -(-(side - has) // 2)) for side, has in zip(self.cut.size, whole.shape[-2:], strict=True)]
        return TF.center_crop(TF.pad(whole, missing[::-1], padding_mode="reflect"), list(self.cut.size))

    # --- random changes

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Draws for every row, in any batch, whether it is mirrored (n,), and where it is cut (n, 2) in [0, 1)."""
        generator = seeded(self.seed, "augment", epoch)
        n = len(self.part)
        return torch.rand(n, generator=generator) < 0.5, torch.rand(n, 2, generator=generator)

    def _changed(self, levels: Tensor, rows: Tensor, changes: tuple[Tensor, Tensor] | None) -> Tensor:
        """The pictures after the central or the random cut, (m, 3, *size)."""
        if self.augment == "none" or (self.augment == "flip" and changes is None):
            return levels
        if changes is not None:
            mirrored, places = changes
            levels = torch.where(mirrored[rows][:, None, None, None], levels.flip(-1), levels)
            if self.augment == "crop":
                return _cut_at(levels, places[rows], self.preprocessing.size)
        return TF.center_crop(levels, list(self.preprocessing.size))


def _cut_at(levels: Tensor, places: Tensor, size: Size) -> Tensor:
    """Parts of `size` at places in [0, 1); pictures that are no larger are first continued by an eighth, mirrored."""
    h, w = size
    if tuple(levels.shape[-2:]) == size:
        down, across = h // 8, w // 8
        levels = F.pad(levels.float(), (across, across, down, down), mode="reflect").to(levels.dtype)
    free = torch.tensor([levels.shape[-2] - h + 1, levels.shape[-1] - w + 1])
    corners = (places * free).long().tolist()
    return torch.stack([one[:, y : y + h, x : x + w] for one, (y, x) in zip(levels, corners, strict=True)])


def batch_orders(n: int, batch: int, shuffled: torch.Generator | None = None) -> list[Tensor]:
    """Rows in batches, in order or shuffled; a last batch of one joins the one before (batch-norm needs two pictures)."""
    rows = torch.arange(n) if shuffled is None else torch.randperm(n, generator=shuffled)
    orders = list(rows.split(batch))
    if len(orders) > 1 and len(orders[-1]) == 1:
        orders[-2:] = [torch.cat(orders[-2:])]
    return orders
