"""Computes the relevance of tokens for attention methods, in batches, and places it on the grid of patches."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.attention import Attention, Found, attention_weights, gradients, heard, in_sequence
from tapetum.engines.batching import over_images
from tapetum.engines.probe import edit
from tapetum.engines.scores import ModelScore, UnitScore
from tapetum.models.hooks import hooked
from tapetum.models.layers import to_map
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, LayerError, MethodError

Relevance = Callable[[Tensor, list[Attention]], Tensor]
"""Function from the scores (n,) of a pass and its attentions, first to last, to the relevance of each token (n, t)."""


class _FoldedError(Exception):
    """Raised when heads and images share an axis of the attention weights: their order is known only in a batch of one."""


def token_relevance(score: ModelScore, images: Tensor, relevance: Relevance, *, batch: Batch = "auto") -> Tensor:
    """Applies `relevance` to batches of images; returns (n, 1, h, w). Refuses parallel attentions and several token grids."""

    def work(part: ModelScore, some: Tensor) -> Tensor:
        with torch.enable_grad(), attention_weights() as found:
            values = part(some)
        used = heard(values, found.used)
        places = checked_places(score.model, found, used, some)
        if values.requires_grad and not in_sequence(used):
            raise MethodError(f"{score.model.name} has attentions side by side, so there is no one way through its layers")
        return relevance(values, used)[:, places].to(images.dtype)  # a softmax may compute in another type

    return _mapped(score, images, work, batch)


def gradients_by_layer(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """Returns ReLU of the gradient of each layer's score at its attention, (n, layers, h, w), the last layer first.

    A layer's score is that of the network's head applied to the layer's tokens: after the last block, the tokens of all
    blocks continue as one larger batch. Gradients are averaged over heads and queries; where the head pools by attention,
    they are taken at that attention instead.
    """
    if isinstance(score, UnitScore):
        raise MethodError("the head is asked about the tokens of every layer: give a class or a callable as target, not a unit")
    blocks = score.model.remember("attention blocks", lambda: _blocks(score.model, images[:1]))

    def work(part: ModelScore, some: Tensor) -> Tensor:
        kept = dict[str, Tensor]()
        edits = {block: _keep(kept, block) for block in blocks} | {blocks[-1]: _together(kept)}
        with torch.enable_grad(), attention_weights(cut=True) as found, edit(score.model, edits, raw=True):
            values = part.take([*range(len(some))] * len(blocks)).read(part.model(some, part.rows))
        layers, pooling = found.used[: len(blocks)], heard(values, found.used[len(blocks) :])
        places = checked_places(score.model, found, layers, some)
        if len(values) != len(blocks) * len(some):
            raise MethodError("the head is asked about the tokens of every layer: the target must take batches of any size")
        if pooling:
            pooling[0].n = len(values)
            own = gradients(values, pooling[:1])[0].clamp(min=0).mean((1, 2)).unflatten(0, (len(blocks), len(some)))
        else:
            own = torch.stack([grad.clamp(min=0).mean((1, 2)) for grad in gradients(values, layers)[::-1]])
        return own.transpose(0, 1)[:, :, places].to(images.dtype)

    return _mapped(score, images, work, batch)


def _keep(kept: dict[str, Tensor], block: str) -> Callable[[Tensor], Tensor]:
    """Returns an edit that stores a block's tokens and passes a detached clone on, so that gradients stay within one block."""

    def keep(tokens: Tensor) -> Tensor:
        kept[block] = tokens
        return tokens.detach().clone()

    return keep


def _together(kept: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Returns an edit that appends the stored tokens of all other blocks to the last block's batch, later blocks first."""
    return lambda tokens: torch.cat([tokens, *reversed(kept.values())])


def _mapped(score: ModelScore, images: Tensor, work: Callable[[ModelScore, Tensor], Tensor], batch: Batch) -> Tensor:
    """Calls `work` on batches, or on one image at a time where heads and images share an axis; joins the maps."""
    try:
        maps = over_images(score, images.detach(), work, batch, gradients=True)
    except _FoldedError:
        maps = over_images(score, images.detach(), work, 1)
    return maps if maps.ndim == 4 else maps[:, None]


def checked_places(model: VisionModel, found: Found, attentions: Sequence[Attention], images: Tensor) -> Tensor:
    """Returns the index of the token at each place, (h, w); refuses attentions that are not over all tokens of the image."""
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
    """Returns whether all attentions are over all tokens; only the last, a pooling, may have fewer queries than tokens."""
    square = all(shape[-2:] == (tokens, tokens) for shape in shapes[:-1]) and shapes[-1][-1] == tokens
    return square and all(len(shape) != 4 or shape[0] == n for shape in shapes)


def token_places(model: VisionModel, tokens: int, images: Tensor) -> Tensor | None:
    """Returns the index of the token at each place, (h, w), from the model's survey; None if no layer has this many tokens."""
    numbers = torch.arange(tokens, device=images.device)[None, :, None]
    for where in model.survey.maps.values():
        if where.layout == "tokens" and where.prefix < tokens:
            with contextlib.suppress(LayerError):  # a layer before the class token is added, or of another stage
                return to_map(where, numbers, size_of(images))[0, 0]
    return None


def read_tokens(last_gradient: Tensor) -> Tensor:
    """Returns weights (n, q) of the last attention's queries: equal for all that the score depends on, 0 for the others.

    The score does not depend on a query whose attention weights have no gradient. The others are the class token alone,
    also a second one (DeiT's distillation token), or all patches.
    """
    read = (last_gradient != 0).any(3).any(1).to(last_gradient.dtype)
    return read / read.sum(1, keepdim=True).clamp(min=1)


def _blocks(model: VisionModel, image: Tensor) -> list[str]:
    """Lists the outermost modules that contain exactly one attention over all tokens and return tokens."""
    paths: list[tuple[str, ...]] = []

    def record(one: Attention) -> None:
        if one.raw.shape[-1] == one.raw.shape[-2]:
            paths.append(tuple(running))

    with torch.no_grad(), _running(model) as running, attention_weights(inside=record) as found:
        model(image)
    checked_places(model, found, found.used, image)
    holds = Counter(name for path in paths for name in path)
    blocks = [next((name for name in path if holds[name] == 1), None) for path in paths]
    if None in blocks:
        raise MethodError(f"{model.name} has an attention without a layer of its own that gives tokens; use gradient_attention")
    return [name for name in blocks if name is not None]


@contextlib.contextmanager
def _running(model: VisionModel) -> Iterator[list[str]]:
    """Yields a list that holds, at any time, the running layers with tokens as output, outermost first."""
    maps, running = model.survey.maps, list[str]()
    names = [one.name for one in model.survey.layers if maps[one.name].layout == "tokens" and one.calls == 1]
    with hooked([(name, model.replica.get_submodule(name)) for name in names], running.append, lambda *_: running.pop()):
        yield running
