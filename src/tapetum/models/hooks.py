"""Puts hooks on modules for the length of a block, and removes them even if the block raises an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

Before = Callable[[str], object]
"""Called before a module runs, with its name."""

After = Callable[[str, tuple[Any, ...], Any], object]
"""Called after a module has run, with its (name, inputs, output)."""


@contextmanager
def hooked(parts: Iterable[tuple[str, nn.Module]], start: Before | None = None, end: After | None = None) -> Iterator[None]:
    """Calls, inside the block, `start(name)` before each run of one of the modules, `end(name, inputs, output)` after it."""

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
