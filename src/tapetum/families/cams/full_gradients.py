"""Splits a score exactly into the contribution of the input and a bias term of each operation.

    score = sum of x * d score / d x  +  sum over operations of b * d score / d output

b, an operation's implicit bias, is its output minus the part proportional to its inputs: out - J in, with J its Jacobian.
For a convolution b is the bias, for a batch-norm its shift; for ReLU and pooling it is zero; a GELU, a softmax or a product
also has one. So the sum is exact for any network of differentiable operations, however they are written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tapetum.engines.gradients import derivative
from tapetum.engines.scores import ModelScore
from tapetum.engines.unfused import unfused_attention
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.nested import floats
from tapetum.switches import ignoring

See = Callable[[Tensor], None]
"""Function called with the bias term b * d score / d output of each operation, in the shape of the output (n, ...)."""


@dataclass
class Parts:
    """Exact decomposition of a score into a sum of parts.

    score       (n,)
    from_input  x * d score / d x, (n, c, h, w)
    biases      the sum of all bias terms, (n,)
    magnitude   the sum of the magnitudes of all terms, the scale for rounding errors, (n,)
    unknown     operations whose bias could not be computed: their terms are missing
    """

    score: Tensor
    from_input: Tensor
    biases: Tensor
    magnitude: Tensor
    unknown: set[str] = field(default_factory=set[str])

    @property
    def missing(self) -> Tensor:
        """Returns the difference between score and sum of parts as a share of the magnitude, (n,)."""
        gap = self.score - self.from_input.sum((1, 2, 3)) - self.biases
        return gap.abs() / self.magnitude.clamp(min=torch.finfo(gap.dtype).tiny)


def full_gradients(score: ModelScore, images: Tensor, see: See) -> Parts:
    """Computes the parts of each image's score; calls `see` with each operation's bias term, last operations first."""
    n = len(images)
    nothing = images.new_zeros(n)
    parts = Parts(score=nothing, from_input=nothing, biases=nothing, magnitude=nothing)

    def sink(term: Tensor) -> None:
        if term.ndim == 0 or len(term) % n:
            parts.unknown.add("one whose output does not begin with the images")
            return
        by_image = term.reshape(n, -1)  # windows of one image lie side by side
        parts.biases = parts.biases + by_image.sum(1)
        parts.magnitude = parts.magnitude + by_image.abs().sum(1)
        if len(term) == n:
            see(term)

    with torch.enable_grad(), _forward_mode():
        leaf = images.detach().requires_grad_()
        with _ImplicitBiases(sink) as biases:
            values = score(leaf)
        gradient = derivative(values, leaf)
    parts.score, parts.from_input = values.detach(), leaf.detach() * gradient
    parts.magnitude = parts.magnitude + parts.from_input.abs().sum((1, 2, 3))
    parts.unknown |= biases.unknown
    return parts


@contextlib.contextmanager
def _forward_mode() -> Iterator[None]:
    """Allows forward-mode derivatives in the block: turns off fused attention, which has none, and a warning of torch."""
    jit = r"`torch\.jit"
    with unfused_attention(), ignoring(jit, FutureWarning), ignoring(jit, DeprecationWarning):
        yield


class _ImplicitBiases(Following):
    """Follows every operation of the forward pass and hooks the gradient of those that have a bias."""

    def __init__(self, sink: See) -> None:
        super().__init__()
        self.sink, self.unknown = sink, set[str]()

    def on(self, call: Call) -> Any:
        biases = self._biases(call)  # before the call, which may change its inputs in place
        output = call()
        for tensor, bias in zip(floats(output), biases, strict=False):
            if bias is not None and tensor.requires_grad:
                tensor.register_hook(lambda grad, bias=bias: self.sink(grad * bias))
        return output

    def _biases(self, call: Call) -> list[Tensor | None]:
        if not call.signals:
            return []
        try:
            with torch.no_grad(), forward_ad.dual_level():
                return [_bias(tensor) for tensor in floats(call.mapped(_along_itself)())]
        except (RuntimeError, TypeError, AttributeError):  # what torch raises where it has no forward-mode derivative
            self.unknown.add(call.name or str(call.function))
            return []


def _along_itself(tensor: Tensor) -> Tensor:
    """Turns a tensor that requires grad into a dual tensor with itself as tangent; returns others unchanged."""
    if not tensor.requires_grad:
        return tensor
    return forward_ad.make_dual(tensor.detach().clone(), tensor.detach().clone())


def _bias(output: Tensor) -> Tensor | None:
    """Returns the implicit bias out - J in of a dual output; None if it is only rounding error."""
    primal, tangent = forward_ad.unpack_dual(output)
    bias = (primal if tangent is None else primal - tangent).detach()
    return bias if bias.numel() and bias.abs().max() > 100 * torch.finfo(bias.dtype).eps * primal.abs().max() else None
