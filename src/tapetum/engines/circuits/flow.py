"""Which operations of a pass a node needs, so that a pass for one node need not compute the others.

A first pass records which operation made each input of each operation. Where the outputs of groups are given, a node needs only
the operations between these and itself; for any other, a stand-in of the right shape is handed on, full of NaN, so that a
mistake would be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.models.operations.call import Call
from tapetum.models.operations.nested import tensors


@dataclass(eq=False)
class Flow:
    """Record of one pass.

    inputs   for each operation the numbers of the operations that made its inputs
    outputs  {operation: its output's shape, type, device}, where that is one floating point tensor
    """

    inputs: list[tuple[int, ...]] = field(default_factory=list)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    _made: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary, repr=False)
    _known: dict[tuple[int | None, frozenset[int]], frozenset[int]] = field(default_factory=dict, repr=False)

    def before(self, call: Call) -> tuple[int, ...]:
        """Returns the numbers of the operations that made the inputs of a call, which must not have run yet."""
        return tuple({self._made[one] for one in call.tensors if one in self._made})

    def note(self, step: int, inputs: tuple[int, ...], output: Any) -> None:
        """Records an operation that has run."""
        assert step == len(self.inputs)
        self.inputs.append(inputs)
        for one in tensors(output):
            self._made[one] = step
        if isinstance(output, Tensor) and output.is_floating_point():
            nothing = torch.full((), torch.nan, dtype=output.dtype, device=output.device)
            self.outputs[step] = nothing.expand(output.shape)

    def needed(self, end: int | None, given: Iterable[int]) -> frozenset[int]:
        """Returns the operations that an output needs, the given ones among them only if it needs their outputs.

        end: number of the operation; None: all that follow the last given one.
        """
        known = end, frozenset(given)
        if known not in self._known:
            self._known[known] = self._searched(*known)
        return self._known[known]

    def _searched(self, end: int | None, given: frozenset[int]) -> frozenset[int]:
        waiting = list(range(max(given, default=-1) + 1, len(self.inputs))) if end is None else [end]
        found = set(waiting)
        while waiting:
            for step in self.inputs[waiting.pop()]:
                if step not in found:
                    found.add(step)
                    if step not in given:
                        waiting.append(step)
        return frozenset(found)
