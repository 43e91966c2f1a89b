"""Passes of a network, for each thread its own: which one runs, on what size of images, and who watches it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


class StopForward(BaseException):
    """Raised by a probe inside a forward pass that has seen enough; caught by `VisionModel.__call__`."""


@runtime_checkable
class Watch(Protocol):
    """Observer of passes, such as a `capture`: whether it ends them, and has seen enough of this one."""

    stop: bool

    def done(self) -> bool: ...


class ToTheEnd:
    """Keeps a method's own passes from being ended from outside."""

    stop = False

    def done(self) -> bool:
        return True


class Passes(threading.local):
    """State that hooks read, of the last pass that began.

    images      number of images in it
    image_size  (h, w) of its images
    this        object of its own for every pass: whoever counts runs begins anew
    watches     observers, the outermost first
    """

    images: int
    image_size: tuple[int, int]
    this: object = None
    watches: tuple[Watch, ...] = ()

    def __reduce__(self) -> tuple[type[Passes], tuple[()]]:
        return Passes, ()

    def begin(self, shape: Sequence[int]) -> None:
        """Begins a pass on images (n, c, h, w)."""
        self.images, self.image_size, self.this = shape[0], (shape[-2], shape[-1]), object()

    @property
    def edited(self) -> bool:
        """Whether an observer may change outputs of layers."""
        return any(not isinstance(one, ToTheEnd) for one in self.watches)

    @contextmanager
    def watched(self, watch: Watch) -> Generator[None]:
        """Inside the block passes are looked at by this one, too."""
        outer = self.watches
        self.watches = (*outer, watch)
        try:
            yield
        finally:
            self.watches = outer

    def stop_if_enough(self) -> None:
        """Ends the pass where the innermost watch would, and all that would have seen enough."""
        watches = self.watches
        if watches and watches[-1].stop and all(one.done() for one in watches if one.stop):
            raise StopForward

    @contextmanager
    def aside(self) -> Generator[None]:
        """Passes inside the block are nobody's who watches from outside, even in the middle of a pass."""
        state = vars(self)
        kept = dict(state)
        state.clear()
        try:
            yield
        finally:
            state.clear()
            state.update(kept)
