"""Pictures that lie: does a unit's picture drive it through the same channels as photographs do?

A network can hold a path to a unit that photographs never open and optimised pictures do (a fooling circuit): the picture then
shows what that path looks for. Its drive runs through other channels than that of photographs, which is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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

AT_ONCE = 16
"""Units of a layer that share the passes over photographs of other units."""

LEVEL, HALF = 0.05, 0.5
"""A picture is flagged if its share is below half of the lowest of the photographs, and p is at most .05. Honest pictures lie
a little below photographs, which p alone would flag: no photograph has their colours and contrasts."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs that pictures are compared with.

    peaks   {layer: largest value of each unit's map on each photograph, before the activation function, (n, channels)}
    read    function that returns some of them, by their rows, as images (m, c, h, w)
    """

    peaks: Mapping[str, Tensor]
    read: Callable[[Sequence[int]], Tensor]


def path_checks(
    model: VisionModel, objectives: Sequence[Objective], pixels: Tensor, source: Any, *, negative: bool, batch: Batch, seed: int
) -> tuple[PathCheck, ...]:
    """Returns the check of each picture (n, 3, h, w) of n objectives, which are units, with the photographs of a source."""
    units, sign = [_unit(one) for one in objectives], -1 if negative else 1
    if source is None:
        raise MethodError("check compares pictures with photographs: give source=, a folder of photographs")
    with stage("check"):
        known = photographs(model, as_source(source), {one.layer for one in units}, sign, batch)
        pictures, found = model.preprocessing.normalize(pixels), dict[int, PathCheck]()
        for layer in dict.fromkeys(one.layer for one in units):
            rows = [row for row, one in enumerate(units) if one.layer == layer]
            channels = [units[row].channel for row in rows]
            made = checked(model, layer, channels, pictures[rows], known, sign=sign, batch=batch, seed=seed)
            found |= dict(zip(rows, made, strict=True))
    return tuple(found[row] for row in range(len(units)))


def _unit(objective: Objective) -> Unit:
    """Returns the unit that an objective drives; refuses other objectives."""
    needs = [need.unit if isinstance(need, PreActivation) else need for need in objective.needs]
    if len(needs) != 1 or not isinstance(needs[0], Unit):
        raise MethodError(f"check is for pictures of single units, such as layer:5, and not for {objective}")
    return needs[0]


def photographs(model: VisionModel, source: Source, layers: Collection[str], sign: int, batch: Batch) -> Photographs:
    """Returns the readable pictures of a source, with the largest values of the units of some layers; sign -1: the least."""
    names, everything = sorted(layers), range(len(source.ids))

    def some(rows: Sequence[int]) -> tuple[list[int], list[Tensor]]:
        images, readable, _ = read_images(source, rows, model.preprocessing)
        if not readable:
            return [], []
        with torch.no_grad(), capture_signed(model, names) as acts:
            model(images.to(model.device, model.dtype))
        return readable, [(sign * acts[layer]).flatten(2).amax(2).cpu() for layer in names]

    found = in_chunks(everything, batch_size(model, batch, n=len(everything)), some, "photographs")
    parts = [part for part in found if part[0]]
    samples = [sample for readable, _ in parts for sample in readable]
    if len(samples) < FEWEST:
        raise ImageError(f"{source.name} has {len(samples)} pictures: a check needs {FEWEST}, and says more with hundreds")
    peaks = {layer: torch.cat([tables[i] for _, tables in parts]) for i, layer in enumerate(names)}
    return Photographs(peaks, reader(model, source, samples))


def reader(model: VisionModel, source: Source, samples: Sequence[int]) -> Callable[[Sequence[int]], Tensor]:
    """Returns the function that reads rows of a list of a source's samples as images (m, c, h, w)."""

    def read(rows: Sequence[int]) -> Tensor:
        images, readable, refused = read_images(source, [samples[row] for row in rows], model.preprocessing)
        if len(readable) < len(rows):
            raise ImageError(f"{source.name} has changed: {next(iter(refused.values()))}")
        return images

    return read


# --- the share of a picture


def checked(
    model: VisionModel,
    layer: str,
    channels: Sequence[int],
    pictures: Tensor,
    known: Photographs,
    *,
    sign: int = 1,
    batch: Batch = "auto",
    seed: int = 0,
) -> list[PathCheck]:
    """Returns the checks of model-ready pictures (n, c, h, w) of n channels of a layer."""
    peaks = known.peaks[layer]
    if len(peaks) < FEWEST:
        raise ImageError(f"there are {len(peaks)} photographs: a check needs {FEWEST}, and says more with hundreds")
    layers, pool = layers_before(model, layer), pool_of(peaks, seed)

    def some(rows: Sequence[int]) -> list[PathCheck]:
        mine = [channels[row] for row in rows]
        usual = drives(model, known.read(pool), layer, mine, layers, sign, batch)
        made: list[PathCheck] = []
        for i, row in enumerate(rows):
            own, others = drivers(peaks, channels[row], pool)
            places = [pool.index(one) for one in others]
            images, picture = known.read(own), pictures[[row]]
            mean, alone = (drives(model, one, layer, [channels[row]], layers, sign, batch) for one in (images, picture))
            joined = {one: torch.cat([mean[one][:, 0], usual[one][places, i], alone[one][:, 0]]) for one in layers}
            made.append(_judged(f"{layer}:{channels[row]}", Drives(joined), len(own)))
        return made

    return [one for part in in_chunks(range(len(channels)), AT_ONCE, some, "units") for one in part]


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


def _judged(unit: str, both: Drives, n_own: int) -> PathCheck:
    """Returns the check of a picture, the last image; the first `n_own` are the unit's photographs, then come the others."""
    tables = {layer: both.shares(layer, torch.arange(n_own))[n_own:] for layer in both.of}
    seen = {layer: table for layer, table in tables.items() if bool(table.isfinite().all())}
    if not seen:
        return PathCheck(unit, list(tables)[-1], nan, nan, nan, nan, False)
    ratios = torch.stack([against_the_rest(table) for table in seen.values()])
    lowest = ratios.amin(0)
    layer = list(seen)[int(ratios[:, -1].argmin())]
    share, usual = float(seen[layer][-1]), seen[layer][:-1]
    p = float((lowest <= lowest[-1]).double().mean())
    flagged = p <= LEVEL and float(lowest[-1]) < HALF
    return PathCheck(unit, layer, share, float(usual.min()), float(usual.max()), p, flagged)


def against_the_rest(values: Tensor) -> Tensor:
    """Returns each of n values divided by the lowest of the others, (n,)."""
    two = values.topk(2, largest=False).values
    lowest = torch.where(torch.arange(len(values), device=values.device) == values.argmin(), two[1], two[0])
    return values / lowest.clamp(min=torch.finfo(values.dtype).tiny)


def pool_of(peaks: Tensor, seed: int) -> list[int]:
    """Returns the photographs from which those that drive other units are taken, for all units of a layer.

    They are the best photographs of its channels in random order, then their second best, and so on.
    """
    best = peaks.topk(min(OWN, len(peaks)), 0).indices.cpu()
    order = torch.randperm(best.shape[1], generator=torch.Generator().manual_seed(seed))
    rest = torch.randperm(len(peaks), generator=torch.Generator().manual_seed(seed)).tolist()
    return list(dict.fromkeys([*best[:, order].flatten().tolist(), *rest]))[: OWN + OTHERS]


def drivers(peaks: Tensor, channel: int, pool: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns the photographs that drive a channel most, and those of the pool that are none of these."""
    own = peaks[:, channel].topk(min(OWN, len(peaks))).indices.tolist()
    return own, [row for row in pool if row not in own][:OTHERS]


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


def drives(
    model: VisionModel,
    images: Tensor,
    layer: str,
    channels: Sequence[int],
    layers: Sequence[str],
    sign: int = 1,
    batch: Batch = "auto",
) -> dict[str, Tensor]:
    """Returns what the channels of earlier layers contribute to units of a layer, {earlier layer: (n, units, c)}.

    Each image counts where it drives the unit most, before the unit's activation function.
    """

    def some(rows: Sequence[int]) -> dict[str, Tensor]:
        return _drives(model, images[rows[0] : rows[-1] + 1].to(model.device, model.dtype), layer, channels, layers, sign)

    parts = list(in_chunks(range(len(images)), batch_size(model, batch, gradients=True), some))
    return {one: torch.cat([part[one] for part in parts]) for one in layers}


def _drives(
    model: VisionModel, images: Tensor, layer: str, channels: Sequence[int], layers: Sequence[str], sign: int
) -> dict[str, Tensor]:
    acts: dict[str, Tensor] = {}
    with torch.enable_grad(), ExitStack() as blocks:
        blocks.enter_context(edit(model, {one: partial(_cut, acts, one, one == layers[0]) for one in layers}))
        ends = blocks.enter_context(capture_signed(model, [layer]))  # the innermost: it ends the pass
        model(images)
        peaks = (sign * ends[layer][:, list(channels)]).flatten(2).amax(2).sum(0)
        starts = [acts[one] for one in layers]
        slopes = [torch.autograd.grad(peak, starts, retain_graph=True, allow_unused=True) for peak in peaks]
    return {one: torch.stack([_parts(acts[one], row[i]) for row in slopes], 1) for i, one in enumerate(layers)}


def _parts(activation: Tensor, slope: Tensor | None) -> Tensor:
    """Returns the sums over places (n, c) of activation times slope; no slope: the unit does not depend on that layer."""
    return (activation.detach() * (0 if slope is None else slope)).flatten(2).sum(2).cpu()


def _cut(acts: dict[str, Tensor], layer: str, first: bool, activation: Tensor) -> Tensor:
    """Keeps an activation; the first begins the graph."""
    acts[layer] = activation.detach().requires_grad_() if first else activation
    return acts[layer].clone()  # later operations may change the clone in place
