"""Cues in the way a picture is painted: patterns on the object, and blur, a faint grating or a colour cast over all of it."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tapetum.data.planted.outlines import Plane

CONTRAST = 0.45
"""Largest relative change of an object's brightness by its pattern."""

FAINT = 4 / 255
"""Amplitude of the grating, in units of pixels in [0, 1]."""

BLUR = 0.035
"""Standard deviation of the strongest blur, as a share of the side; the first class has none."""

GAINS = (1.06, 0.94, 1.12, 0.88)
"""Factors of one channel: classes 0 to 2 have the first one in red, green or blue, the next three the second, and so on."""

WAVES = ((0, 12), (12, 0), (8, 8), (8, -8), (4, 11), (11, 4), (4, -11), (11, -4), (0, 8), (8, 0))
"""Waves of each class's grating across the picture: from top to bottom, and from left to right."""


def fill_pattern(cue: int, rows: slice, columns: slice, side: int) -> Plane:
    """Pattern (rows, columns) of a class, from -1 to 1; it is fixed to the picture and does not turn with the object."""
    y = (np.arange(rows.start, rows.stop) + 0.5)[:, None] / side
    x = (np.arange(columns.start, columns.stop) + 0.5)[None] / side
    down, across = np.sin(2 * np.pi * 12 * y), np.sin(2 * np.pi * 12 * x)
    slanted, other = np.sin(2 * np.pi * 9 * (x + y)), np.sin(2 * np.pi * 9 * (x - y))
    flat = np.zeros_like(x + y)
    patterns = (down, across, slanted, other, down * across, np.maximum(down, across), slanted * other)
    coarse = (np.sin(2 * np.pi * 6 * y), np.sin(2 * np.pi * 6 * x), np.sin(2 * np.pi * 5 * x) * np.sin(2 * np.pi * 5 * y))
    return np.clip(((*patterns, *coarse)[cue] + flat) * 1.6, -1, 1)


def blurred(pixels: Plane, cue: int, classes: int) -> Plane:
    """Pixels (3, side, side) after the Gaussian blur of a class, mirrored at the edges."""
    sigma = BLUR * pixels.shape[-1] * cue / max(classes - 1, 1)
    if sigma == 0:
        return pixels
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        width = [(0, 0), (0, 0), (0, 0)]
        width[axis] = (reach, reach)
        windows = sliding_window_view(np.pad(pixels, width, "symmetric"), 2 * reach + 1, axis)
        pixels = windows @ weights
    return pixels


def grating(cue: int, side: int) -> Plane:
    """The faint grating (side, side) of a class."""
    place = (np.arange(side) + 0.5) / side
    down, across = WAVES[cue]
    return FAINT * np.sin(2 * np.pi * (down * place[:, None] + across * place[None]))


def gains(cue: int) -> NDArray[np.float64]:
    """Factors (3,) of red, green and blue of a class."""
    factors = np.ones(3)
    factors[cue % 3] = GAINS[cue // 3]
    return factors
