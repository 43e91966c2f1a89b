"""Hooks on modules that end with their block, whatever happens in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

Start = Callable[[str], object]
End = Callable[[str, tuple[Any, ...], Any], object]
"""(name, inputs, output) of a module that has run."""


@contextmanager
def hooked(parts: Iterable[tuple[str, nn.Module]], start: Start | None = None, end: End | None = None) -> Iterator[None]:
    """Inside the block, calls `start(name)` before one of the modules runs, and `end(name, inputs, output)` after it."""

    def before(name: str, *_: Any) -> None:
        if start is not None:
            start(name)

    def after(name: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if end is not None:
            end(name, (*args, *kwargs.values()), output)

    with ExitStack() as handles:
        for name, part in parts:
            handles.enter_context(part.register_forward_pre_hook(partial(before, name)))
            handles.enter_context(part.register_forward_hook(partial(after, name), with_kwargs=True))
        yield
