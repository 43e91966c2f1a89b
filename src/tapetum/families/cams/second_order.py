"""Hessian-vector products of a score at a layer, without ever forming the Hessian."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.batching import over_images
from tapetum.engines.gradients import cut_at
from tapetum.engines.scores import ModelScore
from tapetum.engines.unfused import unfused_attention
from tapetum.types import Batch, MethodError, TargetError
from tapetum.types.refusals import NO_GRADIENT


def layer_hessian_product(
    score: ModelScore, images: Tensor, layer: str, *, batch: Batch = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (A, g = dS/dA, H A) at a layer, each (n, c, h, w); H is the Hessian of the score S in the activation A.

    H A = d (g . A) / d A with the second A held fixed; exact, by differentiating twice.
    """
    return over_images(score, images, lambda part, some: _product(part, some, layer), batch, gradients=True)


def _product(score: ModelScore, images: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad(), unfused_attention():  # other scores are differentiated once
        values, acts = cut_at(score, images.detach(), layer)
        if not values.requires_grad:
            raise TargetError(NO_GRADIENT)
        grads = _derivative(values.sum(), acts, again=True)
        curved = _derivative((grads * acts.detach()).sum(), acts) if grads.requires_grad else torch.zeros_like(acts)
    return acts.detach(), grads.detach(), curved.detach()


def _derivative(value: Tensor, leaf: Tensor, again: bool = False) -> Tensor:
    """Returns d value / d leaf, zeros if the value does not depend on it; `again` keeps the result differentiable."""
    try:
        (grad,) = torch.autograd.grad(value, leaf, create_graph=again, allow_unused=True)
    except RuntimeError as error:
        raise MethodError(f"the network has an operation without a second derivative ({error}): use grad_cam") from error
    return torch.zeros_like(leaf) if grad is None else grad
