"""Records one pass: which operations ran in which module, and the trace of every tensor that depends on the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.models.maps import axis, guess_axes, read_layout, role
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import words
from tapetum.models.operations.nested import tensors
from tapetum.models.tracing.receptive import Span, Trace, TracedStep, coarsened, other, pair
from tapetum.models.tracing.rules import RULES, pools_statistics

CONSTANTS = words(
    "zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor"
)
REGIONS = words("roi_align roi_pool ps_roi_align")
"""Operations that cut out the regions a detector proposes: after them there is no longer one map per image."""

NOT_FOLLOWED = CONSTANTS | REGIONS


class Event(NamedTuple):
    """Event of a recorded pass: a module started ("start") or ended ("end"), or an operation of kind `kind` ran inside it."""

    kind: str
    module: str


class Tracer(Following):
    """Follows every tensor that depends on the image, and records as events what ran in which module.

    Kinds of operations: identity, pointwise, view, channel (1 x 1), join (two tensors of the image meet), pool (window
    or mean), mix (a kernel wider than 1, attention, a linear map over places), prefix (a class token is taken out),
    other.
    """

    def __init__(self, images: Tensor):
        super().__init__()
        _, c, h, w = images.shape
        self.image_size = (h, w)
        self.grid: tuple[int, int] | None = None
        self.events: list[Event] = []
        self.running: list[str] = []
        self.guessed: set[str] = set()
        self._traces = WeakIdKeyDictionary()
        self._traces[images] = Trace(((), axis("c", c), axis("h", h), axis("w", w)), (Span(), Span()))

    def note(self, kind: str, module: str | None = None) -> None:
        self.events.append(Event(kind, (self.running or [""])[-1] if module is None else module))

    def trace(self, tensor: Any) -> Trace | None:
        """Returns the trace of a tensor; None if it does not depend on the image, or an operation hid that it does."""
        return self._traces.get(tensor) if isinstance(tensor, Tensor) else None

    def trace_output(self, module: str, tensor: Tensor, inputs: Iterable[Any]) -> Trace | None:
        """Returns the trace of a module's output; guesses it from the shape if an operation inside could not be followed.

        `guessed` holds the modules for which that was so.
        """
        found = self.trace(tensor)
        if found is None or found.axes is None:
            known = [trace for trace in map(self.trace, inputs) if trace]
            if not found and not known:
                return None
            axes = guess_axes(tensor.shape, self.grid)
            self.guessed.add(module)
            found = Trace(axes, (found or known[0]).spans, local=False)
            grid = read_layout(axes)[2]
            if grid:
                jumps = (Fraction(side, cells) for side, cells in zip(self.image_size, grid, strict=True))
                found = replace(found, spans=pair(Span(jump=jump) for jump in jumps))
            self._traces[tensor] = found
        settled_trace = coarsened(found)
        self.grid = read_layout(settled_trace.axes)[2] or self.grid
        return settled_trace

    def on(self, call: Call) -> Any:
        before = [(self.trace(tensor), tensor.shape) for tensor in call.tensors]  # in-place operations change their inputs
        output = call()
        if call.name in ("copy", "setitem"):
            self._into_batch(call.args[0], call.args[-1])
        traced = [(trace, shape) for trace, shape in before if trace]
        outputs = list(tensors(output))
        if outputs and traced and call.name not in NOT_FOLLOWED:
            step = TracedStep(call.function, call.args, call.kwargs, traced, outputs, self.trace, self.note)
            for tensor, trace in zip(outputs, _traces(step), strict=True):
                self._traces[tensor] = trace
        return output

    def _into_batch(self, place: Tensor, image: Any) -> None:
        """Gives a batch the trace of an image copied into it, as detectors pad images: `batch[i, :, :h, :w].copy_(image)`."""
        trace, batch = self.trace(image), place if place._base is None else place._base
        if trace is None or trace.axes is None or self.trace(batch) is not None or batch.ndim != len(trace.axes) + 1:
            return
        self._traces[batch] = replace(trace, axes=((), *map(axis, map(role, trace.axes), batch.shape[1:])))


def _traces(step: TracedStep) -> list[Trace]:
    """Returns the trace of each output of an operation, by the rule for its kind."""
    try:
        found = RULES.get(step.name, other)(step)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # unexpected arguments: treated as unknown
        found = other(step)
    traces = found if isinstance(found, list) else [found] * len(step.outputs)
    pooled = any(trace.pooled for trace, _ in step.traced) or pools_statistics(step)
    return [replace(trace, pooled=True) for trace in traces] if pooled else traces
