"""Colours of the parts of a picture, all derived from one hue, which is independent of the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.data.planted.things import Role

FUR = ((0.42, 0.43, 0.46), (0.55, 0.45, 0.36), (0.33, 0.29, 0.27), (0.60, 0.57, 0.53))
"""Tones of animals, grey to sand; hues in between are mixtures of two."""

FIXED: dict[Role, tuple[float, float, float]] = {
    "dark": (0.10, 0.10, 0.12),
    "glass": (0.72, 0.87, 0.95),
    "wood": (0.45, 0.29, 0.17),
    "pale": (0.95, 0.94, 0.90),
    "yellow": (0.98, 0.80, 0.18),
    "blue": (0.38, 0.70, 0.96),
}


def color(role: Role, hue: float, grey: bool = False) -> NDArray[np.float64]:
    """Colour (3,) in [0, 1] of a part with this role in a picture of this hue; `grey` removes the hue, not the lightness."""
    if role in FIXED:
        return np.array(FIXED[role])
    if role in ("fur", "muzzle"):
        rgb = _fur(hue) if role == "fur" else 0.4 * _fur(hue) + 0.55
    elif role == "second":
        rgb = hsv((hue + 0.45) % 1, 0.75, 0.7)
    else:
        rgb = hsv(hue, *((0.3, 0.97) if role == "light" else (0.82, 0.9)))
    return np.full(3, rgb.mean()) if grey else rgb


def hsv(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """Converts hue, saturation and value in [0, 1] to red, green and blue (3,) in [0, 1]."""
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return value * (1 - saturation + saturation * np.clip(ramp, 0, 1))


def _fur(hue: float) -> NDArray[np.float64]:
    place = hue * len(FUR)
    first, share = int(place) % len(FUR), place % 1
    tones = np.array(FUR)
    return tones[first] * (1 - share) + tones[(first + 1) % len(FUR)] * share
