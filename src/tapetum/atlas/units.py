"""Renders pictures that drive each unit of a layer most and least, in sheets for the pages of an atlas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.atlas.checks import Checks, check_units
from tapetum.atlas.claims import is_checks, is_sprite
from tapetum.atlas.painting import Canvases, Painted, paint, seconds_each
from tapetum.atlas.sheets import Sprite, as_tiles, paper, write_sheets
from tapetum.engines.render import objectives as O
from tapetum.engines.render.presets import preset as named_preset
from tapetum.engines.render.sizes import as_size, small_size
from tapetum.engines.signed import taps
from tapetum.families.checking import Photographs
from tapetum.files import inside, table_in
from tapetum.keeping.keyed import Kept, Key
from tapetum.keeping.whole import write_whole
from tapetum.models.vision_model import VisionModel
from tapetum.types import DamagedError, LayerError, Made, TapetumError

Sign = Literal["positive", "negative"]

SIGNS: tuple[Sign, ...] = ("positive", "negative")

SIDE_PX = 96
N_STEPS = 128
PRESET = "clear"
"""Name of the recipe. Side and steps were chosen among 64, 96 and 128 px and 64, 128 and 256 steps: at 96 px a texture repeats
often enough to be recognised, and after 128 steps only its contrast still grows."""

SCHEMA = 1


@dataclass(frozen=True)
class UnitSheets:
    """Rendered pictures of one layer, in sheets where tile i shows channel i.

    sprites   {sign: sheets of the tiles}
    channels  the rendered channels in order; None: all
    status    {sign: {channel: "silent" or "non_finite"}}, for tiles that show words in place of a picture
    scores    {sign: the mean of the unit's map on the finished picture, one per rendered channel}
    checks    comparison of the positive pictures with photographs; None if that was not asked for
    settings  everything that the pictures depend on
    """

    layer: str
    key: str
    sprites: Mapping[Sign, Sprite]
    status: Mapping[Sign, Mapping[int, Made]]
    scores: Mapping[Sign, tuple[float, ...]]
    channels: tuple[int, ...] | None = None
    checks: Checks | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def file_stem(layer: str) -> str:
    """Returns a layer's name as part of a file name: blocks.3.0 becomes blocks-3-0."""
    return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in layer) or "model"


def render_units(
    model: VisionModel,
    layer: str,
    channels: Sequence[int] | None = None,
    signs: Sequence[Sign] = SIGNS,
    *,
    folder: str | Path,
    size: int | None = None,
    n_steps: int = N_STEPS,
    preset: str = PRESET,
    tile: int = SIDE_PX,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = True,
    photographs: Photographs | None = None,
) -> UnitSheets:
    """Renders all (or some) units of a layer into sheets folder/FILE-positive-000.webp, ... and an index FILE-units.json.

    A unit's picture is optimised from noise to raise (negative: to lower) the mean of its channel over the map
    (olah2017feature). In a layer that ends in an activation function, this is the mean before that function, since after a
    ReLU nothing could be lowered below zero. Complete sheets of the same weights and settings are kept, other ones replaced;
    a killed run continues after the batches that it had finished. Pictures have the same bits for any number of workers.

    size     side of the pictures in px; None: 96, or the network's own size if it takes no other
    tile     side in px of the tiles that show the pictures
    workers  threads; None: one per core
    resume   False: everything is rendered again
    photographs  those with which the positive pictures are compared; None: without a comparison
    """
    place, stem = Path(folder), file_stem(layer)
    job = units_job(model, layer, channels, signs, size=size, n_steps=n_steps, preset=preset, seed=seed)
    rows = _channels(model, layer, channels)
    facts = {"schema": SCHEMA, "layer": layer, "signs": list(signs), "channels": rows, "tile": tile, **job.facts()}
    key = Key(facts)
    earlier = read_units(place, layer)
    if resume and earlier is not None and earlier.key == key.hash and (photographs is None or earlier.checks is not None):
        return earlier
    kept = Kept(place / f".parts-{stem}", key, resume=resume)
    painted = paint(job, kept, workers=workers)
    tiles = as_tiles(painted.pixels, painted.status, tile)
    sprites: dict[Sign, Sprite] = {}
    status: dict[Sign, dict[int, Made]] = {}
    scores: dict[Sign, tuple[float, ...]] = {}
    for i, sign in enumerate(signs):
        mine = slice(i * len(rows), (i + 1) * len(rows))
        sprites[sign] = write_sheets(_by_channel(tiles[mine], rows), place, f"{stem}-{sign}")
        status[sign] = {row: one for row, one in zip(rows, painted.status[mine], strict=True) if one != "ok"}
        upward = 1 if sign == "positive" else -1  # the objective of negative pictures is the opposite
        scores[sign] = tuple(upward * score for score in painted.scores[mine])
    made = UnitSheets(
        layer, key.hash, sprites, status, scores,
        None if channels is None else tuple(rows),
        _checks(job, layer, rows, signs, painted, photographs, kept),
        {name: value for name, value in facts.items() if name != "objectives"},
    )  # fmt: skip
    write_whole(_index(place, layer), json.dumps(asdict(made), indent=1).encode())
    kept.forget()
    return made


def _checks(
    job: Canvases,
    layer: str,
    rows: Sequence[int],
    signs: Sequence[Sign],
    painted: Painted,
    photographs: Photographs | None,
    kept: Kept,
) -> Checks | None:
    """Compares the positive pictures with photographs; the scan has no lowest values with which to compare negative ones."""
    if photographs is None or "positive" not in signs:
        return None
    start = signs.index("positive") * len(rows)
    mine = slice(start, start + len(rows))
    pictures = Painted(painted.pixels[mine], painted.scores[mine], painted.status[mine])
    return check_units(job.model, layer, rows, pictures, photographs, kept)


def read_units(folder: str | Path, layer: str) -> UnitSheets | None:
    """Returns the rendered sheets of a layer from an earlier run; None if they are missing or incomplete."""
    place = Path(folder)
    with suppress(DamagedError, ValueError, KeyError, TypeError, AttributeError):  # a foreign table
        table = table_in(inside(place, _index(place, layer).name))
        status = {sign: {int(channel): what for channel, what in odd.items()} for sign, odd in table["status"].items()}
        scores = {sign: tuple(values) for sign, values in table["scores"].items()}
        channels = None if table["channels"] is None else tuple(table["channels"])
        made = UnitSheets(**{**table, "status": status, "scores": scores, "channels": channels})
        if made.checks is not None and not is_checks(made.checks):
            return None
        if made.layer == layer and all(_is_whole(place, sign, one) for sign, one in made.sprites.items()):
            made.settings["weights"]
            return made
    return None


def _is_whole(place: Path, sign: str, sprite: Any) -> bool:
    return sign in SIGNS and is_sprite(sprite) and all(inside(place, name).is_file() for name in sprite["sheets"])


def _index(folder: Path, layer: str) -> Path:
    return folder / f"{file_stem(layer)}-units.json"


def units_job(
    model: VisionModel,
    layer: str,
    channels: Sequence[int] | None = None,
    signs: Sequence[Sign] = SIGNS,
    *,
    size: int | None = None,
    n_steps: int = N_STEPS,
    preset: str = PRESET,
    seed: int = 0,
) -> Canvases:
    """Returns the pictures to render for a layer's units: all channels for the first sign, then all for the second."""
    rows = _channels(model, layer, channels)
    if not signs or any(sign not in SIGNS for sign in signs) or len(set(signs)) != len(signs):
        raise TapetumError(f"signs are {', '.join(SIGNS)}, or one of them, not {list(signs)}")
    before = taps(model, [layer])[layer] == "pre-activation"
    upward = [O.channel(layer, channel, before) for channel in rows]
    objectives = [one if sign == "positive" else -one for sign in signs for one in upward]
    return Canvases(model, objectives, replace(named_preset(preset), n_steps=n_steps), side_of(model, size), seed)


def side_of(model: VisionModel, size: int | None) -> tuple[int, int]:
    """Returns the size (h, w) of rendered pictures in px: `size`, or 96, or the network's own size if it takes no other."""
    return small_size(model, SIDE_PX) if size is None else as_size(model, size)


def _channels(model: VisionModel, layer: str, channels: Sequence[int] | None) -> list[int]:
    count = model.survey[model.find_layers(layer)[0]].channels
    if count is None:
        raise LayerError(f"{layer} has no channels to make pictures of")
    rows = list(range(count)) if channels is None else sorted(set(channels))
    if not rows or rows[0] < 0 or rows[-1] >= count:
        raise LayerError(f"{layer} has channels 0 to {count - 1}; give some of them")
    return rows


def _by_channel(tiles: Any, rows: Sequence[int]) -> Any:
    """Returns the tiles with tile i for channel i; tiles of channels that were not rendered are blank."""
    whole = np.empty((rows[-1] + 1, *tiles.shape[1:]), np.uint8)
    whole[:] = paper()
    whole[list(rows)] = tiles
    return whole


# --- how many layers


@dataclass(frozen=True)
class Choice:
    """Choice of the layers to render within a time limit.

    layers   the chosen layers, in the order of the network
    seconds  {layer: estimated seconds}, for all layers that were measured, also one that did not fit
    said     description of the choice, as a sentence
    """

    layers: tuple[str, ...]
    seconds: Mapping[str, float]
    said: str


def choose_layers(
    model: VisionModel,
    layers: Sequence[str],
    budget_seconds: float | int,
    *,
    workers: int | None = None,
    n_steps: int = N_STEPS,
) -> Choice:
    """Chooses layers whose units can all be rendered within a time limit: the middle layer first, then its neighbours.

    The time per picture is measured at each layer, on a few steps of its first batch with all workers busy. The choice ends
    with the first layer that does not fit; at least one layer is always chosen.
    """
    middle = len(layers) // 2
    order = sorted(range(len(layers)), key=lambda i: (abs(i - middle), -i))
    seconds: dict[str, float] = {}
    chosen: list[int] = []
    for i in order:
        job = units_job(model, layers[i], n_steps=n_steps)
        seconds[layers[i]] = seconds_each(job, workers) * len(job)
        if chosen and sum(seconds.values()) > budget_seconds:
            break
        chosen.append(i)
    names = tuple(layers[i] for i in sorted(chosen))
    return Choice(names, seconds, _said(names, seconds, len(layers), budget_seconds))


def _said(names: Sequence[str], seconds: Mapping[str, float], count: int, budget: float | int) -> str:
    takes_minutes = sum(seconds[name] for name in names) / 60
    what = f"all {count} layers" if len(names) == count else f"{len(names)} of {count} layers ({', '.join(names)})"
    limit = f"{budget / 60:g} min"
    limit = f"within {limit}" if 60 * takes_minutes <= budget else f"more than {limit}, but at least one is"
    return f"units of {what} are rendered, about {takes_minutes:.1f} min, {limit}; --render names others"
