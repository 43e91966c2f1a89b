"""Attention weights of any transformer, without configuration, however the network computes attention.

    with attention_weights() as found:
        values = score(images)
    found.used[0].weights                    # (n, heads, queries, keys) of the first attention
    gradients(values, found.used)            # d values / d weights, a tensor per attention

A torch function mode follows operations, and takes a softmax whose result is multiplied with something for an attention.
`scaled_dot_product_attention` is replaced by the softmax and the product that it computes, and `multi_head_attention_forward`
runs so that the operations inside are seen; torch's native fast path, which uses neither, is off while a mode is active. The
network's answer stays the same.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.engines.gradients import graph_nodes
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import CASTS, DROPOUTS, MATRIX_PRODUCTS, RESHAPES
from tapetum.types import TargetError
from tapetum.types.refusals import NO_GRADIENT

PASSING = DROPOUTS | CASTS | RESHAPES | {"contiguous", "clone"}
"""Operations that may lie between a softmax and its product; in evaluation mode they keep the weights and their order."""


@dataclass(eq=False)
class Attention:
    """One attention operation of a forward pass.

    raw    output of the softmax as the network computed it, part of the graph
    used   whether it has been multiplied with something
    n      number of images
    """

    raw: Tensor
    used: bool = False
    n: int = 0

    @property
    def weights(self) -> Tensor:
        """Attention weights (n, heads, queries, keys), detached from the graph."""
        return self.by_head(self.raw.detach())

    def by_head(self, tensor: Tensor) -> Tensor:
        """Returns a tensor in the shape of `raw` with all four axes, (n, heads, queries, keys); `raw` may lack one of the first
        two.
        """
        return tensor.view(self.n, -1, *tensor.shape[-2:])


@dataclass(eq=False)
class Found:
    """Attention operations of a forward pass.

    seen       every softmax over the last of three or more axes
    used       the ones that were multiplied with something, in the order of the products: the attentions
    softmaxes  {tensor: the softmax whose values it holds, maybe in another shape or type}
    """

    seen: list[Attention] = field(default_factory=list)
    used: list[Attention] = field(default_factory=list)
    softmaxes: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)


@contextlib.contextmanager
def attention_weights(*, cut: bool = False, inside: Callable[[Attention], None] | None = None) -> Iterator[Found]:
    """Records every attention of the passes inside the block.

    cut      attention weights become leaves of the graph, so no gradient flows back beyond them
    inside   called with each attention when its weights are multiplied with something
    """
    found = Found()
    with _AttentionWatch(found, cut, inside):
        yield found


class _AttentionWatch(Following):
    def __init__(self, found: Found, cut: bool, inside: Callable[[Attention], None] | None) -> None:
        super().__init__()
        self.found, self.cut, self.inside = found, cut, inside

    def on(self, call: Call) -> Any:
        if call.name == "scaled_dot_product_attention":
            with self:
                return attend(*call.args, **call.kwargs)
        if call.name == "multi_head_attention_forward":
            with self:
                return entered(call.function)(*call.args, **call.kwargs)
        attention = self.found.softmaxes.get(call.main) if isinstance(call.main, Tensor) else None
        if call.name in MATRIX_PRODUCTS:
            self._multiplied(attention or self._operand(call.args))
        output = call()
        if call.name == "softmax" and output.ndim > 2 and call.get(1, "dim") in (-1, output.ndim - 1):
            return self._softmax(output)
        if attention is not None and call.name in PASSING and isinstance(output, Tensor):
            self.found.softmaxes[output] = attention
        return output

    def _softmax(self, output: Tensor) -> Tensor:
        if self.cut:
            output = output.detach()
        if torch.is_grad_enabled() and not output.requires_grad:
            output.requires_grad_()
        self.found.softmaxes[output] = attention = Attention(output)
        self.found.seen.append(attention)
        return output

    def _operand(self, args: tuple[Any, ...]) -> Attention | None:
        """Finds the attention among the operands of an einsum; None if there is none."""
        operands = args[1:] if args and isinstance(args[0], str) else ()
        operands = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
        return next((one for one in map(self.found.softmaxes.get, operands) if one is not None), None)

    def _multiplied(self, attention: Attention | None) -> None:
        if attention is None or attention.used:
            return
        attention.used = True
        self.found.used.append(attention)
        if self.inside is not None:
            self.inside(attention)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Computes `scaled_dot_product_attention` step by step, by the formula in torch's documentation."""
    if enable_gqa:
        key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
    logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    return F.dropout(logits.softmax(-1), dropout_p) @ value


def entered(function: Any) -> Callable[..., Any]:
    """Returns a copy of a torch function whose inner calls a function mode sees; the original would be one call to the mode."""
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**function.__globals__, **dict.fromkeys(checks, lambda *_: False)}
    twin = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def gradients(values: Tensor, attentions: Sequence[Attention]) -> list[Tensor]:
    """Returns d values.sum() / d weights for each attention, (n, heads, queries, keys); zeros where
    values do not depend on it.
    """
    if not values.requires_grad:
        raise TargetError(NO_GRADIENT)
    raw = [one.raw for one in attentions]
    grads = torch.autograd.grad(values, raw, torch.ones_like(values), allow_unused=True)
    return [a.by_head(torch.zeros_like(a.raw) if grad is None else grad) for a, grad in zip(attentions, grads, strict=True)]


def heard(values: Tensor, attentions: Sequence[Attention]) -> list[Attention]:
    """Returns the attentions on which the values depend; SigLIP's classifiers, for one, run attention pooling but ignore its
    result.
    """
    if not values.requires_grad:
        return list(attentions)  # `gradients` raises the error
    return [one for one in attentions if _reaches(values, one.raw)]


def in_sequence(attentions: Sequence[Attention]) -> bool:
    """Checks in the graph whether each attention depends on the one before, which two parallel ones in one block do not."""
    return all(_reaches(later.raw, earlier.raw) for earlier, later in itertools.pairwise(attentions))


def _reaches(tensor: Tensor, wanted: Tensor) -> bool:
    return any(node is wanted.grad_fn or getattr(node, "variable", None) is wanted for node in graph_nodes(tensor))
