"""Multipliers of differences: how much of a score's change from a reference each value of the image makes (DeepLIFT).

The network runs on the reference first, and what its nonlinear operations get there is noted. Then it runs on the image,
where every such operation is replaced by its value there plus a linear map that is zero there, whose slope carries the
operation's change between the two runs exactly. So the ordinary gradient of the second run is the multiplier:

    f(z), element by element     (f(z) - f(z0)) / (z - z0), and f'(z) where z = z0
    a * b, a @ b                 (b + b0) / 2 for a, (a + a0) / 2 for b
    max over a window            all of its change to the place where the larger of the two maxima was
    c * r, r a normaliser        min(r, r0) for c, and for r the c of the run whose r is larger
    softmax, normalisations      made of these

A torch function mode follows operations, not modules: functional, reused and in-place spellings are alike. An operation
that is in none of the tables is refused by name.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tapetum.engines.attention import attend, entered
from tapetum.engines.gradients import derivative
from tapetum.engines.scores import ModelScore
from tapetum.models.operations.nested import mapped, tensors
from tapetum.types import MethodError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _names(
    """relu relu6 gelu silu sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu selu celu mish softplus softsign
    prelu rrelu logsigmoid threshold hardshrink softshrink tanhshrink exp expm1 log log1p log2 sqrt rsqrt pow rpow
    square abs absolute sin cos erf reciprocal clamp clamp_min clamp_max clip sign round floor ceil rtruediv rdiv"""
)
PRODUCTS = frozenset(["mul", "multiply", "rmul", "matmul", "rmatmul", "bmm", "mm", "einsum"])
QUOTIENTS = frozenset(["div", "divide", "true_divide", "truediv"])
LINEAR = _names(
    """add radd sub subtract rsub neg negative positive mean sum cat concat concatenate stack hstack vstack permute
    transpose swapaxes swapdims movedim moveaxis t T mT H mH view view_as reshape reshape_as flatten unflatten ravel
    squeeze unsqueeze select narrow chunk split split_with_sizes tensor_split unbind getitem setitem expand expand_as
    broadcast_to repeat repeat_interleave tile roll flip rot90 index_select gather take_along_dim index_put index_add
    scatter scatter_add where masked_fill masked_select fill zero copy clone contiguous to type type_as float double
    half bfloat16 cpu cuda dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout pad constant_pad_nd
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample
    pixel_shuffle pixel_unshuffle channel_shuffle unfold fold tril triu diagonal cumsum atleast_1d atleast_2d
    atleast_3d requires_grad"""
)
WEIGHTED = _names(
    """linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addcmul addmm baddbmm lerp"""
)
"""Linear as long as only one argument depends on the image: weights usually do not."""

SOFTMAXES = frozenset({"softmax", "log_softmax"})
NORMALISATIONS = frozenset({"layer_norm", "group_norm", "rms_norm"})
MAXIMA: dict[str, tuple[Callable[..., Any], int]] = {
    "max_pool1d": (F.max_pool1d_with_indices, 1),
    "max_pool2d": (F.max_pool2d_with_indices, 2),
    "max_pool3d": (F.max_pool3d_with_indices, 3),
    "adaptive_max_pool1d": (F.adaptive_max_pool1d_with_indices, 1),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d_with_indices, 2),
    "adaptive_max_pool3d": (F.adaptive_max_pool3d_with_indices, 3),
}


@dataclass(eq=False)
class Reference:
    """What the nonlinear operations got in the run on the reference, in the order of their calls."""

    noted: list[tuple[str, tuple[Tensor, ...]]] = field(default_factory=list)
    at: int = 0

    def next(self, name: str, now: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The inputs that this operation had on the reference."""
        found, before = self.noted[self.at] if self.at < len(self.noted) else ("", ())
        self.at += 1
        if found != name or [one.shape for one in before] != [one.shape for one in now]:
            raise MethodError("the network takes another way for the baseline than for the image; use integrated_gradients")
        return before


@contextlib.contextmanager
def noting() -> Iterator[Reference]:
    """The run on the reference."""
    reference = Reference()
    with _Differences(reference, noting=True):
        yield reference


@contextlib.contextmanager
def multipliers(reference: Reference) -> Iterator[None]:
    """The run on the image: gradients of what is computed inside are multipliers."""
    with _Differences(reference, noting=False):
        yield


def contributions(score: ModelScore, images: Tensor, baseline: Tensor) -> Tensor:
    """Multipliers times the difference from the baseline, (n, c, h, w); each image's add up to its score's change."""
    with torch.enable_grad():
        leaf0, leaf = (one.detach().clone().requires_grad_() for one in (baseline, images))
        with noting() as reference:
            before = score(leaf0.clone()).detach()  # clones: networks may work in place
        with multipliers(reference):
            now = score(leaf.clone())
        values = derivative(now, leaf) * (images - baseline)
    _check(score, values, now.detach() - before)
    return values


def _check(score: ModelScore, values: Tensor, change: Tensor) -> None:
    """Completeness is exact, so what is missing was lost on a way that no operation shows, such as a comparison."""
    missing = (values.flatten(1).sum(1) - change).abs()
    tolerance = max(1e-4, 100 * torch.finfo(values.dtype).eps) * values.abs().flatten(1).sum(1)
    if (missing > tolerance).any():
        raise MethodError(
            f"{score.model.name} compares, detaches or rounds activations, so the contributions do not add up to the score's "
            "change; use integrated_gradients"
        )


class _Call:
    """One operation with its arguments, of which those tensors that depend on the image can be replaced."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func, self.arguments = func, (args, kwargs)
        self.name = _name(func)
        everything = list(tensors(self.arguments))
        self.places = [place for place, one in enumerate(everything) if one.requires_grad]
        self.active = [everything[place] for place in self.places]

    def run(self, *active: Tensor) -> Any:
        """The operation on these in place of the active tensors."""
        count, given = itertools.count(), dict(zip(self.places, active, strict=True))
        args, kwargs = mapped(self.arguments, lambda tensor: given.get(next(count), tensor))
        return self.func(*args, **kwargs)

    def plain(self) -> Any:
        """The operation as it is."""
        args, kwargs = self.arguments
        return self.func(*args, **kwargs)


class _Differences(TorchFunctionMode):
    def __init__(self, reference: Reference, noting: bool) -> None:
        super().__init__()
        self.reference, self.noting = reference, noting

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _Call(func, args, kwargs or {})
        if not call.active or not torch.is_grad_enabled():
            return call.plain()
        rule, several = _rule(call), len(call.active) > 1
        if rule is not None:
            return self._noted(call) if self.noting else self._replaced(call, rule)
        if call.name in SPELLED_OUT:
            with self:
                return SPELLED_OUT[call.name](*args, **(kwargs or {}))
        if call.name in QUOTIENTS and args[1] is call.active[-1]:
            with self:
                return _into(args[0], func, torch.reciprocal(args[1]) * args[0])
        linear = call.name in LINEAR or (call.name in WEIGHTED | PRODUCTS | QUOTIENTS and not several)
        if linear:
            return call.plain()
        if call.name == "batch_norm" and not several and not _argument(call, 5, "training", False):
            return call.plain()
        return self._other(call)

    def _noted(self, call: _Call) -> Any:
        before = tuple(one.detach().clone() for one in call.active)
        self.reference.noted.append((call.name, before))
        return call.plain()

    def _replaced(self, call: _Call, rule: Rule) -> Any:
        before = self.reference.next(call.name, call.active)
        now = tuple(one.detach() for one in call.active)
        zeros = tuple(one - value for one, value in zip(call.active, now, strict=True))
        first = now[0].clone()
        with torch.no_grad():
            value = call.run(first, *now[1:])
        linear = rule(call, now, before, zeros)
        if value is first:  # worked in place
            return call.active[0].copy_(value + linear)
        return value + linear

    def _other(self, call: _Call) -> Any:
        """Functions of Python are looked into; what has no gradient does not matter; anything else is refused."""
        if isinstance(call.func, FunctionType):
            args, kwargs = call.arguments
            with self:
                return entered(call.func)(*args, **kwargs)
        output = call.plain()
        if any(one.requires_grad for one in tensors(output)):
            raise MethodError(f"deep_lift has no rule for the operation '{call.name}'; use integrated_gradients")
        return output


# --- rules: the operation's change as a linear map, here of tensors that are zero and carry the graph

Rule = Callable[[_Call, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor]


def _rule(call: _Call) -> Rule | None:
    if call.name in ELEMENTWISE and len(call.active) == 1:
        return _elementwise
    if call.name in PRODUCTS and len(call.active) == 2:
        return _product
    if call.name in SOFTMAXES:
        return _softmax
    if call.name in NORMALISATIONS and len(call.active) == 1:
        return _normalisation
    return _maximum if call.name in MAXIMA else None


def _slope(change: Tensor, difference: Tensor, scale: Tensor, otherwise: Tensor) -> Tensor:
    """change / difference; where the difference is no more than rounding, the derivative."""
    same = difference.abs() <= 8 * torch.finfo(difference.dtype).eps * scale
    return torch.where(same, otherwise, change / difference.masked_fill(same, 1)).nan_to_num(0, 0, 0)


def _elementwise(call: _Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    (z,), (z0,), (zero,) = now, before, zeros
    with torch.enable_grad():
        leaf = z.clone().requires_grad_()
        value = call.run(leaf.clone())
        (derivative,) = torch.autograd.grad(value, leaf, torch.ones_like(value))
    change = value.detach() - call.run(z0.clone())
    return _slope(change, z - z0, z.abs() + z0.abs(), derivative) * zero


def _product(call: _Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    a, b = ((one + other) / 2 for one, other in zip(now, before, strict=True))
    return call.run(zeros[0], b) + call.run(a, zeros[1])


def _softmax(call: _Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    """e = exp(z - c), s = sum of e, e / s or z - c - log s, with one c for both runs: it cancels."""
    (z,), (z0,), dim = now, before, _argument(call, 1, "dim", None)
    zero = zeros[0].nan_to_num(0)  # of masked places, -inf in both runs
    c = torch.maximum(z, z0).amax(dim, keepdim=True)
    e, e0 = (z - c).exp(), (z0 - c).exp()
    s, s0 = e.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
    each = _slope(e - e0, z - z0, z.abs() + z0.abs(), e) * zero
    total = each.sum(dim, keepdim=True)
    if call.name == "log_softmax":
        return zero - _slope(s.log() - s0.log(), s - s0, s + s0, 1 / s) * total
    return _scaled(e, e0, 1 / s, 1 / s0, each, -total / (s * s0))


def _normalisation(call: _Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    """c = z - mean, r = 1 / sqrt(mean of c^2 + eps), c * r * weight; root mean square normalisation leaves the mean."""
    groups, dims, weight, eps = _normalised(call, now[0])
    (z, z0, zero) = (one[0].reshape(groups) for one in (now, before, zeros))
    centred = (lambda x: x) if call.name == "rms_norm" else (lambda x: x - x.mean(dims, keepdim=True))
    c, c0, change = centred(z), centred(z0), centred(zero)
    r, r0 = (((one * one).mean(dims, keepdim=True) + eps).rsqrt() for one in (c, c0))
    spread = ((c + c0) * change).mean(dims, keepdim=True)
    result = _scaled(c, c0, r, r0, change, -((r * r0) ** 2) / (r + r0) * spread).view_as(now[0])
    return result if weight is None else result * weight


def _scaled(c: Tensor, c0: Tensor, r: Tensor, r0: Tensor, change_c: Tensor, change_r: Tensor) -> Tensor:
    """c * r with r > 0 a normaliser: the change of c at the smaller r, the change of r at the c of the other run.

    Both add up to the whole, and both stay bounded: on a flat reference r0 is 1 / sqrt(eps), and the halves of the usual
    rule for products would be huge and cancel.
    """
    return torch.minimum(r, r0) * change_c + torch.where(r > r0, c, c0) * change_r


def _normalised(call: _Call, z: Tensor) -> tuple[Sequence[int], tuple[int, ...], Tensor | None, float]:
    """The shape in which to normalise, over which axes; the weight, and epsilon."""
    eps = 1e-5
    if call.name == "group_norm":
        weight, places = _argument(call, 2, "weight", None), (-1, *[1] * (z.ndim - 2))
        groups = _argument(call, 1, "num_groups", 1)
        shape, dims = (len(z), groups, -1), (-1,)
        weight = None if weight is None else weight.view(places)
        return shape, dims, weight, _argument(call, 4, "eps", eps)
    shape = _argument(call, 1, "normalized_shape", ())
    dims, weight = tuple(range(-len(shape), 0)), _argument(call, 2, "weight", None)
    if call.name == "rms_norm":
        given = _argument(call, 3, "eps", None)
        return z.shape, dims, weight, torch.finfo(z.dtype).eps if given is None else given
    return z.shape, dims, weight, _argument(call, 4, "eps", eps)


def _maximum(call: _Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    (z,), (z0,), (zero,), (pool, dims) = now, before, zeros, MAXIMA[call.name]
    (_, *args), kwargs = call.arguments
    value, place = pool(z, *args, **kwargs)
    value0, place0 = pool(z0, *args, **kwargs)
    at = torch.where(value >= value0, place, place0).flatten(-dims)
    difference, change = ((z - z0).flatten(-dims).gather(-1, at), (value - value0).flatten(-dims))
    slope = _slope(change, difference, value.abs().flatten(-dims), torch.ones_like(change))
    return (slope * zero.flatten(-dims).gather(-1, at)).view_as(value)


# --- operations that are spelled out as others


def _norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    if p not in (2, None, "fro"):
        raise MethodError(f"deep_lift has no rule for the norm of order {p}; use integrated_gradients")
    return (x * x).sum(tuple(range(x.ndim)) if dim is None else dim, keepdim=keepdim).sqrt()


def _amax(x: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """A maximum over axes is one window over them."""
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


def _argument(call: _Call, position: int, name: str, default: Any) -> Any:
    args, kwargs = call.arguments
    return args[position] if len(args) > position else kwargs.get(name, default)


def _into(first: Any, func: Callable[..., Any], value: Tensor) -> Tensor:
    """The value, or the first argument holding it if the function works in place."""
    name = getattr(func, "__name__", "")
    in_place = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
    return first.copy_(value) if in_place else value


def _name(func: Callable[..., Any]) -> str:
    """The operation's name without marks of place: `add_`, `__iadd__` and `add` are one."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", "")
    bare = name.strip("_")
    return bare[1:] if name.startswith("__i") else bare
