"""Objectives that compare with another picture: its activation, its style, its pixels.

`given` is the activation of one picture, (c, h, w) or (c,) or either with a first axis of 1; for several pictures
`each([...])` takes one objective per picture. Distances are positive, to be subtracted, and relative to what is given, so
that layers of large and small values weigh the same, and a weight keeps its meaning in another model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.engines.render.objectives.common import activation_of, argument_text, call_text, maps, norm, positive, sum_each
from tapetum.engines.render.objectives.directions import FLOOR, cosine
from tapetum.types import ImageError, LayerError


def dot_cosine(layer: str, given: Tensor, *, cosine_power: float | int = 1) -> Objective:
    """Exaggeration of a given activation g (n,): (a . g / |g|^2) max(.1, cos(a, g))^p over all places at once.

    The objective of caricatures: p = 0 makes everything in g stronger, larger p asks for g and nothing else. 1 at a = g.
    Lucid's cosine is a . g / |g| (it leaves out |a|); this is the cosine.
    """
    g, p = activation_of(given), positive(cosine_power, "cosine_power", reached=True)

    def value(seen: Seen) -> Tensor:
        act, wanted = _together(seen, layer, g)
        share = sum_each(act * wanted) / sum_each(wanted[None] ** 2)
        return share if p == 0 else share * _cosine(act, wanted).clamp(min=FLOOR) ** p

    return Objective(call_text("dot_cosine", layer, g, cosine_power=p), (layer,), value)


def cosine_similarity(layer: str, given: Tensor) -> Objective:
    """Similarity of an activation to a given one of any length, in [-1, 1] (n,): the cosine over all places at once."""
    g = activation_of(given)
    return Objective(call_text("cosine_similarity", layer, g), (layer,), lambda seen: _cosine(*_together(seen, layer, g)))


def correlation(layer: str, given: Tensor) -> Objective:
    """Pearson's correlation of an activation with a given one, in [-1, 1] (n,): the cosine once each has mean 0."""
    g = activation_of(given)
    centred = activation_of(g - g.mean(), "the given activation without its mean")

    def value(seen: Seen) -> Tensor:
        act, wanted = _together(seen, layer, centred)
        return _cosine(act - (sum_each(act) / wanted.numel()).view(-1, 1, 1, 1), wanted)

    return Objective(call_text("correlation", layer, g), (layer,), value)


def _cosine(act: Tensor, wanted: Tensor) -> Tensor:
    return torch.cat([cosine(one.reshape(1, -1), wanted.reshape(1, -1)) for one in act])


def feature_match(layer: str, given: Tensor) -> Objective:
    """The same activation as a given one, place by place (n,): -|a - g|^2 / |g|^2, 0 at best, -1 for a = 0.

    The objective of inversion (mahendran2015inversion), without its penalties.
    """
    g = activation_of(given)
    return Objective(call_text("feature_match", layer, g), (layer,), lambda seen: -_distance(*_together(seen, layer, g), 2))


def content_distance(layer: str, given: Tensor, *, power: float | int = 2) -> Objective:
    """Distance of an activation from a given one (n,): sum |a - g|^p / sum |g|^p, to be subtracted.

    The content term of style transfer (gatys2016style) and the regularizer of accentuation, p = 2; p = 1 forgives
    large differences in few places.
    """
    g, p = activation_of(given), positive(power, "power", 1, reached=True)

    def value(seen: Seen) -> Tensor:
        return _distance(*_together(seen, layer, g), p)

    return Objective(call_text("content_distance", layer, g, power=None if p == 2 else p), (layer,), value)


def style_distance(layer: str, given: Tensor, *, power: float | int = 2) -> Objective:
    """Distance of the style from that of a given activation (n,): sum |G - G0|^p / sum |G0|^p, to be subtracted.

    G = F F^T / (h w), F (c, h w): how often channels are active together, wherever. The mean over places lets the given
    activation have another height and width; relative to G0, since gatys2016style's 1 / (4 c^2) leaves the size of the
    activations in, so that each layer needs a weight of its own.
    """
    g, p = activation_of(given), positive(power, "power", 1, reached=True)
    wanted = gram(g[None])[0]

    def value(seen: Seen) -> Tensor:
        act = maps(seen, layer)
        if act.shape[1] != len(wanted):
            raise LayerError(
                f"the given activation has {len(wanted)} channels, {layer} has {act.shape[1]}: take it from {layer}"
            )
        return _distance(gram(act), wanted.to(act.device, act.dtype), p)

    return Objective(call_text("style_distance", layer, g, power=None if p == 2 else p), (layer,), value)


def gram(act: Tensor) -> Tensor:
    """Gram matrices (n, c, c) of maps (n, c, h, w): means over places of products of channels."""
    # one by one, in its own memory: products may sum in another order in a batch or at another alignment
    flat = [one.clone(memory_format=torch.contiguous_format) for one in act.flatten(2)]
    return torch.stack([one @ one.T / one.shape[1] for one in flat])


def input_diff(picture: Tensor) -> Objective:
    """Distance of the pixels from a given picture (n,): the root of the mean square difference, in [0, 1], to be subtracted.

    picture   (3, h, w) or (1, 3, h, w) in [0, 1], of the size that is rendered
    """
    wanted = activation_of(picture, "the given picture")

    def value(seen: Seen) -> Tensor:
        colors = seen.pixels[:, :3]
        if colors.shape[1:] != wanted.shape:
            raise ImageError(
                f"the given picture is {argument_text(wanted)} (c x h x w), the rendered one {tuple(colors.shape[1:])}"
            )
        return norm(colors - wanted.to(colors.device, colors.dtype)) / wanted.numel() ** 0.5

    return Objective(call_text("input_diff", wanted), (), value)


def _together(seen: Seen, layer: str, given: Tensor) -> tuple[Tensor, Tensor]:
    """Activations (n, c, h, w), and the given one (c, h, w) in their type."""
    act = maps(seen, layer)
    if act.shape[1:] != given.shape:
        here, there = (" x ".join(map(str, shape)) for shape in (act.shape[1:], given.shape))
        raise LayerError(
            f"the given activation is {there} (c x h x w), {layer} gives {here} here: take it from {layer} and a picture "
            "of the size that is rendered, and leave out transforms that enlarge it (pad)"
        )
    return act, given.to(act.device, act.dtype)


def _distance(values: Tensor, wanted: Tensor, power: float | int) -> Tensor:
    """Relative distances (n,) of v (n, ...) from w (...): sum |v - w|^p / sum |w|^p."""
    return sum_each((values - wanted).abs() ** power) / sum_each(wanted[None].abs() ** power)
