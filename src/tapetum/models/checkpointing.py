"""Gradient checkpointing without effect: it trades time for memory and changes no number, but it hides operations.

A checkpointed block is computed once without a graph and again in the backward pass: a gradient inside it does not exist,
hooks and rules see it twice, and its reentrant form refuses `torch.autograd.grad`. Inside `uncheckpointed()` the functions of
`torch.utils.checkpoint` call the block as it is, in this thread alone; networks keep references to them, so what these look
up in torch's own module is exchanged, and put back when the last thread leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint as torch_checkpoint

_lock = threading.Lock()
_here = threading.local()
_users = 0
_REENTRANT = "CheckpointFunction"
_OTHER = ("_checkpoint_without_reentrant_generator_impl", "_checkpoint_without_reentrant_generator")
"""Names that `checkpoint` looks up when it is called; older versions of torch look up the second."""

_originals: dict[str, Any] = {
    name: vars(torch_checkpoint)[name] for name in (_REENTRANT, *_OTHER) if name in vars(torch_checkpoint)
}


@contextmanager
def uncheckpointed() -> Generator[None]:
    """Inside the block checkpointed functions of this thread are simply called."""
    outer = getattr(_here, "plain", False)
    _here.plain = True
    _count(+1)
    try:
        yield
    finally:
        _here.plain = outer
        _count(-1)


def _count(by: int) -> None:
    """Counts the threads inside; the first puts the stand-ins there, the last the originals."""
    global _users
    with _lock:
        _users += by
        if _users == (by > 0):
            for name, one in (_STAND_INS if by > 0 else _originals).items():
                setattr(torch_checkpoint, name, one)


def _is_plain() -> bool:
    return getattr(_here, "plain", False)


class _Reentrant:
    """Stand-in for torch's CheckpointFunction."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args) if _is_plain() else _originals[_REENTRANT].apply(function, preserve, *args)


def _generator(name: str) -> Callable[..., Iterator[None]]:
    """Stand-in for torch's generator, between whose steps the function is called."""

    def steps(*args: Any, **kwargs: Any) -> Iterator[None]:
        return (None for _ in range(1)) if _is_plain() else _originals[name](*args, **kwargs)

    return steps


_STAND_INS: dict[str, Any] = {name: _Reentrant if name == _REENTRANT else _generator(name) for name in _originals}
