"""Gradients of a score: at the image, averaged over many points, and at a layer.

The layers before the one at which a gradient is taken run without a graph, parameters never get gradients, and points pass
through the network in small batches, while other libraries put all of them into one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size, in_chunks, over_images
from tapetum.engines.probe import edit
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import CHECK, RunningMean
from tapetum.progress import SoFar, track
from tapetum.types import Batch, LayerError, Score, TargetError
from tapetum.types.refusals import NO_GRADIENT

S = TypeVar("S", bound=RunningMean)


def gradient(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """Returns d score / d image, (n, c, h, w)."""
    return weighted_gradient(score, len(images), lambda row, _: images[row], [1.0], batch=batch)


def _gradient(score: Score, points: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        return derivative(score(leaf), leaf)


def derivative(values: Tensor, leaf: Tensor, *, again: bool = False) -> Tensor:
    """Returns d values.sum() / d leaf, zeros if the values do not depend on the leaf; refuses values without a gradient.

    again: keep the graph, since another derivative of the same pass follows.
    """
    if not values.requires_grad:
        raise TargetError(NO_GRADIENT)
    try:
        (grad,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True, retain_graph=again)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "alloc" in str(error):  # a CPU is out of memory
            raise
        reason = str(error).partition("\n")[0]
        raise TargetError(
            f"an operation of the network cannot be gone back through ({reason}): use a method without gradients, such as "
            "occlusion, rise or ablation_cam"
        ) from error
    return torch.zeros_like(leaf) if grad is None else grad


def graph_nodes(*outputs: Tensor) -> Iterator[Any]:
    """Yields every node of the autograd graph from which the tensors were computed, each once."""
    waiting, known = [one.grad_fn for one in outputs], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]


def gradients_at(
    score: ModelScore,
    n: int,
    points: Callable[[int, int], Tensor],
    n_points: int,
    *,
    batch: Batch = "auto",
    stopped: Collection[int] = (),
    so_far: SoFar | None = None,
    rows: Iterable[int] = (),
) -> Iterator[tuple[int, int, Tensor]]:
    """Yields (row, k, d score / d point) for each of n images (row) and each point k, where points(row, k) is (c, h, w).

    Several points of several images share a batch; the result does not depend on the size of batches. The points of an image
    come in order. For a row that the caller adds to `stopped` meanwhile, no further points are computed or yielded.
    so_far, rows: as of `in_chunks`.
    """
    # CHECK points of one image, then of the next: most batches hold one image, so an image that has stopped leaves few gaps
    starts = range(0, n_points, CHECK)
    jobs = [(row, k) for start in starts for row in range(n) for k in range(start, min(start + CHECK, n_points))]

    def work(chunk: Sequence[tuple[int, int]]) -> tuple[Sequence[tuple[int, int]], Tensor]:
        going = [(row, k) for row, k in chunk if row not in stopped]
        if not going:
            return [], torch.empty(0)
        stacked = torch.stack([points(row, k) for row, k in going])
        return going, _gradient(score.take([row for row, _ in going]), stacked)

    for going, grads in in_chunks(jobs, batch_size(score.model, batch, gradients=True), work, "gradients", so_far, rows):
        for (row, k), grad in zip(going, grads, strict=True):
            if row not in stopped:
                yield row, k, grad


Term = Callable[[int, int, Tensor], Tensor]
"""Function of (row, k, gradient) that returns the term which enters the statistic."""


def as_it_is(_row: int, _k: int, grad: Tensor) -> Tensor:
    """Returns the gradient unchanged, as the default term of a statistic."""
    return grad


def weighted_gradient(
    score: ModelScore,
    n: int,
    points: Callable[[int, int], Tensor],
    weights: Sequence[float],
    term: Term = as_it_is,
    *,
    shown: Callable[[int, Tensor], Tensor] | None = None,
    batch: Batch = "auto",
) -> Tensor:
    """Returns sum_k weights[k] * d score / d points(row, k), (n, c, h, w): with suitable weights, the integral along a path.

    shown: function of (row, sum) that returns the map of an image, for those who watch; the sum of the first points is scaled
        to the weight of all. None: they see nothing.
    """
    total = torch.stack([torch.zeros_like(points(row, 0)) for row in range(n)])
    done = dict[int, float]()
    whole = functools.reduce(operator.add, weights, 0.0)  # in the order in which `done` adds them up

    def so_far() -> Tensor:
        assert shown is not None
        return torch.stack([shown(row, total[row] * (whole / weight if weight else 1.0)) for row, weight in done.items()])

    live = None if shown is None else so_far
    for row, k, grad in gradients_at(score, n, points, len(weights), batch=batch, so_far=live, rows=done):
        total[row] += weights[k] * term(row, k, grad)
        done[row] = done.get(row, 0.0) + weights[k]
    return total


def sampled_gradients(
    score: ModelScore,
    n: int,
    points: Callable[[int, int], Tensor],
    n_points: int,
    statistic: type[S],
    term: Term = as_it_is,
    *,
    tolerance: float | None = None,
    batch: Batch = "auto",
) -> list[S]:
    """Returns for each image a statistic (such as the mean) of its gradients at points(row, k), k = 0 .. n_points - 1.

    With a tolerance, the sampling of an image ends when the standard error of its statistic is small enough.
    """
    found = [statistic() for _ in range(n)]
    settled: set[int] = set()
    begun: dict[int, None] = {}

    def so_far() -> Tensor:
        return torch.stack([found[row].value for row in begun])

    for row, k, grad in gradients_at(score, n, points, n_points, batch=batch, stopped=settled, so_far=so_far, rows=begun):
        begun[row] = None
        found[row].add(term(row, k, grad))
        if found[row].settled(tolerance):
            settled.add(row)
    return found


def gathered(
    score: ModelScore,
    start: Tensor,
    step: Callable[[int, int, Tensor, Tensor], Tensor],
    n_steps: int,
    *,
    batch: Batch = "auto",
) -> Tensor:
    """Returns sum_k (x_k+1 - x_k) * (g_k + g_k+1) / 2, (n, c, h, w), along a path whose points depend on the gradients.

    step(row, k, x_k, g_k) returns the next point x_k+1 (c, h, w) of an image; g_k is the gradient at x_k.
    """

    def work(rows: Sequence[int]) -> Tensor:
        part, here = score.take(rows), start[rows[0] : rows[-1] + 1]
        grads, total = _gradient(part, here), torch.zeros_like(here)
        for k in track(range(n_steps), n_steps, "steps", so_far=total.clone, rows=rows):
            there = torch.stack([step(row, k, x, g) for row, x, g in zip(rows, here, grads, strict=True)])
            ahead = _gradient(part, there)
            total += (there - here) * (grads + ahead) / 2
            here, grads = there, ahead
        return total

    return torch.cat(list(in_chunks(range(len(start)), batch_size(score.model, batch, gradients=True), work)))


def layer_gradient(score: ModelScore, images: Tensor, layer: str, *, batch: Batch = "auto") -> tuple[Tensor, Tensor]:
    """Returns the activation A of a layer and dS/dA, both maps (n, c, h, w); only the part after the layer keeps a graph."""

    def work(part: ModelScore, some: Tensor) -> tuple[Tensor, Tensor]:
        values, activation = cut_at(part, some.detach(), layer)
        with torch.enable_grad():
            return activation.detach(), derivative(values, activation)

    return over_images(score, images, work, batch)


def cut_at(score: ModelScore, images: Tensor, layer: str, *, raw: bool = False) -> tuple[Tensor, Tensor]:
    """Returns the scores and the activation of a layer, with a graph from the activation to the scores alone."""
    kept = BeforeTarget()

    def cut(activation: Tensor) -> Tensor:
        kept[layer] = activation.detach().requires_grad_()
        return kept[layer].clone()  # later operations may change the clone in place

    with torch.enable_grad(), edit(score.model, {layer: cut}, raw=raw):
        values = score(images)
    return values, kept[layer]


class BeforeTarget(dict[str, Tensor]):
    """Recorded outputs {layer: activation}; refuses a layer that did not run, because the target is a unit before it."""

    def __missing__(self, layer: str) -> Tensor:
        raise LayerError(f"{layer} runs after the target and so has no part in it: give a layer= in front of the unit")
