"""Passes of a network, for each thread its own: which one runs, on what size of images, and who watches it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable


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


class Passes:
    """State that hooks read: `images`, `image_size` and `this` are those of the last pass that began."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._local = threading.local()

    def begin(self, shape: Sequence[int]) -> None:
        """Begins a pass on images (n, c, h, w)."""
        self._local.images, self._local.image_size, self._local.this = shape[0], (shape[-2], shape[-1]), object()

    @property
    def images(self) -> int:
        """Number of images in the pass."""
        return self._local.images

    @property
    def image_size(self) -> tuple[int, int]:
        return self._local.image_size

    @property
    def this(self) -> object:
        """Object of its own for every pass: whoever counts runs begins anew."""
        return getattr(self._local, "this", None)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Observers, the outermost first."""
        return getattr(self._local, "watches", ())

    @property
    def edited(self) -> bool:
        """Whether an observer may change outputs of layers."""
        return any(not isinstance(one, ToTheEnd) for one in self.watches)

    @contextmanager
    def watched(self, watch: Watch) -> Generator[None]:
        """Inside the block passes are looked at by this one, too."""
        outer = self.watches
        self._local.watches = (*outer, watch)
        try:
            yield
        finally:
            self._local.watches = outer

    def stop_if_enough(self) -> None:
        """Ends the pass where the innermost watch would, and all that would have seen enough."""
        watches = self.watches
        if watches and watches[-1].stop and all(one.done() for one in watches if one.stop):
            raise StopForward

    @contextmanager
    def aside(self) -> Generator[None]:
        """Passes inside the block are nobody's who watches from outside, even in the middle of a pass."""
        state = vars(self._local)
        kept = dict(state)
        state.clear()
        try:
            yield
        finally:
            state.clear()
            state.update(kept)
