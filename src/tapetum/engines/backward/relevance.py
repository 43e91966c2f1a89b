"""Computes the relevance of a score by LRP, at the image or at a layer.

    relevance(score, images, composite("epsilon_plus", 1e-6, 0.25))        (n, c, h, w), sums to the score except for biases

This takes one forward and one backward pass. Relevance starts at the network's output y as y * g, where g is the gradient
of the score with respect to y: a logit starts with its own value, the difference of two logits with both of theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.backward.composites import Composite
from tapetum.engines.backward.handlers import HANDLERS
from tapetum.engines.backward.propagation import Propagation, refuse_unknown
from tapetum.engines.batching import over_images
from tapetum.engines.probe import edit
from tapetum.engines.scores import ModelScore
from tapetum.models.maps import to_map
from tapetum.models.operations.nested import mapped
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, MethodError

FirstRelevance = Callable[[Tensor, Tensor], Tensor]
"""Function of the network's output y and the score's gradient g with respect to y; returns the initial relevance at y."""

Gates = Mapping[str, Callable[[Tensor], Tensor]]
"""{layer: function that changes the relevance arriving at the layer, in the layer's own layout}."""


def of_score(answer: Tensor, gradient: Tensor) -> Tensor:
    """Returns the initial relevance y * g, which sums to the score where the score is linear in the network's output y."""
    return answer * gradient


def of_one(answer: Tensor, gradient: Tensor) -> Tensor:
    """Returns the initial relevance g, so that the target class starts with 1 (as in excitation backprop)."""
    return gradient


def relevance(
    score: ModelScore,
    images: Tensor,
    composite: Composite,
    *,
    seed: FirstRelevance = of_score,
    through: Gates | None = None,
    batch: Batch = "auto",
) -> Tensor:
    """Returns the relevance at the image (n, c, h, w); adds a note if its sum and the score differ by over 1 %."""

    def work(part: ModelScore, some: Tensor) -> tuple[Tensor, Tensor]:
        return _relevance(part, some, composite, seed, through or {})

    arrived, started = over_images(score, images, work, batch, gradients=True)
    if seed is of_score and not through:
        _note_share(arrived, started)
    return arrived


TOLD = 0.01
"""Share of the score above which lost or gained relevance is noted."""


def _note_share(arrived: Tensor, started: Tensor) -> None:
    shares = (arrived.flatten(1).sum(1) / started.where(started != 0, torch.nan)).nan_to_num(1.0).tolist()
    if any(abs(share - 1) > TOLD for share in shares):
        told = ", ".join(f"{share:.0%}" for share in shares[:4]) + (", ..." if len(shares) > 4 else "")
        note(f"{told} of the score arrives at the image: biases, constants and the stabilizer account for the rest")


def relevance_at(
    score: ModelScore,
    images: Tensor,
    layer: str,
    composite: Composite,
    *,
    seed: FirstRelevance = of_score,
    batch: Batch = "auto",
) -> Tensor:
    """Returns the relevance at a layer's output, as a map (n, c, h, w)."""

    def work(part: ModelScore, some: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def watch(arriving: Tensor) -> Tensor:
            seen.append(arriving)
            return arriving

        last = score.model.survey.last_run(layer)
        _relevance(part, some, composite, seed, {last: watch})
        if not seen:
            raise MethodError(f"no relevance reaches layer {layer} of {score.model.name}: the score does not depend on it")
        return to_map(score.model.survey.map_of(layer), torch.stack(seen).sum(0), size_of(images))

    return over_images(score, images, work, batch, gradients=True)


def _relevance(
    score: ModelScore, images: Tensor, composite: Composite, seed: FirstRelevance, through: Gates
) -> tuple[Tensor, Tensor]:
    leaf = images.detach().requires_grad_()
    propagation = Propagation(composite, HANDLERS, leaf, _box(score.model, leaf))
    try:
        return _propagated(score, leaf, propagation, seed, through)
    finally:
        propagation.forget()


def _propagated(
    score: ModelScore, leaf: Tensor, propagation: Propagation, seed: FirstRelevance, through: Gates
) -> tuple[Tensor, Tensor]:
    """Returns the relevance at the image (n, c, h, w), and the sum (n,) of each image's initial relevance."""
    composite = propagation.composite
    edits = {layer: partial(propagation.intercept, seen=seen) for layer, seen in through.items()}
    with (
        torch.enable_grad(),
        propagation.mode,
        edit(score.model, edits, raw=True),
        _answers(score.model, propagation) as answers,
    ):
        values = score(leaf)
    outputs, seeds = _seeds(values, answers, seed)
    if not any(one.requires_grad for one in outputs):
        raise MethodError(f"no relevance reaches the image: the answer of {score.model.name} has no gradient, or ignores it")
    if composite.supposes_relu and propagation.relus == 0:
        raise MethodError(f"{score.model.name} has no ReLU, and excitation backprop supposes activations from zero up; use lrp")
    refuse_unknown(outputs, score.model.name)
    (arrived,) = torch.autograd.grad(outputs, leaf, seeds, allow_unused=True)
    if composite.first is not None and propagation.first == 0:
        raise MethodError(f"{score.model.name} has no convolution or linear layer at the image for the composite's first rule")
    started = torch.stack([one.reshape(len(leaf), -1).sum(1) for one in seeds]).sum(0)
    return torch.zeros_like(leaf) if arrived is None else arrived, started


@contextlib.contextmanager
def _answers(model: VisionModel, propagation: Propagation) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Cuts the autograd graph at the network's outputs inside the block; yields (output tensor, leaf in its place) pairs."""
    pairs: list[tuple[Tensor, Tensor]] = []

    def cut(tensor: Tensor) -> Tensor:
        if not tensor.requires_grad:
            return tensor
        pairs.append((tensor, tensor.detach().requires_grad_()))
        return pairs[-1][1]

    def answered(_module: Any, _args: Any, output: Any) -> Any:
        propagation.answered = True
        return mapped(output, cut)

    with model.replica.register_forward_hook(answered):
        yield pairs


def _seeds(values: Tensor, answers: Sequence[tuple[Tensor, Tensor]], seed: FirstRelevance) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the tensors where relevance starts (a unit inside the network, or the outputs), and their initial relevance."""
    if not answers:
        return [values], [seed(values.detach(), torch.ones_like(values))]
    gradients = torch.autograd.grad(values, [leaf for _, leaf in answers], torch.ones_like(values), allow_unused=True)
    found = [(output, leaf, g) for (output, leaf), g in zip(answers, gradients, strict=True) if g is not None]
    return [output for output, _, _ in found], [seed(leaf.detach(), gradient) for _, leaf, gradient in found]


def _box(model: VisionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the normalised values of black and white images: the least and the largest value of each channel."""
    ends = [model.preprocessing.normalize(torch.full_like(images[:1], end)) for end in (0.0, 1.0)]
    return torch.minimum(*ends), torch.maximum(*ends)
