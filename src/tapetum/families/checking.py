"""Pictures that lie: does a unit's picture drive it through the same channels as photographs do?

A network can hold a path to a unit that photographs never open and optimised pictures do (a fooling circuit): the picture then
shows what that path looks for. Its drive runs through other channels than that of photographs, which is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapetum.data.streams import Source, as_source
from tapetum.data.streams.base import read_images
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.probe import edit
from tapetum.engines.render.objectives import Objective
from tapetum.engines.render.objectives.base import PreActivation
from tapetum.engines.signed import capture_signed, taps
from tapetum.models.blocks import block_layers
from tapetum.models.choice import extended
from tapetum.models.layers import kinds_of_operations
from tapetum.models.vision_model import VisionModel
from tapetum.progress import stage
from tapetum.types import Batch, ImageError, MethodError, PathCheck, Unit

OWN, OTHERS = 9, 24
"""Photographs that drive the unit most, and photographs that drive other units of its layer most."""

FEWEST = OWN + 19
"""With 19 photographs of other units the smallest p-value is .05."""

LAYERS = 9
"""Layers that are looked at, the nearest before the unit: in EfficientNet-Lite0 three blocks."""

LEVEL, HALF = 0.05, 0.5
"""A picture is flagged if its share is below half of the lowest of the photographs, and p is at most .05. Honest pictures lie
a little below photographs, which p alone would flag: their colours and contrasts are no photograph's."""


class Drives(NamedTuple):
    """What channels contribute to a unit, {layer: (n, c)} for n images: the sum over places of activation times gradient."""

    of: dict[str, Tensor]

    def shares(self, layer: str, own: Tensor) -> Tensor:
        """Returns the share (n,) of each image's drive at a layer that runs through the same channels as that of images `own`.

        sum_s min(p_s, mean over own of p_s), p the positive contributions divided by their sum: 1 for the same mix of
        channels, 0 for none in common; NaN where nothing is positive.
        """
        parts = self.of[layer].clamp(min=0)
        parts = parts / parts.sum(1, keepdim=True)
        usual = parts[own]
        return torch.minimum(parts, usual[usual.isfinite().all(1)].mean(0)).sum(1)


def path_checks(
    model: VisionModel, objectives: Sequence[Objective], pixels: Tensor, source: Any, *, negative: bool, batch: Batch, seed: int
) -> tuple[PathCheck, ...]:
    """Returns the check of each picture (n, 3, h, w) of n objectives, which are units, with the photographs of a source."""
    units, sign = [_unit(one) for one in objectives], -1 if negative else 1
    if source is None:
        raise MethodError("check compares pictures with photographs: give source=, a folder of photographs")
    with stage("check"):
        images, peaks = _photographs(model, as_source(source), {one.layer for one in units}, sign, batch)
        pictures = model.preprocessing.normalize(pixels).to(images)
        return tuple(
            _checked(model, unit, picture, images, peaks[unit.layer], sign, batch, seed)
            for unit, picture in zip(units, pictures.split(1), strict=True)
        )


def _unit(objective: Objective) -> Unit:
    """Returns the unit that an objective drives; refuses other objectives."""
    needs = [need.unit if isinstance(need, PreActivation) else need for need in objective.needs]
    if len(needs) != 1 or not isinstance(needs[0], Unit):
        raise MethodError(f"check is for pictures of single units, such as layer:5, and not for {objective}")
    return needs[0]


def _photographs(
    model: VisionModel, source: Source, layers: set[str], sign: int, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the source's pictures as images (n, c, h, w), and {layer: largest value (n, channels) over the map}."""
    images, _, _ = read_images(source, range(len(source.ids)), model.preprocessing)
    if len(images) < FEWEST:
        raise ImageError(f"{source.name} has {len(images)} pictures: a check needs {FEWEST}, and says more with hundreds")
    images = images.to(model.device, model.dtype)

    def some(rows: Sequence[int]) -> dict[str, Tensor]:
        with torch.no_grad(), capture_signed(model, sorted(layers)) as acts:
            model(images[rows[0] : rows[-1] + 1])
        return {layer: (sign * acts[layer]).flatten(2).amax(2) for layer in layers}

    parts = list(in_chunks(range(len(images)), batch_size(model, batch, n=len(images)), some, "photographs"))
    return images, {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def _checked(
    model: VisionModel, unit: Unit, picture: Tensor, images: Tensor, peaks: Tensor, sign: int, batch: Batch, seed: int
) -> PathCheck:
    """Returns the check of one picture (1, c, h, w)."""
    layers = layers_before(model, unit.layer)
    own, others = drivers(peaks, unit.channel, seed)
    photographs = drives(model, images[own + others], unit, layers, sign, batch)
    alone = drives(model, picture, unit, layers, sign, batch)
    both = Drives({layer: torch.cat([photographs.of[layer], alone.of[layer]]) for layer in layers})
    tables = {layer: both.shares(layer, torch.arange(len(own)))[len(own) :] for layer in layers}
    known = {layer: table for layer, table in tables.items() if bool(table.isfinite().all())}
    if not known:
        return PathCheck(str(unit), layers[-1], nan, nan, nan, nan, False)
    ratios = torch.stack([against_the_rest(table) for table in known.values()])
    lowest = ratios.amin(0)
    layer = list(known)[int(ratios[:, -1].argmin())]
    share, usual = float(known[layer][-1]), known[layer][:-1]
    p = float((lowest <= lowest[-1]).double().mean())
    flagged = p <= LEVEL and float(lowest[-1]) < HALF
    return PathCheck(str(unit), layer, share, float(usual.min()), float(usual.max()), p, flagged)


def against_the_rest(values: Tensor) -> Tensor:
    """Returns each of n values divided by the lowest of the others, (n,)."""
    two = values.topk(2, largest=False).values
    lowest = torch.where(torch.arange(len(values), device=values.device) == values.argmin(), two[1], two[0])
    return values / lowest.clamp(min=torch.finfo(values.dtype).tiny)


def drivers(peaks: Tensor, channel: int, seed: int) -> tuple[list[int], list[int]]:
    """Returns the photographs that drive a channel most, and those that drive other channels most, by the table (n, channels).

    The others are the best photographs of channels in random order, then their second best, and so on.
    """
    best = peaks.topk(min(OWN, len(peaks)), 0).indices.cpu()
    own = best[:, channel].tolist()
    order = torch.randperm(best.shape[1], generator=torch.Generator().manual_seed(seed))
    rest = torch.randperm(len(peaks), generator=torch.Generator().manual_seed(seed)).tolist()
    found = dict.fromkeys([*best[:, order[order != channel]].flatten().tolist(), *rest])
    return own, [row for row in found if row not in own][:OTHERS]


def layers_before(model: VisionModel, layer: str) -> list[str]:
    """Returns the nearest layers before a layer at which channels are compared, the nearest last: blocks and activations."""
    survey, kinds = model.survey, kinds_of_operations(model.survey.events)
    learned = [
        one.name for one in survey.layers
        if one.parameters and one.grid is not None and one.calls == 1 and "start" not in kinds[one.name]
        and kinds[one.name] & {"mix", "channel"}
    ]  # fmt: skip
    ends = list(dict.fromkeys(extended(survey, name) for name in learned))
    signed = taps(model, ends) if ends else {}
    wanted = {name for name in ends if signed[name] == "pre-activation"} | set(block_layers(survey))
    end = survey.position(layer)
    for some in (wanted, set(ends)):
        before = [one for one in survey.order if one in some and survey.position(one) < end and one != layer]
        if before:
            return before[-LAYERS:]
    raise MethodError(f"no layer of {model.name} before {layer} has channels to compare: check a unit of a deeper layer")


def drives(model: VisionModel, images: Tensor, unit: Unit, layers: Sequence[str], sign: int, batch: Batch) -> Drives:
    """Returns what the channels of layers contribute to a unit at the place where it is largest, before its ReLU."""

    def some(rows: Sequence[int]) -> dict[str, Tensor]:
        return _drives(model, images[rows[0] : rows[-1] + 1], unit, layers, sign)

    parts = list(in_chunks(range(len(images)), batch_size(model, batch, gradients=True), some))
    return Drives({layer: torch.cat([part[layer] for part in parts]) for layer in layers})


def _drives(model: VisionModel, images: Tensor, unit: Unit, layers: Sequence[str], sign: int) -> dict[str, Tensor]:
    acts: dict[str, Tensor] = {}
    with torch.enable_grad(), ExitStack() as blocks:
        blocks.enter_context(edit(model, {layer: partial(_cut, acts, layer, layer == layers[0]) for layer in layers}))
        ends = blocks.enter_context(capture_signed(model, [unit.layer]))  # the innermost: it ends the pass
        model(images)
        values = sign * ends[unit.layer][:, unit.channel].flatten(1)
        slopes = torch.autograd.grad(values.amax(1).sum(), [acts[layer] for layer in layers], allow_unused=True)
    pairs = zip(layers, slopes, strict=True)  # no slope: the unit does not depend on that layer
    return {layer: (acts[layer].detach() * (0 if slope is None else slope)).flatten(2).sum(2) for layer, slope in pairs}


def _cut(acts: dict[str, Tensor], layer: str, first: bool, activation: Tensor) -> Tensor:
    """Keeps an activation; the first begins the graph."""
    acts[layer] = activation.detach().requires_grad_() if first else activation
    return acts[layer].clone()  # later operations may change the clone in place
