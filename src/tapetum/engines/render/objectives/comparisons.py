"""Objectives that compare a rendered picture with a given one: their activations, their styles, or their pixels.

`given` is the activation of one picture, (c, h, w) or (c,), or either with a first axis of 1; to compare several pictures, use
`each([...])` with one objective per picture. Distances are positive, to be subtracted, and relative to `given`, so that
layers of large and small values weigh the same, and a weight keeps its meaning in another model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.engines.render.objectives.common import activation_of, argument_text, call_text, maps, norm, positive, sum_each
from tapetum.engines.render.objectives.directions import FLOOR, cosine
from tapetum.types import ImageError, LayerError


def dot_cosine(layer: str, given: Tensor, *, cosine_power: float | int = 1) -> Objective:
    """Exaggeration (n,) of a given activation g: (a . g / |g|^2) max(.1, cos(a, g))^p, with all positions as one vector.

    The objective of caricatures, 1 at a = g. With p = 0 it rewards more of anything in g; the larger p, the more it demands
    that nothing else be active. Where Lucid divides by |g| alone, this divides by |a| |g|, which is the cosine.
    """
    g, p = activation_of(given), positive(cosine_power, "cosine_power", reached=True)

    def value(seen: Seen) -> Tensor:
        act, wanted = _together(seen, layer, g)
        share = sum_each(act * wanted) / sum_each(wanted[None] ** 2)
        return share if p == 0 else share * _cosine(act, wanted).clamp(min=FLOOR) ** p

    return Objective(call_text("dot_cosine", layer, g, cosine_power=p), (layer,), value)


def cosine_similarity(layer: str, given: Tensor) -> Objective:
    """Cosine similarity (n,) in [-1, 1] of an activation and a given one, with all positions as one vector."""
    g = activation_of(given)
    return Objective(call_text("cosine_similarity", layer, g), (layer,), lambda seen: _cosine(*_together(seen, layer, g)))


def correlation(layer: str, given: Tensor) -> Objective:
    """Pearson correlation (n,) in [-1, 1] of an activation with a given one: the cosine of the two without their means."""
    g = activation_of(given)
    centred = activation_of(g - g.mean(), "the given activation without its mean")

    def value(seen: Seen) -> Tensor:
        act, wanted = _together(seen, layer, centred)
        return _cosine(act - (sum_each(act) / wanted.numel()).view(-1, 1, 1, 1), wanted)

    return Objective(call_text("correlation", layer, g), (layer,), value)


def _cosine(act: Tensor, wanted: Tensor) -> Tensor:
    return torch.cat([cosine(one.reshape(1, -1), wanted.reshape(1, -1)) for one in act])


def feature_match(layer: str, given: Tensor) -> Objective:
    """Agreement (n,) of an activation a with a given one g at every position: -|a - g|^2 / |g|^2, at most 0, and -1 for a = 0.

    The objective of inversion (mahendran2015inversion), without the penalties.
    """
    g = activation_of(given)
    return Objective(call_text("feature_match", layer, g), (layer,), lambda seen: -_distance(*_together(seen, layer, g), 2))


def content_distance(layer: str, given: Tensor, *, power: float | int = 2) -> Objective:
    """Distance (n,) of an activation a from a given one g: sum |a - g|^p / sum |g|^p, to be subtracted.

    With p = 2 it is the content term of style transfer (gatys2016style) and the regularizer of accentuation; p = 1 tolerates
    large differences at a few positions.
    """
    g, p = activation_of(given), positive(power, "power", 1, reached=True)

    def value(seen: Seen) -> Tensor:
        return _distance(*_together(seen, layer, g), p)

    return Objective(call_text("content_distance", layer, g, power=None if p == 2 else p), (layer,), value)


def style_distance(layer: str, given: Tensor, *, power: float | int = 2) -> Objective:
    """Distance (n,) between the styles of an activation and of a given one: sum |G - G0|^p / sum |G0|^p, to be subtracted.

    The style is the Gram matrix G = F F^T / (h w), F (c, h w): how often channels are active together, wherever in the picture.
    It is a mean over positions, so the given activation may have another height and width. The distance is relative to G0:
    gatys2016style's factor 1 / (4 c^2) keeps the scale of the activations, so that each layer needs a weight of its own.
    """
    g, p = activation_of(given), positive(power, "power", 1, reached=True)
    wanted = gram(g[None])[0]

    def value(seen: Seen) -> Tensor:
        act = maps(seen, layer)
        if act.shape[1] != len(wanted):
            raise LayerError(f"the given activation has {len(wanted)} channels, {layer} has {act.shape[1]}: take it from there")
        return _distance(gram(act), wanted.to(act.device, act.dtype), p)

    return Objective(call_text("style_distance", layer, g, power=None if p == 2 else p), (layer,), value)


def gram(act: Tensor) -> Tensor:
    """Returns the Gram matrices (n, c, c) of maps (n, c, h, w): means over positions of the products of two channels."""
    # each picture alone, in memory of its own: a product may add up in another order in a batch or at another alignment
    flat = [one.clone(memory_format=torch.contiguous_format) for one in act.flatten(2)]
    return torch.stack([one @ one.T / one.shape[1] for one in flat])


def input_diff(picture: Tensor) -> Objective:
    """Root mean square difference (n,) in [0, 1] of the pixels from a given picture, to be subtracted.

    picture   (3, h, w) or (1, 3, h, w) in [0, 1], of the size of the rendered pictures
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
    """Returns a layer's activations (n, c, h, w), and the given one (c, h, w) in their type; refuses one of another shape."""
    act = maps(seen, layer)
    if act.shape[1:] != given.shape:
        here, there = (" x ".join(map(str, shape)) for shape in (act.shape[1:], given.shape))
        raise LayerError(
            f"the given activation is {there} (c x h x w), {layer} gives {here} here: take it from {layer} and a picture "
            "of the size that is rendered, and leave out transforms that enlarge it (pad)"
        )
    return act, given.to(act.device, act.dtype)


def _distance(values: Tensor, wanted: Tensor, power: float | int) -> Tensor:
    """Returns the relative distances (n,) of values v (n, ...) from w (...): sum |v - w|^p / sum |w|^p."""
    return sum_each((values - wanted).abs() ** power) / sum_each(wanted[None].abs() ** power)
