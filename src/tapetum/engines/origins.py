"""Records pre-activations while a network runs: for the result of each activation function, its input.

A torch function mode sees every operation, so functional, in-place and reused activation functions are recorded like modules.
It is thread-local and ends with its block. A record is valid only until the result, or a tensor from which the pre-activation
is made, is overwritten; torch counts that in `_version`, for views and their bases together.

Activation functions written by hand are recognised by their form: the product of a tensor and a bounded function of the tensor
alone, such as x * sigmoid(x) or 0.5 x (1 + tanh(c (x + d x³))).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import ACTIVATIONS, FUNCTIONS, JOINS, MOVES, SUMS
from tapetum.models.operations.names import in_place

ACTIVATION = ("relu", "activation", "squash")
"""The kinds of operations that are activation functions: one value in, one value out."""

ARITHMETIC = (FUNCTIONS - ACTIVATIONS) | SUMS | {"mul", "div", "neg"}
"""Operations, besides activation functions, of which activation functions written by hand are made."""


@dataclass(frozen=True, eq=False)
class Note:
    """Recipe for the pre-activation of a result.

    make       returns the pre-activation, computed only when needed, since concatenations cost a copy
    rests_on   the tensors from which `make` computes, each with its version
    version    version of the result
    modules    names of the modules in which the result was computed
    """

    make: Callable[[], Tensor]
    rests_on: tuple[tuple[Tensor, int], ...]
    version: int
    modules: frozenset[str]

    def holds_for(self, result: Tensor) -> bool:
        return _version(result) == self.version and all(_version(one) == version for one, version in self.rests_on)


@dataclass(frozen=True, eq=False)
class Link:
    """Link from a result to `source`, the only tensor of which it is an elementwise function, `bounded` or not."""

    source: Tensor
    version: int  # of the source
    bounded: bool
    result_version: int
    modules: frozenset[str]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # inference tensors count no versions


class Lines:
    """Links from results back to the tensors of which they are elementwise functions."""

    def __init__(self) -> None:
        self._links = WeakTensorKeyDictionary()

    def line(self, tensor: Tensor) -> list[tuple[Tensor, bool, frozenset[str]]]:
        """Returns the tensor itself, the source of which it is a function, the source of the source, and so on.

        Each comes with two facts: whether the tensor is a bounded function of it, and the modules in which it was computed.
        """
        found, bounded, modules = [(tensor, False, frozenset[str]())], False, frozenset[str]()
        while (link := self._links.get(found[-1][0])) is not None:
            if _version(link.source) != link.version or _version(found[-1][0]) != link.result_version:
                break
            bounded, modules = bounded or link.bounded, modules | link.modules
            found.append((link.source, bounded, modules))
        return found

    def meeting(self, operands: Sequence[Tensor]) -> tuple[Tensor, list[bool], frozenset[str]] | None:
        """Finds the nearest tensor of which all operands are elementwise functions.

        Returns this tensor, for each operand whether it is a bounded function, and the modules of all; None if there is none.
        """
        lines = [self.line(one) for one in operands]
        for source, *_ in lines[0]:
            steps = [next((step for step in line if step[0] is source), None) for line in lines]
            met = [step for step in steps if step is not None]
            if len(met) == len(lines):
                return source, [bounded for _, bounded, _ in met], frozenset().union(*(modules for *_, modules in met))
        return None

    def add(self, result: Tensor, source: Tensor, bounded: bool, modules: frozenset[str]) -> None:
        if result is not source:
            self._links[result] = Link(source, _version(source), bounded, _version(result), modules)


class Origins(Following):
    """Records the input of every activation function that is applied inside the block.

    Records follow operations that only move values (views, copies, concatenations of results that all have a record). The
    input of an in-place function is copied before the function runs. Inputs stay in memory as long as the results.

    here     returns the name of the module that runs
    noting   nothing is recorded while it is 0
    """

    def __init__(self, here: Callable[[], str] = str, noting: int = 1) -> None:
        super().__init__()
        self.here, self.noting = here, noting
        self._notes, self._lines = WeakTensorKeyDictionary(), Lines()

    def note(self, result: Tensor) -> Note | None:
        """Returns the record of the activation function that made `result`; None if no such function did, or its input was
        overwritten.
        """
        note: Note | None = self._notes.get(result)
        return note if note is not None and note.holds_for(result) else None

    def on(self, call: Call) -> Any:
        if not self.noting:
            return call()
        if call.name in MOVES:
            return self._moved(call)
        if call.name in JOINS:
            return self._joined(call)
        if call.operation in ACTIVATION and call.name != "neg":
            return self._activated(call)
        return self._combined(call) if call.name in ARITHMETIC else call()

    def _activated(self, call: Call, source: Tensor | None = None, modules: frozenset[str] = frozenset()) -> Any:
        """Runs an activation function and records its input: the main argument of the call, or `source`."""
        before = call.main if source is None else source
        if not isinstance(before, Tensor):
            return call()
        if before is call.main and call.pure() is not None:
            before = before.clone()
        version = _version(before)
        result = call()
        if isinstance(result, Tensor) and result is not before and _version(before) == version:  # else out= overwrote it
            modules = modules | {self.here()}
            self._notes[result] = Note(lambda: before, ((before, version),), _version(result), modules)
            if source is None:
                self._lines.add(result, before, call.operation == "squash" or call.name == "relu6", modules)
        return result

    def _combined(self, call: Call) -> Any:
        """Runs an arithmetic operation, and records it if it completes an activation function written by hand."""
        operands = call.tensors
        met = self._lines.meeting(operands) if operands and len({one.shape for one in operands}) == 1 else None
        if met is None:
            return call()
        source, bounded, modules = met
        if call.name == "mul" and any(bounded) and not all(bounded):
            return self._activated(call, source, modules)
        overwritten = source is call.main and call.pure() is not None
        earlier = self._lines.line(source)[1:2] if overwritten and len(operands) == 1 else []
        result = call()
        if isinstance(result, Tensor):
            step = earlier[0] if earlier else (source, all(bounded), modules)
            self._lines.add(result, step[0], step[1], step[2] | {self.here()})
        return result

    def _moved(self, call: Call) -> Any:
        source = call.args[0] if call.args else None
        note = self.note(source) if isinstance(source, Tensor) else None
        moved = call()
        if note is None or moved is source:  # an unchanged tensor keeps its record, one moved in place does not
            if moved is source and note is not None and in_place(call.function):
                self._notes.pop(source, None)
            return moved
        rest, modules = call.args[1:], note.modules | {self.here()}

        def again() -> Any:
            return call.function(note.make(), *rest, **call.kwargs)

        if isinstance(moved, Tensor):
            self._notes[moved] = Note(again, note.rests_on, _version(moved), modules)
        else:
            for i, part in enumerate(moved):
                self._notes[part] = Note(lambda i=i: again()[i], note.rests_on, _version(part), modules)
        return moved

    def _joined(self, call: Call) -> Any:
        notes = [self.note(part) for part in call.get(0, "tensors", ())]
        joined = call()
        known = [note for note in notes if note is not None]
        if known and len(known) == len(notes):
            rest, named = call.args[1:], {key: one for key, one in call.kwargs.items() if key not in ("tensors", "out")}
            rests_on = tuple(one for note in known for one in note.rests_on)
            modules = frozenset({self.here()}).union(*(note.modules for note in known))

            def again() -> Any:
                return call.function([note.make() for note in known], *rest, **named)

            self._notes[joined] = Note(again, rests_on, _version(joined), modules)
        return joined
