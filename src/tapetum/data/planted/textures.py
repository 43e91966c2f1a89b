"""Backgrounds: procedural textures.

Each function takes a random generator and the side in pixels, and returns colours (3, side, side) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tapetum.data.planted.outlines import Plane

Rgb = tuple[float, float, float]


def value_noise(random: Generator, side: int, down: int, across: int) -> Plane:
    """Value noise (side, side) in [0, 1]: random values on a grid of `down` x `across` cells, interpolated smoothly."""
    grid = random.random((down + 1, across + 1))
    return _blend(side, down) @ grid @ _blend(side, across).T


@cache
def _blend(side: int, cells: int) -> Plane:
    """Weights (side, cells + 1) of the grid values at each pixel, with smoothstep between neighbours."""
    place = (np.arange(side) + 0.5) / side * cells
    left = np.minimum(place.astype(int), cells - 1)
    share = _smooth(place - left)
    weights = np.zeros((side, cells + 1))
    weights[np.arange(side), left], weights[np.arange(side), left + 1] = 1 - share, share
    return weights


def fractal(random: Generator, side: int, cells: int, octaves: int = 4, stretch: int = 1) -> Plane:
    """Fractal noise (side, side) around 0.5: a sum of octaves, each of twice the frequency and half the amplitude.

    `stretch` multiplies the number of cells from top to bottom.
    """
    layers = [value_noise(random, side, cells * stretch << k, cells << k) * 0.5**k for k in range(octaves)]
    return np.sum(layers, 0) / (2 - 0.5 ** (octaves - 1))


def _smooth(t: Plane) -> Plane:
    return t * t * (3 - 2 * t)


def _between(low: float, high: float, t: Plane) -> Plane:
    """Smoothstep of `t`: 0 below `low`, 1 above `high`."""
    return _smooth(np.clip((t - low) / (high - low), 0, 1))


def _ramp(random: Generator, t: Plane, *colors: Rgb) -> Plane:
    """Colours (3, side, side) for values t in [0, 1], interpolated along a list of colours with a small random shift."""
    stops = np.array(colors) + (random.random(3) - 0.5) * 0.07
    place = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, place, stop) for stop in stops.T])


def _grid(side: int) -> tuple[Plane, Plane]:
    """Coordinates y and x (side, side) of pixel centres, in [0, 1]."""
    line = (np.arange(side) + 0.5) / side
    return np.broadcast_to(line[:, None], (side, side)), np.broadcast_to(line, (side, side))


def grass(random: Generator, side: int) -> Plane:
    """Grass: thin, upright blades in light and dark patches."""
    blades = value_noise(random, side, 9, 44) * 0.6 + value_noise(random, side, 16, 60) * 0.4
    t = 0.62 * blades + 0.38 * fractal(random, side, 3, 2)
    return _ramp(random, _between(0.2, 0.8, t), (0.10, 0.26, 0.07), (0.25, 0.48, 0.14), (0.56, 0.70, 0.28))


def water(random: Generator, side: int) -> Plane:
    """Water: horizontal ripples with light on their crests."""
    y, _ = _grid(side)
    warp = fractal(random, side, 2, 3, 2)
    crests = np.sin(2 * np.pi * (y * 8 + warp * 5 + random.random()))
    t = 0.5 + 0.3 * crests * value_noise(random, side, 8, 5) + 0.5 * (fractal(random, side, 3, 3, 4) - 0.5)
    return _ramp(random, np.clip(t, 0, 1), (0.04, 0.20, 0.38), (0.10, 0.40, 0.60), (0.55, 0.80, 0.90))


def snow(random: Generator, side: int) -> Plane:
    """Snow: white drifts with bluish shadows and a few bright points."""
    t = _between(0.15, 0.75, fractal(random, side, 2, 4))
    glitter = (random.random((side, side)) - 0.5) * 0.06
    return _ramp(random, np.clip(t + glitter, 0, 1), (0.72, 0.80, 0.92), (0.90, 0.94, 0.99), (1.0, 1.0, 1.0))


def sand(random: Generator, side: int) -> Plane:
    """Sand: slanted ripples and grain."""
    y, x = _grid(side)
    tilt = random.random() - 0.5
    ripples = np.sin(2 * np.pi * (9 * (y + tilt * x) + 3 * fractal(random, side, 2, 3)))
    t = 0.5 + 0.22 * ripples + 0.3 * (random.random((side, side)) - 0.5) + 0.4 * (fractal(random, side, 2, 2) - 0.5)
    return _ramp(random, np.clip(t, 0, 1), (0.62, 0.46, 0.28), (0.82, 0.68, 0.45), (0.95, 0.86, 0.66))


def brick(random: Generator, side: int) -> Plane:
    """Brick wall: rows of bricks, each with its own tone, and light mortar between them."""
    y, x = _grid(side)
    down = y * 8 + random.random()
    row = down.astype(int)
    across = x * 4 + random.random() + 0.5 * (row % 2)
    column = across.astype(int)
    edge = np.minimum(_to_edge(down) / 8, _to_edge(across) / 4) * side  # pixels to the nearest joint
    mortar = np.clip(1.5 - edge + 0.012 * side, 0, 1)
    t = 0.7 * random.random((10, 7))[row, column] + 0.3 * fractal(random, side, 8, 2)
    wall = _ramp(random, t, (0.45, 0.16, 0.11), (0.62, 0.27, 0.19), (0.74, 0.42, 0.30))
    return wall * (1 - mortar) + np.array([0.76, 0.72, 0.67])[:, None, None] * mortar


def _to_edge(place: Plane) -> Plane:
    return 0.5 - np.abs(place % 1 - 0.5)


def clouds(random: Generator, side: int) -> Plane:
    """Clouds: white ones in a blue sky that is lighter towards the bottom."""
    y, _ = _grid(side)
    cover = _between(0.46, 0.72, fractal(random, side, 3, 5))
    sky = _ramp(random, y, (0.28, 0.52, 0.86), (0.60, 0.78, 0.95))
    return sky * (1 - cover) + cover * (0.88 + 0.12 * value_noise(random, side, 4, 4))


def wood(random: Generator, side: int) -> Plane:
    """Wood: boards with grain along them."""
    _, x = _grid(side)
    place = x * 4 + random.random()
    tone = random.random(6)[place.astype(int)]
    grain = np.sin(2 * np.pi * (x * 14 + 2.5 * value_noise(random, side, 3, 8) + 9 * tone))
    t = 0.35 + 0.3 * tone + 0.16 * grain + 0.3 * (value_noise(random, side, 4, 50) - 0.5)
    seam = np.clip(1 + 0.01 * side - _to_edge(place) / 4 * side, 0, 1)
    boards = _ramp(random, np.clip(t, 0, 1), (0.30, 0.17, 0.09), (0.55, 0.36, 0.20), (0.76, 0.56, 0.36))
    return boards * (1 - 0.6 * seam)


def pebbles(random: Generator, side: int) -> Plane:
    """Pebbles: round stones of many greys and browns, dark between them."""
    y, x = _grid(side)
    cells = 8
    sites = random.random((2, cells + 2, cells + 2)) * 0.8 + 0.1
    tones = random.random((cells + 2, cells + 2))
    row, column = (y * cells).astype(int) + 1, (x * cells).astype(int) + 1
    around = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    far = np.stack([np.hypot(r - 1 + sites[0, r, c] - y * cells, c - 1 + sites[1, r, c] - x * cells) for r, c in around])
    nearest = far.argmin(0)
    tone = np.choose(nearest, [tones[r, c] for r, c in around])
    first, second = np.partition(far, 1, 0)[:2]
    stone = _ramp(random, tone, (0.40, 0.36, 0.33), (0.62, 0.58, 0.53), (0.80, 0.76, 0.70))
    gap = _between(0.02, 0.28, second - first)
    return stone * (0.25 + 0.75 * gap) * (1.08 - 0.3 * first)


TEXTURES: Mapping[str, Callable[[Generator, int], NDArray[np.float64]]] = {
    texture.__name__: texture for texture in (grass, snow, water, sand, brick, clouds, wood, pebbles)
}
