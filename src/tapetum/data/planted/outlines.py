"""Outlines as signed distances: negative inside, zero on the edge, positive outside; x to the right, y down.

    disc(0.5)(x, y)   an array of distances for arrays of coordinates, in the same unit

The distance gives the share of a pixel that is covered (for anti-aliasing), and how far away the rim is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float64]
Outline: TypeAlias = Callable[[Plane, Plane], Plane]
Point: TypeAlias = tuple[float, float]


def disc(radius: float, at: Point = (0.0, 0.0)) -> Outline:
    """Outline of a filled circle."""
    return lambda x, y: np.hypot(x - at[0], y - at[1]) - radius


def ellipse(radii: Point, at: Point = (0.0, 0.0)) -> Outline:
    """Outline of a filled ellipse along the axes; the distance is exact at the edge and approximate (first order) elsewhere."""
    a, b = radii

    def distance(x: Plane, y: Plane) -> Plane:
        u, v = (x - at[0]) / a, (y - at[1]) / b
        out, slope = np.hypot(u, v), np.hypot(u / a, v / b)
        return np.where(slope > 1e-9, out * (out - 1) / np.maximum(slope, 1e-9), -min(a, b))

    return distance


def box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> Outline:
    """Outline of a filled rectangle from (left, top) to (right, bottom), its corners rounded with the radius `corner`."""
    middle, half = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2 - corner, (bottom - top) / 2 - corner)

    def distance(x: Plane, y: Plane) -> Plane:
        u, v = np.abs(x - middle[0]) - half[0], np.abs(y - middle[1]) - half[1]
        return np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0) - corner

    return distance


def polygon(*points: Point) -> Outline:
    """Outline of a filled polygon through the points in order; it may be concave."""
    start = np.array(points)[:, :, None, None]
    edge = np.roll(start, -1, 0) - start
    length = (edge**2).sum(1)

    def distance(x: Plane, y: Plane) -> Plane:
        u, v = x - start[:, 0], y - start[:, 1]
        along = np.clip((u * edge[:, 0] + v * edge[:, 1]) / length, 0, 1)
        near = np.sqrt(((u - edge[:, 0] * along) ** 2 + (v - edge[:, 1] * along) ** 2).min(0))
        # a point is inside if a ray to the right of it crosses an odd number of edges
        spans = (v >= 0) != (v >= edge[:, 1])
        ahead = (u * edge[:, 1] < v * edge[:, 0]) == (edge[:, 1] > 0)
        return np.where((spans & ahead).sum(0) % 2 == 1, -near, near)

    return distance


def stroke(start: Point, end: Point, width: float) -> Outline:
    """Outline of a straight line from `start` to `end` with round ends."""
    edge = end[0] - start[0], end[1] - start[1]
    length = edge[0] ** 2 + edge[1] ** 2

    def distance(x: Plane, y: Plane) -> Plane:
        u, v = x - start[0], y - start[1]
        along = np.clip((u * edge[0] + v * edge[1]) / length, 0, 1)
        return np.hypot(u - edge[0] * along, v - edge[1] * along) - width / 2

    return distance


def ring(radius: float, width: float, at: Point = (0.0, 0.0)) -> Outline:
    """Outline of a ring: the circle of this radius, drawn as a line of this width."""
    return lambda x, y: np.abs(np.hypot(x - at[0], y - at[1]) - radius) - width / 2


def joined_outlines(*parts: Outline) -> Outline:
    """Outline of the union of several outlines."""
    return lambda x, y: reduce(np.minimum, (part(x, y) for part in parts))


def without(whole: Outline, cut: Outline) -> Outline:
    """Outline of `whole` without the area of `cut`."""
    return lambda x, y: np.maximum(whole(x, y), -cut(x, y))


def star(points: int, outer: float, inner: float) -> Outline:
    """Outline of a filled star with one tip up, from the radii of its tips and of the corners between them."""
    angles = np.pi * np.arange(2 * points) / points
    radii = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return polygon(*zip((radii * np.sin(angles)).tolist(), (-radii * np.cos(angles)).tolist(), strict=True))


def turned(outline: Outline, angle_deg: float, about: Point = (0.0, 0.0)) -> Outline:
    """Returns the outline, turned clockwise by degrees about a point."""
    cos, sin = float(np.cos(np.deg2rad(angle_deg))), float(np.sin(np.deg2rad(angle_deg)))

    def distance(x: Plane, y: Plane) -> Plane:
        u, v = x - about[0], y - about[1]
        return outline(cos * u + sin * v + about[0], cos * v - sin * u + about[1])

    return distance


def with_mirror_image(outline: Outline) -> Outline:
    """Returns the union of the outline and its mirror image about x = 0."""
    return lambda x, y: outline(np.abs(x), y)


def regular(corners: int, radius: float = 1.0) -> Sequence[Point]:
    """Corners of a regular polygon, the first one up."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return [(radius * float(np.sin(one)), -radius * float(np.cos(one))) for one in angles]
