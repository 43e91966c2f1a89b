"""How much a score depends on each of a few directions of a layer: total Sobol indices and what is lost without each."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from tapetum.engines.batching import BLOCK, FEWEST, batch_size
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.families.perturbations.dimming import Dimmed
from tapetum.types import Batch

STEPS = 200
"""Multiplicative updates of the shares of fixed directions."""

MOST = 64
"""Activations that go through the layers behind at once, at most."""


def shares_of(values: Tensor, directions: Tensor, steps: int = STEPS) -> Tensor:
    """Returns the shares W (..., n, k) >= 0 that minimise |values - W directions|^2 for values (n, c), directions (..., k, c).

    By multiplicative updates: the problem is convex, and each lowers the error (lee2001nmf).
    """
    v, h = values.double().clamp(min=0), directions.double()
    tiny = torch.finfo(v.dtype).tiny
    towards, gram = v @ h.mT, h @ h.mT
    w = towards / (gram.sum(-1)[..., None, :] + tiny)
    for _ in range(steps):
        w = w * (towards + tiny) / (w @ gram + tiny)
    return w


def explained(values: Tensor, directions: Tensor) -> float:
    """Returns the share of the variance of values (n, c) about their mean that non-negative sums of directions explain.

    1 - |values - W directions|^2 / |values - mean|^2; negative where the mean alone would be nearer.
    """
    left = values.double() - shares_of(values, directions) @ directions.double()
    return 1 - float(left.square().sum() / (values.double() - values.double().mean(0)).square().sum())


@dataclass(frozen=True, eq=False)
class Parts:
    """What k directions do in one image: maps (k, h, w) of their shares, total Sobol indices (k,), losses (k,).

    null  (r, k) losses of the directions of each of r other sets
    """

    maps: Tensor
    totals: Tensor
    losses: Tensor
    null: Tensor


def parts_of(
    score: ModelScore, image: Tensor, layer: str, directions: Tensor, nulls: Tensor, designs: int, seed: int, batch: Batch
) -> Parts:
    """Dims the parts of k directions (k, c) in a layer's activation of one image (1, c, h, w), the rest of it unchanged.

    The activation is sum_k m_k share_k(place) direction_k + what they do not explain. losses = score - score without a
    direction (m_k = 0); totals are the Sobol indices of m in [0, 1]^k, from a design of that many points.
    """
    tail = resume(score, layer, image)
    maps = shares_at(tail.activation, directions)
    size = _points(tail, batch)
    own = _dimmed(tail, maps, directions, size)
    random = zip(shares_at(tail.activation, nulls), nulls, strict=True)
    null = [_dimmed(tail, its, some, size).losses() for its, some in random]
    return Parts(maps, own.totals(designs, seed), own.losses(), torch.stack(null))


def _points(tail: Tail, batch: Batch) -> int:
    """Returns how many activations go through the network at once: more than images, as the layers before do not run.

    With EfficientNet-Lite0 on one core, 64 at once took a third of the time of 4 at once.
    """
    model, usual = tail.score.model, batch_size(tail.score.model, batch)
    if batch != "auto" or model.one_by_one or tail.activation.device.type != "cpu" or usual < FEWEST:
        return usual
    done = tuple(f"{name}." for name in tail.skipped)
    again = [one for one in model.survey.layers if not f"{one.name}.".startswith(done)]
    largest = max([tail.activation.numel(), *(prod(one.shape) for one in again)]) * tail.activation.element_size()
    return max(usual, min(MOST, BLOCK // largest))


def _dimmed(tail: Tail, maps: Tensor, directions: Tensor, size: int) -> Dimmed:
    """Returns the activation with each direction's part (k, c, h, w) of it; scores are in double precision on the CPU."""
    parts = (maps[:, None] * directions.to(maps)[:, :, None, None]).to(tail.activation)
    return Dimmed(lambda some: tail(some).double().cpu(), tail.activation, parts, size)


def shares_at(activation: Tensor, directions: Tensor) -> Tensor:
    """Returns the shares (..., k, h, w) of directions (..., k, c) at every place of an activation (1, c, h, w), on the CPU."""
    _, c, h, w = activation.shape
    rows = activation[0].reshape(c, h * w).T.cpu()
    return shares_of(rows, directions.cpu()).mT.reshape(*directions.shape[:-1], h, w)
