"""Recipes by name: parametrization and transforms decide how clear the picture of a unit is."""

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
"""best: the one that `python -m benchmarks quality` puts first, clear. standard: frequencies, decorrelated colours, jitter,
scale, rotation (olah2017feature; 256 steps, there 512). clear, bold: low frequencies move further, and noise keeps fine dots
away. lucid: with its grey padding, 512 steps. maco: the spectrum of photographs, natural contrast and colours (fel2023maco:
crops and noise, 6 views or more; on EfficientNet-Lite0 these transforms excite units as much in half the passes). cppn:
smooth forms, for large prints, and slow to begin. pixel: pixels in place of frequencies. plain: pixels and nothing that keeps
noise away; fourier_plain: frequencies and nothing else."""


def preset(name: str) -> Recipe:
    """Returns the recipe of that name; a refusal lists all."""
    if name not in PRESETS:
        raise MethodError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
    return PRESETS[name]
