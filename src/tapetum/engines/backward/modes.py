"""Applies backward rules to operations, not to modules: functional, in-place and reused ReLUs are caught as well.

A torch function mode sees every operation of the forward pass while the graph is recorded. It is thread-local and ends
with its block, so the model itself is never changed. Inside the block no tensor is overwritten: `x.relu_()` is computed out
of place and later uses of x get the new value, so that rules can keep their inputs until the backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.engines.backward.rules import Rule
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import Operation
from tapetum.types import MethodError


@dataclass
class Applied:
    """Counts how often a rule was applied, so that a method can refuse a network without an operation that its rule acts on."""

    count: int = 0


@contextlib.contextmanager
def backward_rules(rules: Mapping[Operation, Rule]) -> Iterator[Applied]:
    """Records graphs inside the block so that gradients flow back through each kind of operation by the given rule."""
    applied = Applied()

    def run(call: Call) -> Any:
        rule = rules.get(call.operation) if call.operation and call.active else None
        if rule is None:
            return call()
        applied.count += 1
        return rule(call)

    with OperationMode(run):
        yield applied


class OperationMode(Following):
    """Torch function mode that passes every operation to `run`, in-place operations as their out-of-place version."""

    def __init__(self, run: Callable[[Call], Any]) -> None:
        super().__init__()
        self.run = run
        self.newer = WeakTensorKeyDictionary()  # {tensor that was overwritten in place: its new value}
        self.overwritten: dict[int, Tensor] = {}  # by storage; kept alive, so that no other tensor gets the storage

    def on(self, call: Call) -> Any:
        call = call.mapped(self._new) if self.overwritten and call.tensors else call
        pure = call.pure() if call.active else None
        if pure is None:
            return self.run(call)
        target, output = call.main, self.run(pure)
        self.newer[target] = output
        self.overwritten[target.untyped_storage().data_ptr()] = target
        return output

    def _new(self, tensor: Tensor) -> Tensor:
        while tensor in self.newer:
            tensor = self.newer[tensor]
        if tensor.requires_grad and tensor.untyped_storage().data_ptr() in self.overwritten:
            raise MethodError("a view was overwritten in place: backward rules cannot follow that; write it as a sum")
        return tensor
