"""Shapes and objects to draw, each inside the unit circle: eight shapes of one part, and objects of several parts.

A part is an outline and the role of its colour; `colors.py` gives the colour of a role in a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from tapetum.data.planted.outlines import (
    Outline,
    box,
    disc,
    ellipse,
    joined_outlines,
    polygon,
    regular,
    ring,
    star,
    stroke,
    turned,
    with_mirror_image,
    without,
)

Role: TypeAlias = Literal["main", "second", "light", "dark", "glass", "wood", "fur", "muzzle", "pale", "yellow", "blue"]
SetKind: TypeAlias = Literal["shapes", "objects"]


class Piece(NamedTuple):
    """Part of a shape or object: an outline and the role of its colour; later parts cover earlier ones."""

    outline: Outline
    role: Role


_OUTLINES = {
    "disc": disc(0.9),
    "square": box(-0.72, -0.72, 0.72, 0.72),
    "triangle": polygon(*regular(3)),
    "star": star(5, 1.0, 0.42),
    "ring": ring(0.72, 0.42),
    "cross": joined_outlines(box(-0.95, -0.25, 0.95, 0.25), box(-0.25, -0.95, 0.25, 0.95)),
    "heart": joined_outlines(
        turned(box(-0.48, -0.48, 0.48, 0.48), 45.0), disc(0.48, (-0.34, -0.34)), disc(0.48, (0.34, -0.34))
    ),
    "moon": without(disc(0.95), disc(0.8, (0.5, -0.12))),
}
SHAPES: Mapping[str, tuple[Piece, ...]] = {name: (Piece(outline, "main"),) for name, outline in _OUTLINES.items()}

OBJECTS: Mapping[str, tuple[Piece, ...]] = {
    "house": (
        Piece(box(0.3, -0.78, 0.48, -0.3), "dark"),
        Piece(box(-0.6, -0.1, 0.6, 0.75), "main"),
        Piece(polygon((-0.85, -0.05), (0.0, -0.85), (0.85, -0.05)), "second"),
        Piece(box(-0.42, 0.2, -0.08, 0.75), "wood"),
        Piece(box(0.12, 0.15, 0.45, 0.48), "glass"),
    ),
    "tree": (
        Piece(box(-0.13, 0.1, 0.13, 0.95), "wood"),
        Piece(joined_outlines(disc(0.42, (-0.34, -0.02)), disc(0.42, (0.34, -0.02)), disc(0.5, (0.0, -0.42))), "main"),
    ),
    "fish": (
        Piece(polygon((-0.4, 0.0), (-0.95, -0.42), (-0.8, 0.0), (-0.95, 0.42)), "second"),
        Piece(polygon((-0.1, -0.3), (0.3, -0.6), (0.4, -0.3)), "second"),
        Piece(ellipse((0.72, 0.42), (0.15, 0.0)), "main"),
        Piece(disc(0.13, (0.52, -0.1)), "pale"),
        Piece(disc(0.06, (0.54, -0.1)), "dark"),
    ),
    "car": (
        Piece(polygon((-0.6, 0.05), (-0.38, -0.42), (0.3, -0.42), (0.6, 0.05)), "main"),
        Piece(box(-0.92, -0.05, 0.92, 0.38, 0.1), "main"),
        Piece(polygon((-0.42, -0.02), (-0.28, -0.32), (-0.04, -0.32), (-0.04, -0.02)), "glass"),
        Piece(polygon((0.06, -0.02), (0.06, -0.32), (0.24, -0.32), (0.42, -0.02)), "glass"),
        Piece(joined_outlines(disc(0.24, (-0.5, 0.38)), disc(0.24, (0.5, 0.38))), "dark"),
        Piece(joined_outlines(disc(0.1, (-0.5, 0.38)), disc(0.1, (0.5, 0.38))), "pale"),
    ),
    "cup": (
        Piece(ring(0.3, 0.16, (0.48, -0.02)), "main"),
        Piece(polygon((-0.65, -0.5), (0.45, -0.5), (0.28, 0.7), (-0.48, 0.7)), "main"),
        Piece(ellipse((0.55, 0.17), (-0.1, -0.5)), "light"),
        Piece(ellipse((0.44, 0.11), (-0.1, -0.48)), "wood"),
    ),
    "boat": (
        Piece(stroke((0.0, -0.9), (0.0, 0.4), 0.09), "wood"),
        Piece(polygon((0.08, -0.85), (0.08, 0.22), (0.72, 0.22)), "main"),
        Piece(polygon((-0.08, -0.6), (-0.08, 0.22), (-0.6, 0.22)), "light"),
        Piece(polygon((-0.85, 0.32), (0.88, 0.32), (0.55, 0.78), (-0.55, 0.78)), "second"),
    ),
    "mushroom": (
        Piece(box(-0.24, -0.1, 0.24, 0.85, 0.15), "pale"),
        Piece(without(disc(0.85, (0.0, 0.08)), box(-1.0, 0.12, 1.0, 1.0)), "main"),
        Piece(joined_outlines(disc(0.14, (-0.4, -0.2)), disc(0.17, (0.05, -0.45)), disc(0.13, (0.45, -0.15))), "pale"),
    ),
    "flower": (
        Piece(stroke((0.0, 0.0), (0.0, 0.92), 0.12), "wood"),
        Piece(turned(ellipse((0.3, 0.12), (0.28, 0.6)), -20.0, (0.28, 0.6)), "second"),
        Piece(joined_outlines(*(disc(0.24, (x, y - 0.3)) for x, y in regular(6, 0.36))), "main"),
        Piece(disc(0.22, (0.0, -0.3)), "yellow"),
    ),
    "husky": (
        Piece(with_mirror_image(polygon((0.12, -0.45), (0.5, -0.92), (0.72, -0.2))), "fur"),
        Piece(with_mirror_image(polygon((0.3, -0.48), (0.49, -0.74), (0.59, -0.36))), "pale"),
        Piece(ellipse((0.78, 0.68), (0.0, 0.08)), "fur"),
        Piece(joined_outlines(with_mirror_image(ellipse((0.32, 0.4), (0.34, 0.2))), ellipse((0.42, 0.4), (0.0, 0.38))), "pale"),
        Piece(with_mirror_image(disc(0.15, (0.3, 0.0))), "blue"),
        Piece(with_mirror_image(disc(0.07, (0.3, 0.0))), "dark"),
        Piece(with_mirror_image(disc(0.08, (0.22, -0.32))), "pale"),
        Piece(ellipse((0.15, 0.11), (0.0, 0.36)), "dark"),
    ),
    "wolf": (
        Piece(with_mirror_image(polygon((0.08, -0.35), (0.42, -1.0), (0.6, -0.1))), "fur"),
        Piece(
            polygon(
                (-0.5, -0.5), (0.5, -0.5), (0.85, 0.15), (0.45, 0.3), (0.2, 0.95), (-0.2, 0.95), (-0.45, 0.3), (-0.85, 0.15)
            ),
            "fur",
        ),
        Piece(polygon((-0.14, 0.1), (0.14, 0.1), (0.2, 0.9), (-0.2, 0.9)), "muzzle"),
        Piece(with_mirror_image(polygon((0.14, -0.02), (0.5, -0.2), (0.42, 0.06))), "yellow"),
        Piece(with_mirror_image(disc(0.05, (0.33, -0.06))), "dark"),
        Piece(ellipse((0.16, 0.11), (0.0, 0.82)), "dark"),
    ),
}

THINGS: Mapping[str, Mapping[str, tuple[Piece, ...]]] = {"shapes": SHAPES, "objects": OBJECTS}
DEFAULT = {"shapes": tuple(SHAPES), "objects": tuple(OBJECTS)[:8]}
"""Default classes: without husky and wolf, which look alike and must be requested."""
TILT_DEG = {"shapes": 180.0, "objects": 20.0}
"""Largest rotation to either side in degrees; objects stay nearly upright."""
