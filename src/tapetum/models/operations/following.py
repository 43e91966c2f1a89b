"""The one function mode: whoever follows a network's operations says what happens at each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

from tapetum.models.operations.call import Call


class Following(TorchFunctionMode):
    """Inside the block, in this thread, `on` runs every torch operation in its place.

    Operations and not modules are seen, so functional, in-place and reused spellings are alike. What `on` itself computes is
    not seen, but inside of `with self`.
    """

    def on(self, call: Call) -> Any:
        """Runs the operation and returns its output."""
        raise NotImplementedError

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.on(Call(func, args, kwargs or {}))
