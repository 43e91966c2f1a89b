"""Computes receptive fields, the part of the image that one place of a tensor can see, `araujo2019receptive`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import torch
from torch import Tensor

from tapetum.models.maps import Axes, Axis, Margins, axis, labels, role, without_insets
from tapetum.models.operations.call import Call


@dataclass(frozen=True)
class Span:
    """Receptive field along one image axis, in input pixels.

    low, high  first and last pixel that the first place sees
    jump       distance from one place to the next
    loose      by how much more a place may see on both sides, after an enlargement
    """

    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)
    loose: Fraction = Fraction(0)

    def kernel(self, size: int, stride: int = 1, pad_before: int | Fraction = 0, dilation: int = 1) -> Span:
        low = self.low - pad_before * self.jump
        high = self.high + ((size - 1) * dilation - pad_before) * self.jump
        return Span(low, high, self.jump * stride, self.loose)

    def joined(self, other: Span) -> Span:
        return Span(min(self.low, other.low), max(self.high, other.high), self.jump, max(self.loose, other.loose))

    def sees(self, place: int) -> tuple[int, int]:
        """Returns the first and last pixel that a place, counted from 0, can see; they may lie outside the image."""
        start = place * self.jump
        return floor(self.low + start - self.loose), ceil(self.high + start + self.loose)

    def inset(self, before: Fraction, after: Fraction) -> Span:
        return replace(self, low=self.low + before, high=self.high - after)

    def shifted(self, places: int) -> Span:
        return replace(self, low=self.low + places * self.jump, high=self.high + places * self.jump)


@dataclass(frozen=True)
class Trace:
    """Description of a tensor that depends on the image: the meaning of its axes, and receptive fields.

    axes    labels of the axes; None after an operation that could not be followed
    spans   receptive fields along h and w
    local   False once a place may see the whole image: then only `jump` of the spans counts
    pooled  True after a normalisation by the image's own statistics, which makes each place depend a little on all; the
            spans do not count this
    """

    axes: Axes | None
    spans: tuple[Span, Span]
    local: bool = True
    pooled: bool = False

    @property
    def receptive_field(self) -> int | None:
        """Side of the receptive field in px, the larger of h and w; None if it is the whole image or not a whole number."""
        return _whole(max(span.high - span.low for span in self.spans) + 1) if self.local else None

    @property
    def stride(self) -> int | None:
        return _whole(max(span.jump for span in self.spans))


def margins(trace: Trace, inner: Trace) -> Margins:
    """Returns by how many pixels the receptive field of `inner` is smaller than that of `trace`: (top, bottom, left, right)."""
    (h, w), (own_h, own_w) = trace.spans, inner.spans
    return own_h.low - h.low, h.high - own_h.high, own_w.low - w.low, w.high - own_w.high


def _whole(value: Fraction) -> int | None:
    return int(value) if value.denominator == 1 else None


def pair(spans: Iterable[Span]) -> tuple[Span, Span]:
    """Returns two spans, along h and w, as a tuple."""
    h, w = spans
    return h, w


def spread(trace: Trace) -> Trace:
    """Returns the trace with `local` False: each place may see the whole image."""
    return replace(trace, local=False)


def coarsened(trace: Trace) -> Trace:
    """Returns the trace as that of a coarser map, if places were moved into channels (patch merging); else unchanged."""
    parts = trace.axes or ()
    places = [atom for part in parts if role(part) != "c" for atom in part if atom.label in "hw"]
    steps = {atom.label: atom.step for atom in places}
    if len(steps) < len(places) or all(step == 1 for step in steps.values()):  # no coarser map: whole, or cut into windows
        return trace
    inner = {label for part in parts if role(part) == "c" for label in labels(part)}
    spans = pair(
        span.kernel(steps.get(label, 1) if label in inner else 1, steps.get(label, 1))
        for span, label in zip(trace.spans, "hw", strict=True)
    )
    axes = tuple(
        axis("c", places_of(part)) if role(part) == "c" else tuple(replace(atom, step=1) for atom in part) for part in parts
    )
    return replace(trace, axes=axes, spans=spans)


def places_of(part: Axis) -> int:
    """Returns the size of an axis: the product of the sizes of its factors."""
    return prod(atom.size for atom in part)


def broadcast(traced: Sequence[tuple[Trace, torch.Size]], shape: torch.Size) -> Trace:
    """Returns the trace of an element-wise operation on several tensors: the union of their fields.

    If a tensor with fewer spatial axes takes part, such as a gate computed from the whole image, places see the whole image.
    """
    if any(trace.axes is None for trace, _ in traced):
        same = [trace for trace, size in traced if trace.axes and size == shape]
        return spread(same[0] if same else replace(traced[0][0], axes=None))
    aligned = [((),) * (len(shape) - len(trace.axes)) + trace.axes for trace, _ in traced if trace.axes is not None]
    axes = tuple(_best(parts, size) for parts, size in zip(zip(*aligned, strict=True), shape, strict=True))
    axes = axes if len(traced) == 1 else without_insets(axes)
    places = [{label for part in own for label in labels(part)} & {"h", "w"} for own in aligned]
    main = traced[max(range(len(traced)), key=lambda i: len(places[i]))][0]
    spans, local = main.spans, True
    for (trace, _), own in zip(traced, places, strict=True):
        same_jump = all(a.jump == b.jump for a, b in zip(trace.spans, spans, strict=True))
        local &= trace.local and same_jump and own == set().union(*places)
        spans = pair(a.joined(b) for a, b in zip(spans, trace.spans, strict=True))
    return Trace(axes, spans, local)


def _best(parts: Sequence[Axis], size: int) -> Axis:
    fitting = [part for part in parts if part and places_of(part) == size]
    return next((part for part in fitting if "?" not in labels(part)), fitting[0] if fitting else axis("?", size))


@dataclass(frozen=True, eq=False)
class TracedStep(Call):
    """One executed operation with what the rule for its kind needs to trace it.

    traced   (trace, shape) of each argument that depends on the image
    outputs  tensors that the operation returned
    find     returns the trace of an argument, None if it does not depend on the image
    note     records the kind of the operation
    """

    traced: Sequence[tuple[Trace, torch.Size]]
    outputs: Sequence[Tensor]
    find: Callable[[Any], Trace | None]
    note: Callable[[str], None]

    @property
    def trace(self) -> Trace:
        """Trace of the first argument that depends on the image."""
        return self.traced[0][0]

    def pair(self, position: int, name: str, default: Any) -> tuple[Any, Any]:
        """Returns an argument as a pair for h and w, also where it is one number for both."""
        value = self.get(position, name, default)
        value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        return value if len(value) == 2 else (value[0], value[0])

    def done(self, kind: str, trace: Trace) -> Trace:
        """Records the kind of the operation, and returns the trace."""
        self.note(kind)
        return trace


def pointwise(step: TracedStep) -> Trace:
    """Returns the trace after an element-wise operation; its kind is "join" if several arguments depend on the image."""
    kind = "join" if len({id(trace) for trace, _ in step.traced}) > 1 else "pointwise"
    return step.done(kind, broadcast(step.traced, step.outputs[0].shape))


def other(step: TracedStep) -> list[Trace]:
    """Returns the traces after an operation without a rule: a place may see the whole image.

    Axis labels are kept for outputs of the same shape as the input.
    """
    step.note("other")
    trace, shape = step.traced[0]
    return [spread(replace(trace, axes=trace.axes if out.shape == shape else None)) for out in step.outputs]
