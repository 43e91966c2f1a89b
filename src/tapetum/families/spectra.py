"""Units over a data set: real pictures from the weakest to the strongest response, beside pictures optimised for the units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import (
    AscentSteps,
    Limit,
    OtherRunner,
    PassBatch,
    Preset,
    Resume,
    Seed,
    ShardFolder,
    SideOfNoise,
    UnitScore,
    Workers,
)
from tapetum.border.subjects import as_model
from tapetum.data.images import to_uint8
from tapetum.data.planes import viewable
from tapetum.data.preprocessing import Size
from tapetum.data.streams import Source, as_source
from tapetum.data.streams.base import picture_of
from tapetum.engines.dictionaries import plain
from tapetum.engines.render import objectives as O
from tapetum.engines.render.objectives.reading import FORMS, check_unit, units_in
from tapetum.engines.scan.coded import Coded
from tapetum.engines.scan.plan import BATCH
from tapetum.engines.scan.trackers import Spectrum, TopK, Tracker
from tapetum.engines.scores.inside import checked_concept
from tapetum.engines.signed import capture_signed, taps
from tapetum.families.scanning import scan
from tapetum.families.visualizations import visualize
from tapetum.models.vision_model import VisionModel
from tapetum.types import Concept, Concepts, Craft, ModelLike, Precision, Range, Rendering, TapetumError, TargetError, Unit
from tapetum.types.scans import GROUPS, Example, ScanResult, ScoreKind, SpectrumResult, TopKResult
from tapetum.types.spectra import TopExamples, UnitExamples, UnitSpectra, UnitSpectrum

BINS = 48
"""Largest number of bins of a unit's histogram."""


@survey(cite="olah2017feature", question="looks_for")
def activation_spectrum(
    model: VisionModel,
    source: Source,
    units: Any,
    *,
    k: Annotated[int, Range(1, 1000)] = 9,
    score: UnitScore = "max",
    optimize: bool = True,
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    preset: Preset = "best",
    seed: Seed = 0,
    workers: Workers = None,
    run: OtherRunner = None,
    out: ShardFolder = None,
    resume: Resume = True,
    batch: PassBatch = BATCH,
    limit: Limit = None,
    precision: Precision = "exact",
) -> UnitSpectra:
    """Pictures from those that lower a unit's activation most to those that raise it most, optimised ones at both ends.

    Per unit: the picture made so that it answers least; the k pictures of the data set with the lowest scores, with the
    scores nearest below and nearest above the threshold, and with the highest; the picture made so that it answers most.
    The examples are the true ones of the data set, as `tp.scan` finds them with `tp.Spectrum`. Pictures are made for the
    mean over the unit's map, as `tp.visualize` does, so that the highest value of one made against it may lie above zero.
    Layers that end in an activation function are read before it (`tap`), so that negative values exist, and made
    pictures are those of the same values. The threshold is zero; of a unit that is never negative the median. Units are
    whole channels: a place ("layer:5@3,3") is refused. `tp.show` draws the six columns (olah2017feature) with a histogram
    of the scores.

    Args:
        k: pictures at each of the four places.
        optimize: False: real pictures alone.

    Example:
        >>> spectra = tp.activation_spectrum(model, folder, "blocks.3:1", k=2, optimize=False)
        >>> [example.score for example in spectra[0].maximum.examples]
    """
    wanted = as_units(model, units)
    how = {"workers": workers, "run": run, "out": out, "resume": resume, "batch": batch, "limit": limit}
    found = _scanned(model, source, wanted, Spectrum(k, score), {**how, "precision": precision})
    picture = cache(partial(as_seen, model, source))
    spectra = [unit_spectrum(model, found[one.layer][0], one.channel, picture) for one in wanted]
    if optimize:
        made = _optimized(model, wanted, {"size": size, "n_steps": n_steps, "preset": preset, "seed": seed})
        spectra = [_with(model, one, pair, score) for one, pair in zip(spectra, made, strict=True)]
    return UnitSpectra(**_of_scan(model, source, found, score, limit), units=tuple(spectra))


@survey()
def top_examples(
    model: VisionModel,
    source: Source,
    units: Any,
    *,
    k: Annotated[int, Range(1, 1000)] = 9,
    score: UnitScore = "max",
    crop_px: int | None = None,
    workers: Workers = None,
    run: OtherRunner = None,
    out: ShardFolder = None,
    resume: Resume = True,
    batch: PassBatch = BATCH,
    limit: Limit = None,
    precision: Precision = "exact",
) -> TopExamples:
    """The k pictures of a data set that activate units or concepts most, and the place of the maximum in each.

    As `tp.scan` finds them with `tp.TopK`, by falling score. A crop is a square around the centre of the unit's strongest
    place, moved into the picture where it would lie outside: of the side of the layer's receptive field, at most half of what
    the model sees. Near the border the unit itself sees padding there.

    Args:
        k: pictures of each unit.
        crop_px: the side of the crops; None: as above.

    Example:
        >>> tops = tp.top_examples(model, folder, "blocks.3:1", k=2)
        >>> [example.position for example in tops[0].examples]
    """
    how = {"workers": workers, "run": run, "out": out, "resume": resume, "batch": batch, "limit": limit, "precision": precision}
    directions = as_concepts(model, units)
    if directions:
        wanted = directions
        found, channels = _along(model, source, directions, TopK(k, score), how)
    else:
        wanted = as_units(model, units)
        found, channels = _scanned(model, source, wanted, TopK(k, score), how), [one.channel for one in wanted]
    picture = cache(partial(as_seen, model, source))
    tops: list[UnitExamples] = []
    for one, channel in zip(wanted, channels, strict=True):
        result = found[one.layer][0]
        examples = unit_examples(model, result, channel, result.examples(channel), picture, crop_px)
        tops.append(replace(examples, unit=str(one)) if directions else examples)
    fields = tuple(model.survey[one.layer].receptive_field for one in wanted)
    sides = tuple(_side(model, one.layer, crop_px) for one in wanted)
    return TopExamples(**_of_scan(model, source, found, score, limit), units=tuple(tops), crop_px=sides, receptive_field=fields)


def illustrated(
    model: ModelLike, source: Any, result: SpectrumResult | TopKResult, channels: int | Sequence[int] = 0
) -> UnitSpectra | TopExamples:
    """Shows the units of a scan's result with their pictures, read from the source again; optimises no pictures.

    The model and the source must be those of the scan; a picture that was changed since then goes unnoticed.
    """
    network, stream = as_model(model), as_source(source)
    for sample, name in result.ids.items():
        if sample >= len(stream.ids) or stream.ids[sample] != name:
            raise TapetumError(f"{stream.name} is not what was scanned: picture {sample} was {name}")
    many = [channels] if isinstance(channels, int) else list(channels)
    picture = cache(partial(as_seen, network, stream))
    common = _about(network, stream, result.score, result.n)
    if isinstance(result, SpectrumResult):
        return UnitSpectra(**common, units=tuple(unit_spectrum(network, result, one, picture) for one in many))
    side, field = _side(network, result.layer, None), network.survey[result.layer].receptive_field
    tops = tuple(unit_examples(network, result, one, result.examples(one), picture) for one in many)
    return TopExamples(**common, units=tops, crop_px=(side,) * len(many), receptive_field=(field,) * len(many))


def as_units(model: VisionModel, units: Any) -> list[Unit]:
    """Converts to units that are whole channels, each once, in the given order; refuses single places and classes."""
    many = list(units) if isinstance(units, (list, tuple)) else [units]
    found = [one for thing in many for one in _units(model, thing)]
    for one in found:
        if one.position is not None:
            raise TargetError(f"{one} is one place of a map: give the whole channel, '{one.layer}:{one.channel}'")
    if not found:
        raise TargetError(f"no unit was given: give {FORMS}")
    return list(dict.fromkeys(found))


def _units(model: VisionModel, thing: Any) -> list[Unit]:
    found = units_in(model, thing) if isinstance(thing, str) else [check_unit(model, thing)] if isinstance(thing, Unit) else []
    if not found:
        raise TargetError(f"{thing!r} is no unit of {model.name}: give {FORMS}")
    return found


def as_concepts(model: VisionModel, units: Any) -> list[Concept]:
    """Returns the concepts if concepts were given, else an empty list; refuses concepts beside units, and single places."""
    many: list[Any] = list(units) if isinstance(units, (list, tuple, Concepts, Craft)) else [units]
    if not any(isinstance(one, Concept) for one in many):
        return []
    if not all(isinstance(one, Concept) for one in many):
        raise TargetError("concepts and units are of different numbers: ask for each by themselves")
    found = [checked_concept(model, one) for one in many]
    if any(one.position is not None for one in found):
        raise TargetError("a concept at one place of a map has no examples and no name: leave its position out")
    return found


def _along(
    model: VisionModel, source: Source, concepts: Sequence[Concept], tracker: Tracker, how: Mapping[str, Any]
) -> tuple[ScanResult, list[int]]:
    """Scans the activation along directions; returns the result, and the place of each concept among those of its layer."""
    layers = {one.layer: [other for other in concepts if other.layer == one.layer] for one in concepts}
    coded = {layer: [Coded(tracker, plain(torch.stack([one.unit_vector for one in many])))] for layer, many in layers.items()}
    return scan(model, source, coded, **how), [layers[one.layer].index(one) for one in concepts]


def _scanned(model: VisionModel, source: Source, units: Sequence[Unit], tracker: Tracker, how: Mapping[str, Any]) -> ScanResult:
    layers = list(dict.fromkeys(one.layer for one in units))
    signed = "pre-activation" in taps(model, layers).values()
    return scan(model, source, {layer: [tracker] for layer in layers}, pre_activation=signed, **how)


def _about(model: VisionModel, source: Source, score: ScoreKind, n: int) -> dict[str, Any]:
    seen = model.preprocessing.describe()
    return {"model": model.name, "source": source.name, "seen": seen, "score": score, "n": n, "skipped": {}, "notes": ()}


def _of_scan(model: VisionModel, source: Source, found: ScanResult, score: ScoreKind, limit: int | None) -> dict[str, Any]:
    n = min(len(found.ids), limit or len(found.ids)) - len(found.skipped)
    return {**_about(model, source, score, n), "skipped": found.skipped, "notes": found.notes}


# --- real pictures


def as_seen(model: VisionModel, source: Source, sample: int) -> Tensor:
    """Returns the crop of a picture that the model sees, (3, h, w) uint8; `sample` is its index in the source."""
    with picture_of(source, sample, model.preprocessing) as pixels:
        levels = to_uint8(viewable(model.preprocessing.crop(pixels))[0])
    return torch.from_numpy(levels).movedim(-1, 0)


def unit_spectrum(model: VisionModel, found: SpectrumResult, channel: int, picture: Callable[[int], Tensor]) -> UnitSpectrum:
    """Builds the spectrum of one channel from a scan; `picture(sample)` gives (3, h, w) uint8. Optimises no pictures."""
    groups = (unit_examples(model, found, channel, found.examples(group, channel), picture) for group in GROUPS)
    low, below, above, high = groups
    return UnitSpectrum(
        unit=f"{found.layer}:{channel}",
        minimum=low,
        slightly_negative=below,
        slightly_positive=above,
        maximum=high,
        threshold=float(found.threshold[channel]),
        around=found.around(channel),
        histogram=found.histogram(channel, BINS),
        tap=found.tap,
    )


def unit_examples(
    model: VisionModel,
    found: SpectrumResult | TopKResult,
    channel: int,
    examples: Sequence[Example],
    picture: Callable[[int], Tensor],
    crop_px: int | None = None,
) -> UnitExamples:
    """Joins the examples of one channel with their pictures, `picture(sample)` (3, h, w) uint8, and crop boxes."""
    size = model.preprocessing.size
    pictures = [picture(one.sample) for one in examples]
    stacked = torch.stack(pictures) if pictures else torch.zeros(0, 3, *size, dtype=torch.uint8)
    crop = _side(model, found.layer, crop_px)
    places = [one.position for one in examples if one.position is not None]
    boxes = None
    if found.grid is not None and crop is not None and len(places) == len(examples):
        boxes = torch.tensor([box_around(place, found.grid, size, crop) for place in places], dtype=torch.long).view(-1, 4)
    return UnitExamples(f"{found.layer}:{channel}", tuple(examples), stacked, boxes, found.tap)


def _side(model: VisionModel, layer: str, crop_px: int | None) -> int | None:
    """Returns the side of the crops in px of the model's input; None for a layer without a map."""
    row, size = model.survey[layer], model.preprocessing.size
    if row.grid is None:
        return None
    if crop_px is not None:
        if not 1 <= crop_px <= min(size):
            raise TargetError(f"crop_px is a side from 1 to {min(size)} px, what {model.name} sees, not {crop_px}")
        return crop_px
    return crop_side(size, row.grid, row.receptive_field)


def crop_side(size: Size, grid: tuple[int, int], field_px: int | None) -> int:
    """Returns the side in px of a crop around a cell: its receptive field, but a cell at least and half the image at most."""
    side = min(size)
    cell = max(-(-px // cells) for px, cells in zip(size, grid, strict=True))
    return min(side, max(cell, min(field_px or side, side // 2)))


def box_around(place: tuple[int, int], grid: tuple[int, int], size: Size, side: int) -> tuple[int, int, int, int]:
    """Returns (top, left, bottom, right) in px of a square around a cell of the grid, moved to lie inside the picture."""
    centre = [(one + 0.5) * px / cells for one, cells, px in zip(place, grid, size, strict=True)]
    top, left = (min(max(0, round(middle - side / 2)), px - side) for middle, px in zip(centre, size, strict=True))
    return top, left, top + side, left + side


# --- optimised pictures


def _optimized(model: VisionModel, units: Sequence[Unit], how: Mapping[str, Any]) -> list[Rendering]:
    """Optimises two pictures per unit, for its lowest and its highest value before the layer's final activation function."""
    objectives = [O.channel(one.layer, one.channel, pre_activation=True) for one in units]
    made = visualize(model, [signed for one in objectives for signed in (-one, one)], **how)
    return [made[2 * row : 2 * row + 2] for row in range(len(units))]


def _with(model: VisionModel, spectrum: UnitSpectrum, made: Rendering, score: ScoreKind) -> UnitSpectrum:
    layer, _, channel = spectrum.unit.rpartition(":")
    seen = made.numbers.get("bands", made.pixels)
    images = model.preprocessing.normalize(seen.to(model.device, model.dtype))
    with torch.no_grad(), capture_signed(model, layer) as acts:
        model(images)
    values = acts[layer][:, int(channel)].reshape(len(images), -1)  # a layer without a map counts as a map with one place
    return replace(spectrum, optimized=made, optimized_scores=(values.amax(1) if score == "max" else values.mean(1)).cpu())
