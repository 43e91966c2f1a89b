"""Rules of layer-wise relevance propagation (LRP), with the equation of each.

A rule shares the relevance R of the outputs of an affine operation z = W x + b out to its inputs. It splits the operation
into parts x_k, W_k, b_k (for example positive and negative ones), and computes

    shares:  R_in = sum_k x_k * W_k^T (R / z),   z = sum_k (W_k x_k + b_k)

The relevance that falls to the bias b and to the stabilizer is not passed on; the rest is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

Apply = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""Function of (x, weight, bias) that returns the output of an operation that is affine in x."""

Addend = tuple[Tensor, Tensor | None, Tensor | None]
"""One part of an affine operation: x, weight, bias."""


@dataclass(frozen=True, eq=False)
class Affine:
    """One executed operation that is affine in its input.

    apply  function of (x, weight, bias) that computes the output
    name   name of the torch function, such as conv2d; "" for normalisations
    box    the least and the largest values that x can have, where x is the image itself; else None
    seen   function that changes the relevance arriving at the output, before it is shared out; None: no change
    """

    apply: Apply
    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    name: str = ""
    box: tuple[Tensor, Tensor] | None = None
    seen: Callable[[Tensor], Tensor] | None = None

    def scaled(self, factor: Tensor, shift: Tensor) -> Affine:
        """Returns this operation followed by a factor and a shift per channel (c,): a batch-norm merged into its weights."""
        assert self.weight is not None
        weight = self.weight * factor.view(-1, *(1,) * (self.weight.ndim - 1))
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * factor + shift)


AffineRule = Callable[[Affine, Tensor], Tensor]
"""Function of an operation and the relevance of its outputs that returns the relevance of its inputs."""


def over(relevance: Tensor, z: Tensor, stabilizer: float) -> Tensor:
    """Returns R / (z + stabilizer * sign(z)) with sign(0) = 1, and 0 where the denominator is 0."""
    z = z + stabilizer * torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    return torch.where(z == 0, 0.0, relevance / z)


def shares(apply: Apply, parts: Sequence[Addend], relevance: Tensor, stabilizer: float) -> Tensor:
    """Returns the relevance of an operation's inputs, sum_k x_k * W_k^T (R / z), where z = sum_k (W_k x_k + b_k)."""
    with torch.enable_grad():
        xs = [x.detach().requires_grad_() for x, _, _ in parts]
        z = reduce(torch.add, [apply(x, w, b) for x, (_, w, b) in zip(xs, parts, strict=True)])
    gradients = torch.autograd.grad(z, xs, over(relevance, z.detach(), stabilizer))
    return reduce(torch.add, [x.detach() * gradient for x, gradient in zip(xs, gradients, strict=True)])


def epsilon(value: float = 1e-6) -> AffineRule:
    """Epsilon rule: R_i = sum_j x_i w_ij / (z_j + epsilon sign z_j) R_j (Bach et al. 2015); epsilon = 0 is LRP-0."""
    return lambda a, relevance: shares(a.apply, [(a.x, a.weight, a.bias)], relevance, value)


def z_plus(stabilizer: float = 1e-6, bias: bool = True) -> AffineRule:
    """z+ rule: R_i = sum_j (x_i w_ij)+ / (sum_i (x_i w_ij)+ + b_j+) R_j (Bach et al. 2015: alpha 1, beta 0)."""
    return lambda a, relevance: shares(a.apply, _excitatory(a, bias), relevance, stabilizer)


def z_minus(stabilizer: float = 1e-6, bias: bool = True) -> AffineRule:
    """z- rule: R_i = sum_j (x_i w_ij)- / (sum_i (x_i w_ij)- + b_j-) R_j, which is z+ with negated weights."""
    return lambda a, relevance: shares(a.apply, _inhibitory(a, bias), relevance, stabilizer)


def alpha_beta(alpha: float, stabilizer: float = 1e-6) -> AffineRule:
    """Alpha-beta rule: R_i = sum_j (alpha (x_i w_ij)+ / z_j+ - beta (x_i w_ij)- / z_j-) R_j (Bach et al. 2015)."""

    def rule(a: Affine, relevance: Tensor) -> Tensor:
        excited = shares(a.apply, _excitatory(a), relevance, stabilizer)
        inhibited = shares(a.apply, _inhibitory(a), relevance, stabilizer)
        return alpha * excited - (alpha - 1) * inhibited

    return rule


def gamma(value: float = 0.25, stabilizer: float = 1e-6) -> AffineRule:
    """Gamma rule: R_i = sum_j (x_i w_ij + gamma (x_i w_ij)+) / (...) R_j where z_j > 0, with (...)- where z_j < 0.

    The part for z_j > 0 is Montavon et al. 2019; the one for z_j < 0 extends it to negative outputs (Andeol et al. 2021).
    """

    def rule(a: Affine, relevance: Tensor) -> Tensor:
        z = a.apply(a.x, a.weight, a.bias)
        whole = (a.x, a.weight, a.bias)
        up, down = _favoured(value, low=0.0), _favoured(value, high=0.0)
        raised = shares(a.apply, _split(whole, up, down), relevance * (z > 0), stabilizer)
        if not (z < 0).any():
            return raised
        return raised + shares(a.apply, _split(whole, down, up), relevance * (z < 0), stabilizer)

    return rule


def z_box(stabilizer: float = 1e-6) -> AffineRule:
    """z^B rule: R_i = sum_j (x_i w_ij - l_i w_ij+ - h_i w_ij-) / (...) R_j for inputs between l and h (Montavon et al. 2017).

    The bias cancels in the denominator.
    """

    def rule(a: Affine, relevance: Tensor) -> Tensor:
        assert a.weight is not None
        assert a.box is not None
        low, high = (one.expand_as(a.x) for one in a.box)
        parts = [(a.x, a.weight, None), (low, -a.weight.clamp(min=0), None), (high, -a.weight.clamp(max=0), None)]
        return shares(a.apply, parts, relevance, stabilizer)

    return rule


def w_square(stabilizer: float = 1e-6) -> AffineRule:
    """w^2 rule: R_i = sum_j w_ij^2 / (sum_i w_ij^2 + b_j^2) R_j (Montavon et al. 2017)."""

    def rule(a: Affine, relevance: Tensor) -> Tensor:
        part = (torch.ones_like(a.x), _map(torch.square, a.weight), _map(torch.square, a.bias))
        return shares(a.apply, [part], relevance, stabilizer)

    return rule


def flat(stabilizer: float = 1e-6) -> AffineRule:
    """Flat rule: R_i = sum_j 1 / (number of i) R_j over the inputs i that output j reads (Lapuschkin et al. 2019)."""
    return lambda a, r: shares(a.apply, [(torch.ones_like(a.x), _map(torch.ones_like, a.weight), None)], r, stabilizer)


# --- parts of an operation


def _excitatory(a: Affine, bias: bool = True) -> list[Addend]:
    """Returns the parts of an affine operation with x_i w_ij > 0: x and w both positive, and both negative."""
    return _split((a.x, a.weight, a.bias if bias else None), lambda w: w.clamp(min=0), lambda w: w.clamp(max=0))


def _inhibitory(a: Affine, bias: bool = True) -> list[Addend]:
    """Returns the parts of an affine operation with x_i w_ij < 0: x and w of opposite signs."""
    return _split((a.x, a.weight, a.bias if bias else None), lambda w: w.clamp(max=0), lambda w: w.clamp(min=0))


def _split(part: Addend, on_positive: Callable[[Tensor], Tensor], on_negative: Callable[[Tensor], Tensor]) -> list[Addend]:
    """Splits a part (x, weight, bias) by the sign of x, with changed weights for each half; the positive half has the bias."""
    x, weight, bias = part
    parts: list[Addend] = [(x.clamp(min=0), _map(on_positive, weight), _map(on_positive, bias))]
    return [*parts, (x.clamp(max=0), _map(on_negative, weight), None)] if (x < 0).any() else parts


def _favoured(value: float, low: float | None = None, high: float | None = None) -> Callable[[Tensor], Tensor]:
    return lambda w: w + value * w.clamp(min=low, max=high)


def _map(function: Callable[[Tensor], Tensor], parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else function(parameter)
