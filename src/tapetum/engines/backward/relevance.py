"""Relevance of a score: at the image, and at layers on the way.

    relevance(score, images, composite("epsilon_plus", 1e-6, 0.25))        (n, c, h, w), sums to the score but for biases

The network runs once and is gone back through once. Relevance starts at its answer: with g the gradient of the score by
the answer y it is y * g there, so a logit starts with its own value and a contrast with both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

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
"""Function of the answer y and the gradient g of the score by it that returns the relevance that starts there."""

Gates = Mapping[str, Callable[[Tensor], Tensor]]
"""{layer: change of the relevance that arrives there, in the layer's own layout}."""


def of_score(answer: Tensor, gradient: Tensor) -> Tensor:
    """Relevance y * g, which sums to the score where that is linear in the answer."""
    return answer * gradient


def of_one(answer: Tensor, gradient: Tensor) -> Tensor:
    """Relevance g: the target starts with 1 (excitation backprop's winner)."""
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
    """Relevance at the image, (n, c, h, w); notes the share of the score that arrives, where it is not all of it."""

    def work(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _relevance(score.take(rows), images[rows[0] : rows[-1] + 1], composite, seed, through or {})

    arrived, started = over_images(score.model, len(images), work, batch, gradients=True)
    if seed is of_score and not through:
        _note_share(arrived, started)
    return arrived


TOLD = 0.01
"""Share of the score: more relevance lost or gained on the way is noted."""


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
    """Relevance at a layer, as a map (n, c, h, w)."""

    def work(rows: Sequence[int]) -> Tensor:
        seen: list[Tensor] = []

        def watch(arriving: Tensor) -> Tensor:
            seen.append(arriving)
            return arriving

        last = score.model.survey.last_run(layer)
        _relevance(score.take(rows), images[rows[0] : rows[-1] + 1], composite, seed, {last: watch})
        if not seen:
            raise MethodError(f"no relevance reaches layer {layer} of {score.model.name}: the score does not depend on it")
        return to_map(
            score.model.survey.map_of(layer), torch.stack(seen).sum(0), (int(images.shape[-2]), int(images.shape[-1]))
        )

    return over_images(score.model, len(images), work, batch, gradients=True)


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
    """Relevance at the image, and the relevance with which each image started."""
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
        raise MethodError(
            f"no relevance reaches the image: {score.model.name} answers without a gradient, or its answer ignores the image"
        )
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
    """Cuts the graph at the network's answer: (tensor of the answer, leaf in its place) pairs."""
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
    """Tensors where relevance starts, and with how much; a unit inside the network starts with its own value."""
    if not answers:
        return [values], [seed(values.detach(), torch.ones_like(values))]
    gradients = torch.autograd.grad(values, [leaf for _, leaf in answers], torch.ones_like(values), allow_unused=True)
    found = [(output, leaf, g) for (output, leaf), g in zip(answers, gradients, strict=True) if g is not None]
    return [output for output, _, _ in found], [seed(leaf.detach(), gradient) for _, leaf, gradient in found]


def _box(model: VisionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Black and white as the network sees them: the least and largest value of each channel."""
    ends = [model.preprocessing.normalize(torch.full_like(images[:1], end)) for end in (0.0, 1.0)]
    return torch.minimum(*ends), torch.maximum(*ends)
