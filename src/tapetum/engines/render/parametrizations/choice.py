"""Chooses parametrizations by name, for keyword arguments and the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapetum.engines.render.parametrizations.base import Parametrization
from tapetum.engines.render.parametrizations.channels import grayscale, with_alpha
from tapetum.engines.render.parametrizations.generators import gan
from tapetum.engines.render.parametrizations.images import fourier, pixel
from tapetum.engines.render.parametrizations.networks import cppn
from tapetum.engines.render.parametrizations.phases import maco
from tapetum.engines.render.parametrizations.pyramids import laplacian, shared
from tapetum.types import MethodError

PARAMETRIZATIONS: dict[str, Callable[[], Parametrization]] = {
    "fourier": fourier,
    "pixel": pixel,
    "cppn": cppn,
    "maco": maco,
    "laplacian": laplacian,
    "shared": shared,
    "grayscale": grayscale,
    "alpha": with_alpha,
}


def as_parametrization(given: Any) -> Parametrization:
    """Returns the parametrization that is given, or named; "gan:FILE" names a generator by its file of weights."""
    if isinstance(given, Parametrization):
        return given
    if isinstance(given, str) and given in PARAMETRIZATIONS:
        return PARAMETRIZATIONS[given]()
    if isinstance(given, str) and given.startswith("gan:"):
        return gan(given.removeprefix("gan:"))
    choices = f"{', '.join(PARAMETRIZATIONS)} or gan:FILE"
    wrong = f"'{given}'" if isinstance(given, str) else f"a {type(given).__name__}"
    raise MethodError(f"parametrizations are {choices}, or one such as tp.parametrizations.fourier(decay=1.5), not {wrong}")
