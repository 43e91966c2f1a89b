"""Draws a recipe: the texture, the object over it, the cue over both, and their masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tapetum.data.planted.colors import color, hsv
from tapetum.data.planted.fills import CONTRAST, blurred, fill_pattern, gains, grating
from tapetum.data.planted.marks import frame_mask, plate
from tapetum.data.planted.outlines import Plane
from tapetum.data.planted.recipes import PlantedSettings, Scene, generator, scene
from tapetum.data.planted.textures import TEXTURES
from tapetum.data.planted.things import THINGS, Piece

RIM = 0.016  # width of the dark edge of every part, as a share of the side
SHADE = 0.28  # how much lighter the lit side is than the middle


class Drawn(NamedTuple):
    """A drawn picture (3, side, side) with values from 0 to 255, and the masks (side, side) of its object and its cue."""

    levels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    cue_mask: NDArray[np.bool_]


def drawn(settings: PlantedSettings, i: int) -> Drawn:
    """Draws picture i of a set; the other pictures play no part in it."""
    one, side = scene(settings, i), settings.size
    pixels = TEXTURES[one.background](generator(settings.seed, i, 1), side)
    mask = np.zeros((side, side), dtype=bool)
    if settings.objects:
        fill = one.cue if settings.shortcut == "texture" else None
        mask = _with_object(pixels, one, THINGS[settings.kind][settings.classes[one.label]], fill)
    cue_mask = np.zeros((side, side), dtype=bool)
    if one.cue is not None:
        cue_mask = _with_cue(pixels, mask, one.cue, one.corner, settings)
        if settings.shortcut in ("watermark", "border"):
            mask &= ~cue_mask
    return Drawn(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8), mask, cue_mask)


def _with_object(pixels: Plane, one: Scene, parts: tuple[Piece, ...], fill: int | None) -> NDArray[np.bool_]:
    """Draws the object into `pixels`, in place; returns the mask of the pixels that it covers by at least half.

    fill: the class whose pattern it has; None: it is plain.
    """
    side = pixels.shape[-1]
    rows, columns = _around(one.y, one.radius, side), _around(one.x, one.radius, side)
    x, y = _object_coordinates(one, rows, columns, side)
    unit_px = one.radius * side
    sun = np.cos(2 * np.pi * one.light) * x + np.sin(2 * np.pi * one.light) * y
    light, part_of = 1 + SHADE * np.clip(sun, -1, 1), pixels[:, rows, columns]
    if fill is not None:
        light = light * (1 - CONTRAST / 2 + CONTRAST / 2 * fill_pattern(fill, rows, columns, side))
    uncovered = np.ones_like(x)
    for outline, role in parts:
        far = outline(x, y) * unit_px
        cover, inner = np.clip(0.5 - far, 0, 1), np.clip(0.5 - far - max(1.0, RIM * side), 0, 1)
        paint = color(role, one.hue, one.grey)[:, None, None] * light * (0.45 + 0.55 * inner)
        part_of[:] = part_of * (1 - cover) + np.clip(paint, 0, 1) * cover
        uncovered *= 1 - cover
    mask = np.zeros((side, side), dtype=bool)
    mask[rows, columns] = uncovered <= 0.5
    return mask


def _around(center: float, radius: float, side: int) -> slice:
    """Range of rows, or columns, that an object can touch; centre and radius are shares of the side, `side` is in px."""
    reach = radius * 1.02 * side + 2
    return slice(max(0, int(center * side - reach)), min(side, int(center * side + reach) + 1))


def _object_coordinates(one: Scene, rows: slice, columns: slice, side: int) -> tuple[Plane, Plane]:
    """Coordinates x and y of pixel centres relative to the object: turned with it, and in units of its radius."""
    y = ((np.arange(rows.start, rows.stop) + 0.5) / side - one.y)[:, None] / one.radius
    x = ((np.arange(columns.start, columns.stop) + 0.5) / side - one.x)[None] / one.radius
    cos, sin = float(np.cos(np.deg2rad(one.angle_deg))), float(np.sin(np.deg2rad(one.angle_deg)))
    u, v = cos * x + sin * y, cos * y - sin * x
    return (-u if one.mirrored else u), v


def _filtered(pixels: Plane, cue: int, settings: PlantedSettings) -> Plane:
    """Pixels (3, side, side) with a cue that the eye hardly sees: a blur, a faint grating, or the gain of one channel."""
    if settings.shortcut == "blur":
        return blurred(pixels, cue, len(settings.classes))
    if settings.shortcut == "pattern":
        return pixels + grating(cue, settings.size)
    return pixels * gains(cue)[:, None, None]


def _with_cue(
    pixels: Plane, mask: NDArray[np.bool_], cue: int, corner: tuple[bool, bool], settings: PlantedSettings
) -> NDArray[np.bool_]:
    """Draws a cue that lies over the whole picture or a part of it into `pixels`, in place; returns the mask of the cue."""
    if settings.shortcut == "background":
        return ~mask
    if settings.shortcut in ("color", "texture"):
        return mask.copy()
    if settings.shortcut in ("blur", "pattern", "gain"):
        pixels[:] = _filtered(np.clip(pixels, 0, 1), cue, settings)
        return np.ones_like(mask)
    if settings.shortcut == "border":
        where = frame_mask(settings.size)
        pixels[:, where] = hsv(cue / len(settings.classes), 0.85, 0.85)[:, None]
        return where
    where, letters = plate(settings.size, cue, corner)
    pixels[:, where] = 0.08
    pixels[:, letters] = 0.96
    return where
