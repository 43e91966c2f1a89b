"""Switches gradient checkpointing off: it trades time for memory and changes no number, but it hides operations.

A checkpointed block is computed once without a graph and again in the backward pass: no gradient exists inside the block,
hooks and backward rules see it twice, and the reentrant form of checkpointing refuses `torch.autograd.grad`. Inside
`uncheckpointed()` the functions of `torch.utils.checkpoint` simply call the block, in this thread alone. Networks keep
references to these functions, so the names that the functions look up in `torch.utils.checkpoint` are replaced by stand-ins,
and restored when the last thread leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.utils import checkpoint as torch_checkpoint

from tapetum.switches import Switch

_REENTRANT = "CheckpointFunction"
_OTHER = ("_checkpoint_without_reentrant_generator_impl", "_checkpoint_without_reentrant_generator")
"""Names that torch's `checkpoint` looks up when it is called: the first in newer versions of torch, the second in older."""

_originals: dict[str, Any] = {
    name: vars(torch_checkpoint)[name] for name in (_REENTRANT, *_OTHER) if name in vars(torch_checkpoint)
}


@contextmanager
def _stand_ins() -> Generator[None]:
    with ExitStack() as kept:
        for name, one in _STAND_INS.items():
            kept.callback(setattr, torch_checkpoint, name, _originals[name])
            setattr(torch_checkpoint, name, one)
        yield


uncheckpointed = Switch(_stand_ins)
"""Switches gradient checkpointing off inside the block, in this thread: functions under it are called directly."""


class _Reentrant:
    """Stand-in for torch's CheckpointFunction: calls the function directly where checkpointing is off."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args) if uncheckpointed.here else _originals[_REENTRANT].apply(function, preserve, *args)


def _generator(name: str) -> Callable[..., Iterator[None]]:
    """Stand-in for torch's generator of that name, which sets up and ends checkpointing around the function's call."""

    def steps(*args: Any, **kwargs: Any) -> Iterator[None]:
        return (None for _ in range(1)) if uncheckpointed.here else _originals[name](*args, **kwargs)

    return steps


_STAND_INS: dict[str, Any] = {name: _Reentrant if name == _REENTRANT else _generator(name) for name in _originals}
