"""Relevance of tokens: passes of attention methods, in batches, on the grid of the patches."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tapetum.engines.attention import Attention, Found, attention_weights, gradients, heard, in_sequence
from tapetum.engines.batching import over_images
from tapetum.engines.probe import edit
from tapetum.engines.scores import ModelScore, UnitScore
from tapetum.models.hooks import hooked
from tapetum.models.layers import to_map
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, LayerError, MethodError

Relevance = Callable[[Tensor, list[Attention]], Tensor]
"""The scores (n,) of one pass and its attentions, first to last, to the relevance of each token (n, t)."""


class _FoldedError(Exception):
    """Heads and images share an axis: which of the two is outside cannot be seen, except in a batch of one."""


def token_relevance(score: ModelScore, images: Tensor, relevance: Relevance, *, batch: Batch = "auto") -> Tensor:
    """`relevance` of passes whose attentions follow each other over one grid of tokens, (n, 1, h, w)."""

    def work(rows: Sequence[int]) -> Tensor:
        some = images[rows[0] : rows[-1] + 1].detach()
        with torch.enable_grad(), attention_weights() as found:
            values = score.take(rows)(some)
        used = heard(values, found.used)
        places = checked_places(score.model, found, used, some)
        if values.requires_grad and not in_sequence(used):
            raise MethodError(f"{score.model.name} has attentions side by side, so there is no one way through its layers")
        return relevance(values, used)[:, places].to(images.dtype)  # a softmax may have a type of its own

    return _mapped(score, images, work, batch)


def gradients_by_layer(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """ReLU of the gradient of each layer's own score at its attention: (n, layers, h, w), the last layer first.

    A layer's own score is what the network's own head says of the layer's tokens: behind the last block the tokens of all
    blocks go on as one larger batch. Averaged over heads and queries. Where the head pools by attention, the gradient is
    taken at that one.
    """
    if isinstance(score, UnitScore):
        raise MethodError("the head is asked about the tokens of every layer: give a class or a callable as target, not a unit")
    blocks = score.model.remember("attention blocks", lambda: _blocks(score.model, images[:1]))

    def work(rows: Sequence[int]) -> Tensor:
        some, kept = images[rows[0] : rows[-1] + 1].detach(), dict[str, Tensor]()
        edits = {block: _keep(kept, block) for block in blocks} | {blocks[-1]: _together(kept)}
        with torch.enable_grad(), attention_weights(cut=True) as found, edit(score.model, edits, raw=True):
            values = score.take([*rows] * len(blocks)).read(score.take(rows).output(some))
        layers, pooling = found.used[: len(blocks)], heard(values, found.used[len(blocks) :])
        places = checked_places(score.model, found, layers, some)
        if len(values) != len(blocks) * len(rows):
            raise MethodError("the head is asked about the tokens of every layer: the target must take batches of any size")
        if pooling:
            pooling[0].n = len(values)
            own = gradients(values, pooling[:1])[0].clamp(min=0).mean((1, 2)).unflatten(0, (len(blocks), len(rows)))
        else:
            own = torch.stack([grad.clamp(min=0).mean((1, 2)) for grad in gradients(values, layers)[::-1]])
        return own.transpose(0, 1)[:, :, places].to(images.dtype)

    return _mapped(score, images, work, batch)


def _keep(kept: dict[str, Tensor], block: str) -> Callable[[Tensor], Tensor]:
    """Notes the tokens; what follows gets them without their history, so each layer's gradient is its own."""

    def keep(tokens: Tensor) -> Tensor:
        kept[block] = tokens
        return tokens.detach().clone()

    return keep


def _together(kept: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """The tokens of the last block with those of all others behind, the later first."""
    return lambda tokens: torch.cat([tokens, *reversed(kept.values())])


def _mapped(score: ModelScore, images: Tensor, work: Callable[[Sequence[int]], Tensor], batch: Batch) -> Tensor:
    """`work` on the rows of the images in batches; one by one where heads and images share an axis."""
    try:
        maps = over_images(score.model, len(images), work, batch, gradients=True)
    except _FoldedError:
        maps = over_images(score.model, len(images), work, 1)
    return maps if maps.ndim == 4 else maps[:, None]


def checked_places(model: VisionModel, found: Found, attentions: Sequence[Attention], images: Tensor) -> Tensor:
    """The token of each place (h, w), for attentions over all tokens of the image; refuses any other attention."""
    if not attentions:
        raise MethodError(f"{model.name} has no attention between tokens; use grad_cam, which needs none")
    shapes = [tuple(one.raw.shape) for one in attentions]
    tokens = shapes[0][-1]
    places = token_places(model, tokens, images)
    if places is None or not _over_all_tokens(shapes, tokens, len(images)):
        odd = next((shape for shape in shapes if shape[-2:] != (tokens, tokens)), shapes[0])
        raise MethodError(
            f"the attention of {model.name} (weights {' x '.join(map(str, odd))}) is not over one grid of tokens for the "
            "whole image; use grad_cam"
        )
    if any(one.raw.shape[-1] == tokens and not one.used for one in found.seen):
        raise MethodError(f"{model.name} changes its attention weights after the softmax, so they cannot be read; use grad_cam")
    if len(images) > 1 and any(len(shape) == 3 and shape[0] != len(images) for shape in shapes):
        raise _FoldedError
    for one in attentions:
        one.n = len(images)
    return places


def _over_all_tokens(shapes: Sequence[tuple[int, ...]], tokens: int, n: int) -> bool:
    """Whether all attentions are over all tokens; only the last may have fewer queries than tokens: a pooling by attention."""
    square = all(shape[-2:] == (tokens, tokens) for shape in shapes[:-1]) and shapes[-1][-1] == tokens
    return square and all(len(shape) != 4 or shape[0] == n for shape in shapes)


def token_places(model: VisionModel, tokens: int, images: Tensor) -> Tensor | None:
    """Number of the token at each place, (h, w), as the survey of the layers found it; None where there is no such grid."""
    height, width = images.shape[-2:]
    numbers = torch.arange(tokens, device=images.device)[None, :, None]
    for where in model.survey.maps.values():
        if where.layout == "tokens" and where.prefix < tokens:
            with contextlib.suppress(LayerError):  # a layer before the class token came, or of another stage
                return to_map(where, numbers, (int(height), int(width)))[0, 0]
    return None


def read_tokens(last_gradient: Tensor) -> Tensor:
    """The share of each query of the last attention in what the score reads, (n, q).

    A query whose weights have no gradient at all is not read: for a network that reads its class token all but that one.
    Those that are read share equally, be it the class token alone, a second one (DeiT's distillation), or the patches.
    """
    read = (last_gradient != 0).any(3).any(1).to(last_gradient.dtype)
    return read / read.sum(1, keepdim=True).clamp(min=1)


def _blocks(model: VisionModel, image: Tensor) -> list[str]:
    """Outermost modules that hold one attention over all tokens each, and return tokens."""
    paths: list[tuple[str, ...]] = []
    with torch.no_grad(), _running(model) as running:
        note = lambda one: paths.append(tuple(running)) if one.raw.shape[-1] == one.raw.shape[-2] else None  # noqa: E731
        with attention_weights(inside=note) as found:
            model(image)
    checked_places(model, found, found.used, image)
    holds = Counter(name for path in paths for name in path)
    blocks = [next((name for name in path if holds[name] == 1), None) for path in paths]
    if None in blocks:
        raise MethodError(f"{model.name} has an attention without a layer of its own that gives tokens; use gradient_attention")
    return [name for name in blocks if name is not None]


@contextlib.contextmanager
def _running(model: VisionModel) -> Iterator[list[str]]:
    """Names of the layers with tokens as output that are running, outermost first."""
    maps, running = model.survey.maps, list[str]()
    names = [one.name for one in model.survey.layers if maps[one.name].layout == "tokens" and one.calls == 1]
    with hooked([(name, model.replica.get_submodule(name)) for name in names], running.append, lambda *_: running.pop()):
        yield running
