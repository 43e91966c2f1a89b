"""The most active channels for a photograph in an early and a late layer, each with an image optimised to excite it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.border.layers import layers_with_maps
from tapetum.border.methods import rendering
from tapetum.border.sentences import AscentSteps, Preset, Seed, SideOfNoise
from tapetum.engines.probe import capture
from tapetum.engines.render import objectives as O
from tapetum.engines.render import render
from tapetum.engines.render.sizes import as_size
from tapetum.families.inspections import chosen, strength
from tapetum.families.visualizations import recipe_of
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, FilterSpecialization, Range, Rendering
from tapetum.types.results import joined


@rendering(cite="olah2017feature", takes="images", question="found")
def filter_specialization(
    model: VisionModel,
    images: Tensor,
    *,
    layers: str | Sequence[str] | None = None,
    k: Annotated[int, Range(1, 100)] = 10,
    by: Literal["max", "mean", "variance"] = "max",
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    preset: Preset = "best",
    seed: Seed = 0,
    batch: Batch = "auto",
) -> FilterSpecialization:
    """The most active channels of a photograph, early and late: what each looks for, and where it found it.

    Shows for each layer the k most active channels, each with the picture that drives it most (as `visualize` makes it) and
    its map. pixels (m d k, 3, h, w) for m images and d layers. numbers (n,), one per picture: activation, the mean of the
    channel's map in that image; share, mean |a| of the channel over the sum of all channels' of its layer; extent, the share of
    places above half of its maximum (0 where that is not positive), which is small where a filter finds its pattern in few
    spots. A place of a deep layer covers a large part of the photograph. The picture of a channel that several images share is
    made once.

    Args:
        layers: names or globs; None: the second and the last of seven depths.
        k: channels per layer; fewer where a layer has fewer.
        by: measure of a channel's activity: its max, mean or variance over places.

    Example:
        >>> tp.filter_specialization(model, images, k=2, size=32, n_steps=2).numbers["extent"]
    """
    names = _early_and_late(model) if layers is None else layers_with_maps(model, layers)
    with capture(model, names) as acts:
        model(model.laid_out(images))
    maps = [acts[name] for name in names]
    k = min(k, *(one.shape[1] for one in maps))
    channels = torch.stack([strength(one, by).topk(k).indices for one in maps], 1)
    units = [(names[i], channel) for row in channels.tolist() for i, some in enumerate(row) for channel in some]
    made = _pictures(model, units, recipe_of(preset, n_steps), size, seed, batch)
    numbers = {name: value.flatten() for name, value in _numbers(maps, channels).items()}
    _compare(names, channels.shape, numbers)
    return FilterSpecialization(
        **{**vars(made), "numbers": numbers, "layout": (len(images) * len(names), k)},
        photographs=model.denormalize(images),
        layers=tuple(names),
        channels=channels,
        maps=tuple(chosen(one, channels[:, i]) for i, one in enumerate(maps)),
    )


def _early_and_late(model: VisionModel) -> list[str]:
    """Returns two layers: the second and the last of seven depths; channels at the first depth mostly respond to colours."""
    several = depths(model, 7)
    return list(dict.fromkeys([several[min(1, len(several) - 1)], several[-1]]))


def _pictures(
    model: VisionModel, units: Sequence[tuple[str, int]], recipe: Any, size: Any, seed: int, batch: Batch
) -> Rendering:
    """Renders one picture per unit (layer, channel); a unit that occurs several times is rendered once."""
    once = list(dict.fromkeys(units))
    wanted, places = [O.channel(*unit) for unit in once], [units.index(unit) for unit in once]
    made = render(model, wanted, recipe, size=as_size(model, size), seed=seed, batch=batch, places=places)
    return joined([made[once.index(unit)] for unit in units])


def _numbers(maps: Sequence[Tensor], channels: Tensor) -> dict[str, Tensor]:
    """Returns {"activation", "share", "extent"} of the chosen channels, each (m, d, k) for m images, d layers, k channels."""
    found: dict[str, list[Tensor]] = {"activation": [], "share": [], "extent": []}
    for i, layer in enumerate(maps):
        some, size = chosen(layer, channels[:, i]), layer.abs().mean((2, 3))
        peak = some.amax((2, 3), keepdim=True)
        found["activation"].append(some.mean((2, 3)))
        found["share"].append(some.abs().mean((2, 3)) / size.sum(1, keepdim=True))
        found["extent"].append(((some > peak / 2) & (peak > 0)).to(some.dtype).mean((2, 3)))
    return {name: torch.stack(values, 1) for name, values in found.items()}


def _compare(layers: Sequence[str], shape: Sequence[int], numbers: dict[str, Tensor]) -> None:
    """Adds a note per layer: the share of activation in its top channels, and the share of places where they are active."""
    share, extent = (numbers[name].view(*shape) for name in ("share", "extent"))
    for i, layer in enumerate(layers):
        held, places = float(share[:, i].sum(1).mean()), float(extent[:, i].mean())
        note(f"{layer}: its {shape[2]} top channels hold {held:.0%} of the activation and answer in {places:.0%} of places")
