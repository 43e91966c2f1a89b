"""Holds the rules that give the trace after each kind of operation, and the table of operations by rule.

Operations are followed as they are executed, not modules, so functional calls, residual sums and branches count. A
normalisation layer counts as element-wise; what lies after one that takes its statistics from the image itself is marked
(`Trace.pooled`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapetum.models.maps import (
    NO_MARGINS,
    Axes,
    Axis,
    Margins,
    axis,
    cut_channels,
    is_spatial,
    labels,
    more,
    role,
    token_axis,
    view_axes,
    view_start,
    without_insets,
)
from tapetum.models.operations.kinds import CASTS, COMPARISONS, COPIES, DROPOUTS, FUNCTIONS, NORMALISATIONS, SUMS, VIEWS, words
from tapetum.models.operations.nested import tensors
from tapetum.models.tracing.receptive import Trace, TracedStep, broadcast, coarsened, margins, other, pointwise, spread
from tapetum.models.tracing.windows import (
    adaptive_pooling,
    convolution,
    interpolation,
    padding,
    pooling,
    reduction,
    transposed_convolution,
    unfolding,
)


def _identity(step: TracedStep) -> Trace:
    return step.done("identity", step.trace)


def pools_statistics(step: TracedStep) -> bool:
    """Checks whether the operation normalises by the mean and variance of the image's own places."""
    if step.name == "layer_norm":
        axes, over = step.trace.axes, len(step.get(1, "normalized_shape"))
        return axes is not None and any(is_spatial(part) for part in axes[-over:])
    if step.name == "batch_norm":
        return bool(step.get(5, "training", False))
    return step.name == "group_norm" or (step.name == "instance_norm" and bool(step.get(5, "use_input_stats", True)))


def _softmax(step: TracedStep) -> Trace:
    axes, dim = step.trace.axes, step.get(1, "dim", -1)
    if axes is None or dim is None or is_spatial(axes[dim]):
        return step.done("other", spread(step.trace))
    return step.done("pointwise", replace(step.trace, axes=without_insets(axes)))


def _view(step: TracedStep) -> list[Trace]:
    """Returns the traces after a view or reshape: the same call on a contiguous meta tensor shows where each axis went."""
    step.note("view")
    index = step.get(1, "")
    parts = index if isinstance(index, tuple) else (index,)
    trace, shape = step.traced[0]
    if trace.axes is None or (step.name == "getitem" and any(isinstance(part, (Tensor, list)) for part in parts)):
        return [spread(replace(trace, axes=None))] * len(step.outputs)
    stand_in = torch.empty(shape, device="meta")
    views = list(tensors(step.function(stand_in, *step.args[1:], **step.kwargs)))
    return [_viewed(step, trace, trace.axes, view) for view in views]


def _viewed(step: TracedStep, trace: Trace, before: Axes, view: Tensor) -> Trace:
    offset = int(view.storage_offset())
    axes, (top, bottom, left, right) = cut_channels(before, view_axes(before, view), offset)
    h, w = (span.shifted(view_start(before, offset, label)) for span, label in zip(trace.spans, "hw", strict=True))
    spans = h.inset(top, bottom), w.inset(left, right)
    tokens = next((atom for part in before for atom in part if atom.label == "t"), None)
    if tokens and not any(is_spatial(part) for part in axes) and view_start(before, offset, "t") < tokens.prefix:
        step.note("prefix")
    return Trace(axes, spans, trace.local)


class _JoinedPart(NamedTuple):
    """One tensor in a concatenation: its trace, the labels of its joined axis, and its size along that axis."""

    trace: Trace | None
    axis: Axis
    size: int


def _cat(step: TracedStep) -> Trace:
    """Returns the trace after a concatenation: of channels, of class tokens and patches, or of places."""
    dim = step.get(1, "dim", 0) % step.outputs[0].ndim
    parts = [_part(step.find(tensor), tensor.shape[dim], dim) for tensor in step.get(0, "tensors")]
    if any(part.trace and part.trace.axes is None for part in parts):
        return other(step)[0]
    rest = [(replace(trace, axes=_with_axis(trace.axes, dim, ())), shape) for trace, shape in step.traced]
    whole = _cat_axis(parts)
    if any(is_spatial(part.axis) for part in parts):
        joined = _places_joined([trace for trace, _ in rest], parts)
    else:
        joined = broadcast(rest, torch.Size(1 if i == dim else size for i, size in enumerate(step.outputs[0].shape)))
        whole = _with_insets(whole, joined, parts)
    kind = "join" if len(rest) > 1 else "pointwise"
    return step.done(kind, replace(joined, axes=_with_axis(joined.axes, dim, whole)))


def _part(trace: Trace | None, size: int, dim: int) -> _JoinedPart:
    return _JoinedPart(trace, trace.axes[dim] if trace and trace.axes else axis("?", size), size)


def _with_axis(axes: Axes | None, dim: int, one: Axis) -> Axes:
    return tuple(one if i == dim else part for i, part in enumerate(axes or ()))


def _places_joined(rest: Sequence[Trace], parts: Sequence[_JoinedPart]) -> Trace:
    """Returns the trace of tensors joined along an axis of places, with the field of the first tensor that has places there.

    If several of the tensors depend on the image, each place may see the whole image.
    """
    main = next((trace for trace in rest if any(map(is_spatial, trace.axes or ()))), rest[0])
    holder = next(part.trace for part in parts if part.trace and is_spatial(part.axis))
    return replace(main, spans=holder.spans, local=len(rest) == 1 and holder.local)


def _with_insets(whole: Axis, joined: Trace, parts: Sequence[_JoinedPart]) -> Axis:
    """Returns the axis of concatenated channels with insets: by how much each channel's field is smaller than the union."""
    if role(whole) != "c" or len(whole) != 1 or not joined.local:
        return whole
    insets: list[tuple[int, Margins]] = []
    for part in parts:
        outer = NO_MARGINS if part.trace is None else margins(joined, part.trace)
        own = part.axis[0].insets if len(part.axis) == 1 and part.axis[0].insets else ((part.size, NO_MARGINS),)
        insets += [(count, more(outer, inner)) for count, inner in own]
    return (replace(whole[0], insets=tuple(insets)),) if any(any(one) for _, one in insets) else whole


def _cat_axis(parts: Sequence[_JoinedPart]) -> Axis:
    """Returns the joined axis of a concatenation: tokens before patches become their prefix, channels stay channels."""
    total = sum(part.size for part in parts)
    spatial = [i for i, part in enumerate(parts) if is_spatial(part.axis)]
    if not spatial:
        return axis("c" if any("c" in labels(part.axis) for part in parts) else "?", total)
    kinds = {role(parts[i].axis) for i in spatial}
    if kinds in ({"h"}, {"w"}, {"c"}):
        return axis(kinds.pop(), total)
    if kinds != {"t"} or spatial != [len(parts) - 1]:
        return axis("?", total)
    first, *others = parts[-1].axis
    before = total - parts[-1].size
    return token_axis(before + first.prefix, first.grid if first.label == "t" else (first.size, others[0].size))


def _linear(step: TracedStep) -> Trace:
    """Returns the trace after a linear layer: over channels it acts as a 1 x 1 convolution, over places it mixes all places."""
    trace, out = coarsened(step.trace), step.outputs[0]
    if trace.axes is None:
        return step.done("mix", spread(trace))
    last = trace.axes[-1]
    mixes = is_spatial(last)
    keeps = "c" in labels(last) or not mixes
    axes = (*trace.axes[:-1], axis("c" if keeps else "?", out.shape[-1]))
    return step.done("mix" if mixes else "channel", Trace(axes, trace.spans, trace.local and not mixes))


def _matmul(step: TracedStep) -> Trace:
    """Returns the trace after (..., i, j) @ (..., j, k): axis i keeps its places; if j has places, the sum mixes them."""
    left, right = (step.find(tensor) for tensor in step.tensors[:2])
    if left is None or left.axes is None:
        return step.done("mix", spread(replace(step.trace, axes=None)))
    if right is None:
        mixes = is_spatial(left.axes[-1])
        axes = (*left.axes[:-1], axis("?" if mixes else "c", step.outputs[0].shape[-1]))
        return step.done("mix" if mixes else "channel", replace(left, axes=axes, local=left.local and not mixes))
    if right.axes is None or step.outputs[0].ndim != len(left.axes):
        return step.done("mix", spread(replace(left, axes=None)))
    mixes = is_spatial(left.axes[-1]) or is_spatial(right.axes[-2])
    return step.done("mix" if mixes else "join", spread(replace(left, axes=(*left.axes[:-1], right.axes[-1]))))


def _einsum(step: TracedStep) -> Trace:
    """Returns the trace after an einsum: each letter has an axis label; a sum over a letter with places mixes all places."""
    equation = step.args[0].replace(" ", "")
    inputs, result = equation.split("->")
    letters: dict[str, Axis] = {}
    for term, tensor in zip(inputs.split(","), step.tensors, strict=True):
        trace = step.find(tensor)
        if trace and trace.axes and len(trace.axes) == len(term):
            for letter, part in zip(term, trace.axes, strict=True):
                letters[letter] = letters.get(letter) or part
    missing = any(trace.axes is None for trace, _ in step.traced) or "." in equation
    axes = None if missing else tuple(
        letters.get(letter, axis("c", size)) for letter, size in zip(result, step.outputs[0].shape, strict=True)
    )  # fmt: skip
    mixes = any(is_spatial(part) for letter, part in letters.items() if letter not in result)
    local = not mixes and len(step.traced) == 1 and step.trace.local
    return step.done("mix" if mixes or missing else "channel", replace(step.trace, axes=axes, local=local))


def _attention(step: TracedStep) -> Trace | list[Trace]:
    """Returns the traces after attention (scaled dot product, multi-head): the queries' places, each sees all keys' places."""
    query, value = step.find(step.get(0, "query")), step.find(step.get(2, "value"))
    known = query or value
    if known is None:
        return other(step)
    seen = spread(replace(known, axes=query.axes if query else None))
    if query and query.axes and value and value.axes and len(step.outputs) == 1:
        seen = replace(seen, axes=(*query.axes[:-1], value.axes[-1]))
    rest = [spread(replace(seen, axes=None))] * (len(step.outputs) - 1)
    return [step.done("mix", seen), *rest]


def _roll(step: TracedStep) -> Trace:
    return step.done("other", spread(step.trace))


_RULES: dict[Callable[[TracedStep], Any], Iterable[str]] = {
    _identity: COPIES | CASTS | DROPOUTS | words("requires_grad data"),
    pointwise: FUNCTIONS | SUMS | COMPARISONS | NORMALISATIONS | words(
        """neg positive mul div floor_divide rfloor_divide remainder where masked_fill maximum minimum lerp addcmul addcdiv
        batch_norm local_response_norm normalize"""
    ),
    _view: VIEWS,
    _softmax: words("softmax log_softmax softmin"),
    _cat: words("cat"),  # no other of JOINS: they make a new axis, or choose it by the number of axes
    _linear: words("linear"),
    convolution: words("conv1d conv2d conv3d"),
    transposed_convolution: words("conv_transpose2d"),
    pooling: words("max_pool2d avg_pool2d max_pool2d_with_indices"),
    adaptive_pooling: words("adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_indices"),
    reduction: words("mean sum amax amin max min logsumexp std var"),
    interpolation: words("interpolate upsample"),
    padding: words("pad"),
    unfolding: words("unfold"),
    _matmul: words("matmul mm bmm"),
    _einsum: words("einsum"),
    _attention: words("scaled_dot_product_attention multi_head_attention_forward"),
    _roll: words("roll"),
}  # fmt: skip
RULES: dict[str, Callable[[TracedStep], Any]] = {name: rule for rule, names in _RULES.items() for name in names}
