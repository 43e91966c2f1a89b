"""Some pictures of a source, drawn at random or named by number, as a source of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.data.streams.base import Source, digest, opener
from tapetum.data.strips import Strips


@dataclass(frozen=True, eq=False)
class Chosen:
    """The pictures `samples` of a source, in its order; names and labels stay as they are."""

    source: Source
    samples: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def ids(self) -> Sequence[str]:
        return [self.source.ids[sample] for sample in self.samples]

    @property
    def labels(self) -> Sequence[str | None]:
        return [self.source.labels[sample] for sample in self.samples]

    def fingerprint(self) -> str:
        return digest(self.source.fingerprint(), self.samples)

    def read(self, sample: int) -> Tensor:
        return self.source.read(self.samples[sample])

    def opened(self, sample: int) -> contextlib.AbstractContextManager[Tensor | Strips]:
        own, number = opener(self.source), self.samples[sample]
        return contextlib.nullcontext(self.source.read(number)) if own is None else own(number)

    @property
    def content(self) -> Callable[[int], bytes] | None:
        """The source's own function of a sample's encoded bytes; None if it has none."""
        own = getattr(self.source, "content", None)
        return None if own is None else lambda sample: own(self.samples[sample])


def drawn(source: Source, n: int | None, seed: int) -> Source:
    """Returns n pictures of a source, drawn without repetition; the source itself for None, or if it has no more."""
    count = len(source.ids)
    if n is None or n >= count:
        return source
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n]
    return Chosen(source, tuple(sorted(order.tolist())))
