"""Style transfer: the layout of one picture with the textures and colours of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from torch import Tensor

from tapetum.border.methods import rendering
from tapetum.border.sentences import Frames, LongestSide, Seed, SideOfPhotograph
from tapetum.border.subjects import as_pictures
from tapetum.data.preprocessing import size_of
from tapetum.engines.render import Recipe, measure_each, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render import transforms as T
from tapetum.engines.render.optimize import acts_of, measure
from tapetum.engines.render.optimizers import bounded_adam
from tapetum.engines.render.parametrizations import as_it_is
from tapetum.engines.render.parametrizations.images import covering
from tapetum.families.dreams.pictures import DEPTHS, begun_with, named_or_usual
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, ImageError, Precision, Range, Rendering

CONTENT = 2
"""Index of the default content layer among five depths (the third); the default style layers are the first four."""


@rendering(cite="gatys2016style", takes="pictures")
def style_transfer(
    model: VisionModel,
    pictures: list[Tensor],
    *,
    style: Any,
    content_layer: str | None = None,
    style_layers: Sequence[str] | str | None = None,
    style_weight: Annotated[float, Range(0, 1e9)] = 10.0,
    smoothness: Annotated[float, Range(0, 1e9)] = 0.0,
    n_steps: Annotated[int, Range(1, 100_000)] = 150,
    step_size: Annotated[float, Range(0, 1)] = 0.02,
    jitter_px: Annotated[int, Range(0, 1000)] = 2,
    size: SideOfPhotograph = None,
    longest_px: LongestSide = 384,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
    frames: Frames = (),
) -> Rendering:
    """A photograph painted with the textures and colours of another picture: its layout stays.

    Adam on the pixels of the photograph p, kept in [0, 1], raises values (s, n) = -(C + style_weight S + smoothness TV).

    C = |F(x) - F(p)|^2 / |F(p)|^2 in the content layer; S the mean over style layers of |G(x) - G(s)|^2 / |G(p) - G(s)|^2,
    G = F F^T / places, the Gram matrix: how often channels are active together, at any place. So S is the share of the way to
    the style s that is left, 1 at the start. scores (n,) are the value at the end, pixels (n, 3, h, w) in [0, 1]; `numbers` has
    "content" C and "style" S of the finished pictures. gatys2016style adds squared differences of layers without scaling and
    uses L-BFGS; relative differences need no new weights for another model.

    Args:
        style: the picture whose style is used, anything `read_image` takes; cut to the photograph's proportions.
        content_layer: layer in which content is compared; None: the third of five depths (the choice is in `notes`).
        style_layers: names or globs of layers in which styles are compared, with equal weights; None: the first four of five
            depths (the choice is in `notes`).
        style_weight: weight of style beside content; 0 keeps the photograph.
        smoothness: weight of the mean total variation of the pixels.
        n_steps: number of steps.
        step_size: learning rate of Adam: about the change of a pixel per step, in units of [0, 1].
        jitter_px: largest random shift of the picture before a pass, against patterns of the network's strides.

    Example:
        >>> tp.style_transfer(model, images, style=images.clamp(0, 1)[0].flip(-1), n_steps=2).numbers["style"]
    """
    content, styles = _layers(model, content_layer, style_layers)
    begun = begun_with(model, pictures, size, longest_px)
    painted = covering(_style(model, style), size_of(begun))
    parts = [_distances(model, picture, painted, content, styles) for picture in begun.split(1)]
    objectives = [-(c + s * style_weight) for c, s in parts]
    if smoothness:
        objectives = [one - O.total_variation() * smoothness for one in objectives]
    recipe = Recipe(as_it_is(begun), (T.roll(jitter_px),), bounded_adam(step_size), n_steps, redirect=0, precision=precision)
    made = render(model, objectives, recipe, size=size_of(begun), seed=seed, batch=batch, frames=frames)
    names = ("content", "style")
    numbers = {name: measure_each(model, ends, made.pixels) for name, ends in zip(names, zip(*parts, strict=True), strict=True)}
    return replace(made, numbers=numbers, objectives=("style transfer",) * len(made))


def _layers(model: VisionModel, content: str | None, styles: Sequence[str] | str | None) -> tuple[str, list[str]]:
    content = named_or_usual(model, content, CONTENT, "content layer {} was chosen")
    if styles is None:
        usual = depths(model, DEPTHS)
        styles = usual[:-1] or usual
        note(f"style layers {', '.join(styles)} were chosen")
    return content, model.find_layers(styles)


def _style(model: VisionModel, style: Any) -> Tensor:
    """Reads the style picture as (1, 3, H, W) in [0, 1]; refuses several."""
    found = as_pictures(model, style)
    if len(found) != 1:
        raise ImageError(f"one picture gives the style, not {len(found)}")
    return found[0]


def _distances(
    model: VisionModel, picture: Tensor, painted: Tensor, content: str, styles: Sequence[str]
) -> tuple[O.Objective, O.Objective]:
    """Returns the content and the style loss of one picture; style distances are relative to those of the photograph."""
    there, wanted = acts_of(model, picture, [content, *styles]), acts_of(model, painted, styles)
    total = None
    for layer in styles:
        distance = O.style_distance(layer, wanted[layer])
        first = float(measure(model, distance, picture))
        part = distance / (first * len(styles)) if first > 0 else distance * 0.0  # the photograph already has this style
        total = part if total is None else total + part
    assert total is not None  # `find_layers` gives one or more
    return O.content_distance(content, there[content]), total
