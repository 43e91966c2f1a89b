"""Holds the rules for the trace after operations with a window: convolution, pooling, resizing, padding, reduction.

A place at the border is treated as one in the middle, as if the image went on where it is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

from torch import Tensor

from tapetum.models.maps import Atom, Axes, Axis, axis, is_spatial, labels, role
from tapetum.models.tracing.receptive import Span, Trace, TracedStep, coarsened, other, pair, places_of, pointwise, spread


def convolution(step: TracedStep) -> Trace:
    trace, out, weight = coarsened(step.trace), step.outputs[0], step.get(1, "weight")
    if _map_axes(trace, out.ndim) is None:
        return _over_tokens(step, trace, weight.shape[2:])
    sizes, dilation = weight.shape[2:], step.pair(5, "dilation", 1)
    padding = step.get(4, "padding", 0)
    before = step.pair(4, "padding", 0)
    if isinstance(padding, str):
        before = [(size - 1) * d // 2 if padding == "same" else 0 for size, d in zip(sizes, dilation, strict=True)]
    spans = _through(trace, sizes, step.pair(3, "stride", 1), before, dilation)
    return step.done("mix" if max(sizes) > 1 else "channel", Trace(_new_map(out), spans, trace.local))


def _through(trace: Trace, *window: Sequence[int]) -> tuple[Span, Span]:
    """Returns the fields after a window along h and w.

    window: sizes, strides, paddings in front, and dilations, each for h and w.
    """
    return pair(span.kernel(*along) for span, *along in zip(trace.spans, *window, strict=True))


def _over_tokens(step: TracedStep, trace: Trace, sizes: Sequence[int]) -> Trace:
    """Returns the trace after a convolution over anything but a map.

    A kernel of size 1 along tokens keeps their places, and so does a convolution over maps whose places are in the batch axis.
    """
    out = step.outputs[0]
    if trace.axes and out.ndim == len(trace.axes) == 4 and not any(is_spatial(part) for part in trace.axes[1:]):
        return step.done("channel", replace(trace, axes=(trace.axes[0], *(axis("c", size) for size in out.shape[1:]))))
    if trace.axes is None or out.ndim != 3 or max(sizes) > 1 or is_spatial(trace.axes[1]):
        return step.done("mix", spread(replace(trace, axes=None)))
    return step.done("channel", replace(trace, axes=((), axis("c", out.shape[1]), trace.axes[2])))


def transposed_convolution(step: TracedStep) -> Trace:
    trace, out, weight = coarsened(step.trace), step.outputs[0], step.get(1, "weight")
    if _map_axes(trace, out.ndim) is None:
        return other(step)[0]
    spans = []
    dilations, paddings = step.pair(7, "dilation", 1), step.pair(4, "padding", 0)
    parts = zip(trace.spans, weight.shape[2:], step.pair(3, "stride", 1), paddings, dilations, strict=True)
    for span, size, stride, before, d in parts:
        reach = (size - 1) * d
        seen = ceil((reach + 1) / stride)  # input places under one output place, at the worst of its phases
        loose = span.loose + span.jump * Fraction(stride - 1, stride)
        spans.append(replace(span.kernel(seen, 1, Fraction(reach - before, stride)), jump=span.jump / stride, loose=loose))
    return step.done("mix", Trace(_new_map(out), pair(spans), trace.local))


def pooling(step: TracedStep) -> Trace:
    trace, out = coarsened(step.trace), step.outputs[0]
    axes = _map_axes(trace, out.ndim)
    if axes is None:
        return other(step)[0]
    sizes = step.pair(1, "kernel_size", 1)
    strides = step.pair(2, "stride", None)
    strides = sizes if strides[0] is None else strides
    dilation = step.pair(4, "dilation", 1) if step.name.startswith("max") else (1, 1)
    spans = _through(trace, sizes, strides, step.pair(3, "padding", 0), dilation)
    return step.done("pool", Trace(_new_map(out, axes[1]), spans, trace.local))


def adaptive_pooling(step: TracedStep) -> Trace:
    trace, out, size = coarsened(step.trace), step.outputs[0], step.traced[0][1]
    axes = _map_axes(trace, out.ndim)
    if axes is None:
        return other(step)[0]
    spans, local = [], trace.local
    for span, old, new in zip(trace.spans, size[2:], out.shape[2:], strict=True):
        local &= old % new == 0
        spans.append(replace(span.kernel(old // new), jump=span.jump * old / new))
    return step.done("pool", Trace(_new_map(out, axes[1]), pair(spans), local))


def interpolation(step: TracedStep) -> Trace:
    trace, out, size = coarsened(step.trace), step.outputs[0], step.traced[0][1]
    axes = _map_axes(trace, out.ndim)
    if axes is None:
        return other(step)[0]
    taps = {"bilinear": 2, "bicubic": 4}.get(step.get(3, "mode", "nearest"), 1)
    smooth = bool(step.get(6, "antialias", False))
    spans = pair(_resized(span, old, new, ceil(taps * old / new) if smooth and old > new else taps)
                 for span, old, new in zip(trace.spans, size[2:], out.shape[2:], strict=True))  # fmt: skip
    return step.done("pool", Trace(_new_map(out, axes[1]), spans, trace.local))


def _resized(span: Span, old: int, new: int, taps: int) -> Span:
    """Returns the field after resizing from `old` to `new` places with `taps` places read for each.

    Which places are read changes from place to place, so the field is loose by some steps of the coarser grid.
    """
    if old == new:
        return span
    ratio = Fraction(old, new)
    loose = span.loose + span.jump * (Fraction(taps, 2) + max(1, ratio))
    return replace(span.kernel(taps), jump=span.jump * ratio, loose=loose)


def unfolding(step: TracedStep) -> Trace:
    """Returns the trace after `F.unfold`, (n, c·k·k, windows): each window's values are channels, windows go row by row.

    The method `Tensor.unfold` is another operation.
    """
    trace, out, size = coarsened(step.trace), step.outputs[0], step.traced[0][1]
    if out.ndim != 3 or _map_axes(trace, len(size)) is None:
        return other(step)[0]
    sizes, dilation = step.pair(1, "kernel_size", 1), step.pair(2, "dilation", 1)
    before, strides = step.pair(3, "padding", 0), step.pair(4, "stride", 1)
    parts = zip(size[2:], sizes, strides, before, dilation, strict=True)
    counts = [(side + 2 * pad - (k - 1) * d - 1) // step + 1 for side, k, step, pad, d in parts]
    spans = _through(trace, sizes, strides, before, dilation)
    places = (*axis("h", counts[0]), *axis("w", counts[1]))
    return step.done("mix" if max(sizes) > 1 else "view", Trace(((), axis("c", out.shape[1]), places), spans, trace.local))


def padding(step: TracedStep) -> Trace:
    trace, out, pads = coarsened(step.trace), step.outputs[0], step.get(1, "pad")
    if trace.axes is None:
        return step.done("other", spread(trace))
    axes, spans = list(trace.axes), list(trace.spans)
    for place, before, after in zip(range(out.ndim - 1, -1, -1), pads[::2], pads[1::2], strict=False):
        label = role(axes[place])
        if label in ("h", "w"):
            index = "hw".index(label)
            spans[index] = spans[index].shifted(-before)
        if before or after:
            axes[place] = axis(label if label in ("h", "w", "c") else "?", out.shape[place])
    return step.done("identity", Trace(tuple(axes), pair(spans), trace.local))


def reduction(step: TracedStep) -> Trace | list[Trace]:
    """Returns the trace after a mean, sum, maximum or similar over axes; over all places, as after a kernel of map size."""
    trace, shape = step.traced[0]
    dims = step.get(1, "dim", step.kwargs.get("axis"))
    if trace.axes is None or dims is None or isinstance(dims, Tensor):
        return other(step) if len(step.traced) == 1 else pointwise(step)
    gone = {dim % len(shape) for dim in (dims if isinstance(dims, (tuple, list)) else (dims,))}
    kept = step.outputs[0].ndim == len(shape)
    axes = tuple(() if i in gone else part for i, part in enumerate(trace.axes) if kept or i not in gone)
    over = [atom for i in gone for atom in trace.axes[i]]
    reduced = Trace(axes, _reduced_spans(trace.spans, over, axes), trace.local and all(atom.label != "t" for atom in over))
    kind = "pool" if any(atom.label in "hwt" for atom in over) else "channel"
    return [step.done(kind, reduced)] * len(step.outputs)


def _reduced_spans(spans: Sequence[Span], over: Sequence[Atom], axes: Axes) -> tuple[Span, Span]:
    left = set().union(*map(labels, axes))
    return pair(
        _reduced(span, [atom for atom in over if atom.label == label], label in left)
        for span, label in zip(spans, "hw", strict=True)
    )


def _reduced(span: Span, over: Sequence[Atom], partly: bool) -> Span:
    """Returns the field after a reduction over the atoms `over` of one image axis.

    partly: whether other atoms of the axis are left; their steps then hold the stride already.
    """
    extent = sum((atom.size - 1) * atom.step for atom in over)
    return replace(span.kernel(extent + 1), jump=span.jump * (1 if partly else places_of(tuple(over))))


def _map_axes(trace: Trace, dims: int) -> Axes | None:
    """Returns the axes of a trace if it is a map (n, c, h, w) of one image, with `dims` 4; else None."""
    axes = trace.axes
    if dims != 4 or axes is None or len(axes) != 4 or axes[0]:
        return None
    return axes if role(axes[2]) in ("", "h") and role(axes[3]) in ("", "w") else None


def _new_map(out: Tensor, channels: Axis | None = None) -> Axes:
    _, c, h, w = out.shape
    return (), axis("c", c) if channels is None else channels, axis("h", h), axis("w", w)
