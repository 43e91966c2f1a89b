"""Named recipes. They differ in parametrization and transforms, which decide how clear the picture of a unit is."""

from __future__ import annotations

from tapetum.engines.render import transforms as T
from tapetum.engines.render.optimize import Recipe
from tapetum.engines.render.parametrizations import cppn, fourier, maco, pixel
from tapetum.types import MethodError

NOISY = (*T.STANDARD, T.noise(0.04))

CLEAR = Recipe(parametrization=fourier(decay=1.2), transforms=NOISY)

PRESETS: dict[str, Recipe] = {
    "best": CLEAR,
    "standard": Recipe(),
    "clear": CLEAR,
    "bold": Recipe(parametrization=fourier(decay=1.5), transforms=NOISY),
    "lucid": Recipe(transforms=T.LUCID, n_steps=512),
    "maco": Recipe(parametrization=maco(), transforms=(*T.STANDARD, T.noise(0.05))),
    "cppn": Recipe(parametrization=cppn(), n_steps=512),
    "pixel": Recipe(parametrization=pixel()),
    "plain": Recipe(parametrization=pixel(decorrelated=False), transforms=()),
    "fourier_plain": Recipe(parametrization=fourier(), transforms=()),
}
"""best: the same as clear, which `python -m benchmarks quality` ranks first. standard: frequencies, decorrelated colours,
jitter, scale and rotation of olah2017feature, with 256 steps instead of 512. clear, bold: low frequencies move further, and
added noise suppresses fine dots. lucid: standard with the grey padding of lucid and 512 steps. maco: the spectrum of
photographs, so natural contrast and colours (fel2023maco uses crops, noise and at least 6 views; on EfficientNet-Lite0 the
transforms here excite units as much in half the passes). cppn: smooth forms, for large prints, and slow to begin. pixel:
standard with pixels in place of frequencies. plain: pixels without transforms or decorrelated colours. fourier_plain:
frequencies without transforms."""


def preset(name: str) -> Recipe:
    """Returns the recipe called `name`; the error for an unknown name lists all names."""
    if name not in PRESETS:
        raise MethodError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
    return PRESETS[name]
