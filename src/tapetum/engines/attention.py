"""Attention weights of any transformer, without configuration: it does not matter how the network spells attention.

    with attention_weights() as found:
        values = score(images)
    found.used[0].weights                    # (n, heads, queries, keys) of the first attention
    gradients(values, found.used)            # d values / d weights, one such tensor each

A torch function mode follows operations: `scaled_dot_product_attention` is computed as the softmax and the product that it
stands for, `multi_head_attention_forward` is entered (and torch's native fast path, which calls neither, is off while a
mode is active), and a softmax whose result multiplies something is an attention. The network's answer stays the same.
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
from tapetum.models.operations.tables import CASTS, DROPOUTS, MATRIX_PRODUCTS, RESHAPES
from tapetum.types import TargetError
from tapetum.types.refusals import NO_GRADIENT

PASSING = DROPOUTS | CASTS | RESHAPES | {"contiguous", "clone"}
"""Operations that may lie between a softmax and its product: in evaluation mode its weights, in the same order."""


@dataclass(eq=False)
class Attention:
    """One attention of one pass: `raw` is the softmax as the network computed it, a node of the graph."""

    raw: Tensor
    used: bool = False
    n: int = 0

    @property
    def weights(self) -> Tensor:
        """(n, heads, queries, keys), without a graph."""
        return self.by_head(self.raw.detach())

    def by_head(self, tensor: Tensor) -> Tensor:
        """A tensor of the shape of `raw`, (n, heads, q, k), (n, q, k) or (heads, q, k) of one image, with all four axes."""
        return tensor.view(self.n, -1, *tensor.shape[-2:])


@dataclass(eq=False)
class Found:
    """Attentions of a pass.

    seen       every softmax over the last of three or more axes
    used       those that multiply something, in that order: the attentions
    softmaxes  the softmax that a tensor is, or holds in another shape or type
    """

    seen: list[Attention] = field(default_factory=list)
    used: list[Attention] = field(default_factory=list)
    softmaxes: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)


@contextlib.contextmanager
def attention_weights(*, cut: bool = False, inside: Callable[[Attention], None] | None = None) -> Iterator[Found]:
    """Inside the block every attention is noted. `cut`: weights become leaves, so nothing flows back behind them."""
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
        """The attention among the operands of an einsum, which follow its equation."""
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
    """Computes `scaled_dot_product_attention` as its documentation spells it out."""
    if enable_gqa:
        key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
    logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    return F.dropout(logits.softmax(-1), dropout_p) @ value


def entered(function: Any) -> Callable[..., Any]:
    """Copy of a function whose inner calls a mode sees; the function itself would go to the mode as a whole."""
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**function.__globals__, **dict.fromkeys(checks, lambda *_: False)}
    twin = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def gradients(values: Tensor, attentions: Sequence[Attention]) -> list[Tensor]:
    """d values.sum() / d weights of each attention, (n, heads, queries, keys)."""
    if not values.requires_grad:
        raise TargetError(NO_GRADIENT)
    raw = [one.raw for one in attentions]
    grads = torch.autograd.grad(values, raw, torch.ones_like(values), allow_unused=True)
    return [
        one.by_head(torch.zeros_like(one.raw) if grad is None else grad) for one, grad in zip(attentions, grads, strict=True)
    ]


def heard(values: Tensor, attentions: Sequence[Attention]) -> list[Attention]:
    """Attentions on which the values depend: SigLIP's classifiers run a pooling by attention whose answer nobody reads."""
    if not values.requires_grad:
        return list(attentions)  # `gradients` says what is missing
    return [one for one in attentions if _reaches(values, one.raw)]


def in_sequence(attentions: Sequence[Attention]) -> bool:
    """Whether each attention depends on the one before, as the graph shows: not so for two side by side in one block."""
    return all(_reaches(later.raw, earlier.raw) for earlier, later in itertools.pairwise(attentions))


def _reaches(tensor: Tensor, wanted: Tensor) -> bool:
    return any(node is wanted.grad_fn or getattr(node, "variable", None) is wanted for node in graph_nodes(tensor))
