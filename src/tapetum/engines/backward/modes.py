"""Rules follow operations, not modules: functional, in-place and reused ReLUs obey like any other.

A torch function mode sees every operation of the forward pass while the graph is recorded. It is thread-local and ends
with its block, so there is nothing to undo on the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from tapetum.engines.backward.operations import Operation, operation_of
from tapetum.engines.backward.rules import Rule


@dataclass
class Applied:
    """How often a rule was applied, so that a method can refuse a network that has nothing for it to act on."""

    count: int = 0


@contextlib.contextmanager
def backward_rules(rules: Mapping[Operation, Rule]) -> Iterator[Applied]:
    """Inside the block, gradients of graphs recorded here flow back through each operation by its rule."""
    applied = Applied()
    with _RuleMode(rules, applied):
        yield applied


class _RuleMode(TorchFunctionMode):
    def __init__(self, rules: Mapping[Operation, Rule], applied: Applied) -> None:
        super().__init__()
        self.rules, self.applied = rules, applied

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        operation = operation_of(func, args, kwargs)
        if operation is not None and operation in self.rules and isinstance(output, Tensor) and output.requires_grad:
            self.rules[operation](output)
            self.applied.count += 1
        return output
