"""State of a network's forward passes, separate for each thread: which one runs, on what image size, and who watches it."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


class StopForward(BaseException):
    """Raised by a probe that has seen enough, to end a forward pass early; caught by `VisionModel.__call__`."""


@runtime_checkable
class Watch(Protocol):
    """Observer of forward passes, such as a `capture`.

    stop    whether it ends a pass early
    done    says whether it has seen enough of the current pass
    """

    stop: bool

    def done(self) -> bool: ...


class ToTheEnd:
    """Observer that never ends a pass: while it is the innermost, no outer observer can end a method's own pass."""

    stop = False

    def done(self) -> bool:
        return True


class Passes(threading.local):
    """State of the pass that began last in this thread, which hooks read.

    images      number of images in the pass
    image_size  (h, w) of its images
    this        a new object for every pass, so that hooks that count runs know when to begin anew
    watches     observers of the pass, the outermost first
    """

    images: int
    image_size: tuple[int, int]
    this: object = None
    watches: tuple[Watch, ...] = ()

    def __reduce__(self) -> tuple[type[Passes], tuple[()]]:
        return Passes, ()

    @property
    def edited(self) -> bool:
        """Checks whether some observer of the pass may change outputs of layers: any but `ToTheEnd`."""
        return any(not isinstance(one, ToTheEnd) for one in self.watches)

    @contextmanager
    def watched(self, watch: Watch) -> Generator[None]:
        """Adds `watch`, as the innermost, to the observers of passes inside the block."""
        outer = self.watches
        self.watches = (*outer, watch)
        try:
            yield
        finally:
            self.watches = outer

    def stop_if_enough(self) -> None:
        """Ends the pass if the innermost observer ends passes, and every observer that does has seen enough."""
        watches = self.watches
        if watches and watches[-1].stop and all(one.done() for one in watches if one.stop):
            raise StopForward

    @contextmanager
    def aside(self) -> Generator[None]:
        """Hides passes inside the block from observers outside it, even in the middle of a pass; then restores the state."""
        state = vars(self)
        kept = dict(state)
        state.clear()
        try:
            yield
        finally:
            state.clear()
            state.update(kept)
