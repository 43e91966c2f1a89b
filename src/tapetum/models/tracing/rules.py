"""What each operation does to places: one rule a kind of operation, and the table of the operations that have one.

Followed are executed operations rather than modules, so functional calls, residual sums and branches count. The
statistics of normalisation layers do not: such a layer is element-wise, and what lies behind one that takes them from the
image itself is marked (`Trace.pooled`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

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
from tapetum.models.tracing.receptive import Call, Trace, broadcast, margins, other, pointwise, settled, spread
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


def tensors_in(tree: Any) -> Iterable[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from tensors_in(branch)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))


def _identity(call: Call) -> Trace:
    return call.done("identity", call.main)


def pools_statistics(call: Call) -> bool:
    """Whether the operation normalises by the mean and variance of the image's own places."""
    if call.name == "layer_norm":
        axes, over = call.main.axes, len(call.get(1, "normalized_shape"))
        return axes is not None and any(is_spatial(part) for part in axes[-over:])
    if call.name == "batch_norm":
        return bool(call.get(5, "training", False))
    return call.name == "group_norm" or (call.name == "instance_norm" and bool(call.get(5, "use_input_stats", True)))


def _softmax(call: Call) -> Trace:
    axes, dim = call.main.axes, call.get(1, "dim", -1)
    if axes is None or dim is None or is_spatial(axes[dim]):
        return call.done("other", spread(call.main))
    return call.done("pointwise", replace(call.main, axes=without_insets(axes)))


def _view(call: Call) -> list[Trace]:
    """Every view and reshape: the same call on a contiguous stand-in shows where each axis went."""
    call.note("view")
    index = call.get(1, "")
    parts = index if isinstance(index, tuple) else (index,)
    trace, shape = call.traced[0]
    if trace.axes is None or (call.name == "getitem" and any(isinstance(part, (Tensor, list)) for part in parts)):
        return [spread(replace(trace, axes=None))] * len(call.outputs)
    stand_in = torch.empty(shape, device="meta")
    views = list(tensors_in(call.func(stand_in, *call.args[1:], **call.kwargs)))
    return [_viewed(call, trace, trace.axes, view) for view in views]


def _viewed(call: Call, trace: Trace, before: Axes, view: Tensor) -> Trace:
    offset = int(view.storage_offset())
    axes, (top, bottom, left, right) = cut_channels(before, view_axes(before, view), offset)
    h, w = (span.shifted(view_start(before, offset, label)) for span, label in zip(trace.spans, "hw", strict=True))
    spans = h.inset(top, bottom), w.inset(left, right)
    tokens = next((atom for part in before for atom in part if atom.label == "t"), None)
    if tokens and not any(is_spatial(part) for part in axes) and view_start(before, offset, "t") < tokens.prefix:
        call.note("prefix")
    return Trace(axes, spans, trace.local)


def _cat(call: Call) -> Trace:
    tensors = call.args[0] if call.args else call.kwargs["tensors"]
    dim = call.get(1, "dim", 0) % call.outputs[0].ndim
    traces = [call.find(tensor) for tensor in tensors]
    if any(trace and trace.axes is None for trace in traces):
        return other(call)[0]
    parts = [(trace.axes[dim] if trace and trace.axes else axis("?", tensor.shape[dim]), tensor.shape[dim])
             for trace, tensor in zip(traces, tensors, strict=True)]  # fmt: skip
    whole = _cat_axis(parts)
    same = [(replace(trace, axes=_without(trace.axes or (), dim)), shape) for trace, shape in call.traced]
    main = next((item for item in same if any(is_spatial(part) for part in item[0].axes or ())), same[0])
    shape = torch.Size(1 if i == dim else size for i, size in enumerate(call.outputs[0].shape))
    if any(is_spatial(part) for part, _ in parts):  # prefix tokens, or places side by side
        holder = next(trace for trace, (part, _) in zip(traces, parts, strict=True) if trace and is_spatial(part))
        joined = replace(main[0], spans=holder.spans, local=all(trace.local for trace in traces if trace))
        joined = joined if len(call.traced) == 1 else spread(joined)
    else:
        joined = broadcast(same, shape)
        whole = _with_insets(whole, joined, parts, traces)
    axes = tuple(whole if i == dim else part for i, part in enumerate(joined.axes or ()))
    return call.done("join" if len(call.traced) > 1 else "pointwise", replace(joined, axes=axes))


def _with_insets(whole: Axis, joined: Trace, parts: Sequence[tuple[Axis, int]], traces: Sequence[Trace | None]) -> Axis:
    """What each of the channels put side by side sees alone."""
    if role(whole) != "c" or len(whole) != 1 or not joined.local:
        return whole
    insets: list[tuple[int, Margins]] = []
    for trace, (part, size) in zip(traces, parts, strict=True):
        outer = NO_MARGINS if trace is None else margins(joined, trace)
        own = part[0].insets if len(part) == 1 and part[0].insets else ((size, NO_MARGINS),)
        insets += [(count, more(outer, inner)) for count, inner in own]
    return (replace(whole[0], insets=tuple(insets)),) if any(any(one) for _, one in insets) else whole


def _without(axes: Axes, dim: int) -> Axes:
    return tuple(() if i == dim else part for i, part in enumerate(axes))


def _cat_axis(parts: Sequence[tuple[Axis, int]]) -> Axis:
    """Tokens put before places become their prefix; channels beside channels are channels."""
    total = sum(size for _, size in parts)
    spatial = [i for i, (part, _) in enumerate(parts) if is_spatial(part)]
    if not spatial:
        return axis("c", total) if any("c" in labels(part) for part, _ in parts) else axis("?", total)
    kinds = {role(parts[i][0]) for i in spatial}
    if kinds in ({"h"}, {"w"}):
        return axis(kinds.pop(), total)
    if kinds == {"c"}:
        return axis("c", total)
    part, before = parts[spatial[0]][0], sum(size for _, size in parts[: spatial[0]])
    if len(spatial) > 1 or kinds != {"t"} or spatial[0] != len(parts) - 1:
        return axis("?", total)
    first = part[0]
    return token_axis(before + first.prefix, first.grid if first.label == "t" else (part[0].size, part[1].size))


def _linear(call: Call) -> Trace:
    """Over channels it is a 1 x 1 convolution; over places it mixes them."""
    trace, out = settled(call.main), call.outputs[0]
    if trace.axes is None:
        return call.done("mix", spread(trace))
    last = trace.axes[-1]
    mixes = is_spatial(last)
    keeps = "c" in labels(last) or not mixes
    axes = (*trace.axes[:-1], axis("c" if keeps else "?", out.shape[-1]))
    return call.done("mix" if mixes else "channel", Trace(axes, trace.spans, trace.local and not mixes))


def _matmul(call: Call) -> Trace:
    """(..., i, j) @ (..., j, k): the places of i stay; a sum over places mixes them."""
    left, right = (call.find(tensor) for tensor in call.tensors[:2])
    if left is None or left.axes is None:
        return call.done("mix", spread(replace(call.main, axes=None)))
    if right is None:
        mixes = is_spatial(left.axes[-1])
        axes = (*left.axes[:-1], axis("?" if mixes else "c", call.outputs[0].shape[-1]))
        return call.done("mix" if mixes else "channel", replace(left, axes=axes, local=left.local and not mixes))
    if right.axes is None or call.outputs[0].ndim != len(left.axes):
        return call.done("mix", spread(replace(left, axes=None)))
    mixes = is_spatial(left.axes[-1]) or is_spatial(right.axes[-2])
    return call.done("mix" if mixes else "join", spread(replace(left, axes=(*left.axes[:-1], right.axes[-1]))))


def _einsum(call: Call) -> Trace:
    """Each letter carries its label; a letter that is summed away and runs over places mixes them."""
    equation = call.args[0].replace(" ", "")
    inputs, result = equation.split("->")
    letters: dict[str, Axis] = {}
    for term, tensor in zip(inputs.split(","), call.tensors, strict=True):
        trace = call.find(tensor)
        if trace and trace.axes and len(trace.axes) == len(term):
            for letter, part in zip(term, trace.axes, strict=True):
                letters[letter] = letters.get(letter) or part
    missing = any(trace.axes is None for trace, _ in call.traced) or "." in equation
    axes = None if missing else tuple(
        letters.get(letter, axis("c", size)) for letter, size in zip(result, call.outputs[0].shape, strict=True)
    )  # fmt: skip
    mixes = any(is_spatial(part) for letter, part in letters.items() if letter not in result)
    local = not mixes and len(call.traced) == 1 and call.main.local
    return call.done("mix" if mixes or missing else "channel", replace(call.main, axes=axes, local=local))


def _attention(call: Call) -> Trace | list[Trace]:
    """Scaled dot product or multi-head attention: the queries' places, each of which sees all keys'."""
    query, value = call.find(call.get(0, "query")), call.find(call.get(2, "value"))
    known = query or value
    if known is None:
        return other(call)
    seen = spread(replace(known, axes=query.axes if query else None))
    if query and query.axes and value and value.axes and len(call.outputs) == 1:
        seen = replace(seen, axes=(*query.axes[:-1], value.axes[-1]))
    rest = [spread(replace(seen, axes=None))] * (len(call.outputs) - 1)
    return [call.done("mix", seen), *rest]


def _roll(call: Call) -> Trace:
    return call.done("other", spread(call.main))


_GROUPS: dict[Callable, str] = {
    _identity: """
        dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout contiguous clone to detach float half double
        bfloat16 type_as requires_grad data""",
    pointwise: """
        relu relu6 gelu silu sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu selu celu mish softplus softsign
        prelu rrelu logsigmoid threshold hardshrink softshrink exp log log1p sqrt rsqrt pow square abs neg sin cos erf
        sign round floor reciprocal clamp clamp_min clamp_max add sub mul div truediv rsub where masked_fill maximum
        minimum lerp addcmul addcdiv batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm
        normalize""",
    _view: """
        permute transpose swapaxes swapdims movedim moveaxis t T mT view view_as reshape reshape_as flatten unflatten
        squeeze unsqueeze select narrow chunk split split_with_sizes tensor_split unbind getitem expand expand_as
        ravel""",
    _softmax: "softmax log_softmax softmin",
    _cat: "cat concat concatenate",
    _linear: "linear",
    convolution: "conv1d conv2d conv3d",
    transposed_convolution: "conv_transpose2d",
    pooling: "max_pool2d avg_pool2d max_pool2d_with_indices",
    adaptive_pooling: "adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_indices",
    reduction: "mean sum amax amin max min logsumexp std var",
    interpolation: "interpolate upsample",
    padding: "pad",
    unfolding: "unfold",
    _matmul: "matmul bmm",
    _einsum: "einsum",
    _attention: "scaled_dot_product_attention multi_head_attention_forward",
    _roll: "roll",
}
RULES: dict[str, Callable[[Call], Any]] = {name: rule for rule, names in _GROUPS.items() for name in names.split()}
