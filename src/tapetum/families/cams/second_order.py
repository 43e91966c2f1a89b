"""Hessian-vector products of a score at a layer, without ever forming the Hessian."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.gradients import reached
from tapetum.engines.probe import edit
from tapetum.engines.scores import ModelScore
from tapetum.progress import track
from tapetum.types import Batch, MethodError, TargetError
from tapetum.types.refusals import NO_GRADIENT


def layer_hessian_product(
    score: ModelScore, images: Tensor, layer: str, *, batch: Batch = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """(A, g = dS/dA, H A) at a layer, maps (n, c, h, w): H is the Hessian of the score in the layer's activation.

    H A = d (g . A) / d A with the second A held fixed; exact, by differentiating twice.
    """

    def work(rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        return _product(score.take(rows), images[rows[0] : rows[-1] + 1], layer)

    chunks = in_chunks(range(len(images)), batch_size(score.model, batch, gradients=True), work)
    parts = list(track(chunks, len(images), "images", size=lambda part: len(part[0])))
    acts, grads, curved = (torch.cat(part) for part in zip(*parts, strict=True))
    return acts, grads, curved


def _product(score: ModelScore, images: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    kept: dict[str, Tensor] = {}

    def cut(activation: Tensor) -> Tensor:
        kept[layer] = activation.detach().requires_grad_()
        return kept[layer].clone()  # what follows may work in place, on the clone

    with torch.enable_grad(), edit(score.model, {layer: cut}), sdpa_kernel(SDPBackend.MATH):  # the others differentiate once
        values = score(images.detach())
        acts = reached(kept, layer)
        if not values.requires_grad:
            raise TargetError(NO_GRADIENT)
        grads = _derivative(values.sum(), acts, again=True)
        curved = _derivative((grads * acts.detach()).sum(), acts) if grads.requires_grad else torch.zeros_like(acts)
    return acts.detach(), grads.detach(), curved.detach()


def _derivative(value: Tensor, leaf: Tensor, again: bool = False) -> Tensor:
    """d value / d leaf, zeros where the value does not depend on the leaf; `again` keeps the result differentiable."""
    try:
        (grad,) = torch.autograd.grad(value, leaf, create_graph=again, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        raise MethodError(f"the network has an operation without a second derivative ({error}): use grad_cam") from error
    return torch.zeros_like(leaf) if grad is None else grad
