"""Follows a network's operations by a torch function mode; subclasses say what happens at each operation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

from tapetum.models.operations.call import Call


class Following(TorchFunctionMode, ABC):
    """Passes every torch operation inside the block, in this thread, to `on`, which runs it.

    Operations are seen, not modules, so functional calls, in-place calls and reused modules are treated alike. Operations that
    `on` itself runs are not seen, unless it runs them inside `with self`.
    """

    @abstractmethod
    def on(self, call: Call) -> Any:
        """Runs the operation and returns its output."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.on(Call(func, args, kwargs or {}))
