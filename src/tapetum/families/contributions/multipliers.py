"""Multipliers of differences (DeepLIFT): the part of a score's change from a reference that is due to each value.

The network first runs on the reference, and the inputs of its nonlinear operations are recorded. Then it runs on the image,
and each nonlinear operation is replaced by its value plus a linear map that is zero at the image and whose slope is exactly
the operation's change between the two runs, per change of its input. So the gradient of the second run is the multiplier:

    f(z), element by element     (f(z) - f(z0)) / (z - z0), and f'(z) where z = z0
    a * b, a @ b                 (b + b0) / 2 for a, (a + a0) / 2 for b
    max over a window            all of its change to the place where the larger of the two maxima was
    c * r, r a normaliser        min(r, r0) for c, and for r the c of the run whose r is larger
    softmax, normalisations      made of these

The rules are in `slopes.py`. Operations are followed, not modules: functional, reused and in-place spellings are alike. An
operation that is in none of the tables is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.attention import attend, entered
from tapetum.engines.gradients import derivative
from tapetum.engines.scores import ModelScore
from tapetum.families.contributions.slopes import Slope, slope_of
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import AVERAGES, CASTS, CONVOLUTIONS, DROPOUTS, JOINS, MATRIX_PRODUCTS, MOVES, SUMS, words
from tapetum.models.operations.names import in_place
from tapetum.models.operations.nested import tensors
from tapetum.types import MethodError

LINEAR = SUMS | AVERAGES | MOVES | JOINS | CASTS | DROPOUTS | words(
    """neg positive setitem index_select gather take_along_dim index_put index_add scatter scatter_add where masked_fill
    masked_select fill zero copy pad constant_pad_nd unfold fold tril triu diagonal cumsum atleast_1d atleast_2d atleast_3d
    requires_grad"""
)  # fmt: skip
WEIGHTED = CONVOLUTIONS | MATRIX_PRODUCTS | words("linear mul div addcmul addmm baddbmm lerp")
"""Operations that are linear if only one argument depends on the image, as usual for weights."""


def contributions(score: ModelScore, images: Tensor, baseline: Tensor) -> Tensor:
    """Returns multipliers times (image - baseline), (n, c, h, w); per image they sum to the change of the score."""
    with torch.enable_grad():
        leaf0, leaf = (one.detach().clone().requires_grad_() for one in (baseline, images))
        with Differences() as reference:
            before = score(leaf0.clone()).detach()  # clones, since networks may change their input in place
        with Differences(reference.noted):
            now = score(leaf.clone())
        values = derivative(now, leaf) * (images - baseline)
    _check(score, values, now.detach() - before)
    return values


def _check(score: ModelScore, values: Tensor, change: Tensor) -> None:
    """Refuses values that do not sum to the change of the score, as when a network decides by comparisons."""
    missing = (values.flatten(1).sum(1) - change).abs()
    tolerance = max(1e-4, 100 * torch.finfo(values.dtype).eps) * values.abs().flatten(1).sum(1)
    if (missing > tolerance).any():
        raise MethodError(
            f"{score.model.name} compares, detaches or rounds activations, so the contributions do not add up to the score's "
            "change; use integrated_gradients"
        )


class Differences(Following):
    """Follows the run on the reference, or, given its records, the run on the image, whose gradients are multipliers.

    noted   (name, inputs) of each nonlinear operation in the run on the reference, in the order of the calls
    """

    def __init__(self, noted: Sequence[tuple[str, tuple[Tensor, ...]]] | None = None) -> None:
        super().__init__()
        self.noted: list[tuple[str, tuple[Tensor, ...]]] = []
        self.reference = None if noted is None else iter(noted)

    def on(self, call: Call) -> Any:
        if not call.active:
            return call()
        slope = slope_of(call)
        if slope is not None:
            if self.reference is not None:
                return self._replaced(call, slope, *next(self.reference, ("", ())))
            self.noted.append((call.name, tuple(one.detach().clone() for one in call.signals)))
            return call()
        if call.name in SPELLED_OUT:
            with self:
                return SPELLED_OUT[call.name](*call.args, **call.kwargs)
        if call.name == "div" and call.get(1, "other") is call.signals[-1]:
            with self:
                value = torch.reciprocal(call.get(1, "other")) * call.main
                return call.main.copy_(value) if in_place(call.function) else value
        return call() if _is_linear(call) else self._other(call)

    def _replaced(self, call: Call, slope: Slope, name: str, before: Sequence[Tensor]) -> Any:
        """Returns an operation's value plus its linear map; `name` and `before` are its record from the reference run."""
        signals = call.signals
        if name != call.name or [one.shape for one in before] != [one.shape for one in signals]:
            raise MethodError("the network takes another way for the baseline than for the image; use integrated_gradients")
        now = tuple(one.detach() for one in signals)
        zeros = tuple(one - value for one, value in zip(signals, now, strict=True))
        first = now[0].clone()
        with torch.no_grad():
            value = call.with_signals(first, *now[1:])()
        linear = slope(call, now, before, zeros)
        return signals[0].copy_(value + linear) if value is first else value + linear  # the operation works in place

    def _other(self, call: Call) -> Any:
        """Looks inside Python functions, runs operations without a gradient unchanged, and refuses all others."""
        if isinstance(call.function, FunctionType):
            with self:
                return entered(call.function)(*call.args, **call.kwargs)
        output = call()
        if any(one.requires_grad for one in tensors(output)):
            raise MethodError(f"deep_lift has no rule for the operation '{call.name}'; use integrated_gradients")
        return output


def _is_linear(call: Call) -> bool:
    if call.name in LINEAR:
        return True
    own = call.name == "batch_norm" and not call.get(5, "training", False)
    return (own or call.name in WEIGHTED) and len(call.signals) == 1


# --- operations that are rewritten as several others


def _norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, *, ord: Any = 2, **_: Any) -> Tensor:
    order = p if ord == 2 else ord
    if order not in (2, None, "fro"):
        raise MethodError(f"deep_lift has no rule for the norm of order {order}; use integrated_gradients")
    return (x * x).sum(tuple(range(x.ndim)) if dim is None else dim, keepdim=keepdim).sqrt()


def _amax(x: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """Computes a maximum over axes as max pooling with one window over them."""
    dims = [d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim)] or list(range(x.ndim))
    rest = [d for d in range(x.ndim) if d not in dims]
    flat = x.permute(*rest, *dims).reshape(1, -1, torch.Size(x.shape[d] for d in dims).numel())
    shape = [1 if d in dims else size for d, size in enumerate(x.shape)] if keepdim else [x.shape[d] for d in rest]
    return F.adaptive_max_pool1d(flat, 1).reshape(shape)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * b.sigmoid()


SPELLED_OUT: dict[str, Callable[..., Any]] = {
    "norm": _norm,
    "vector_norm": _norm,
    "amax": _amax,
    "glu": _glu,
    "scaled_dot_product_attention": attend,
    "multi_head_attention_forward": lambda *args, **kwargs: entered(F.multi_head_attention_forward)(*args, **kwargs),
}
