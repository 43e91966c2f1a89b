"""Parametrizations: pictures as functions of the optimised numbers. The choice of the function decides how they look."""

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.channels import grayscale, with_alpha
from tapetum.engines.render.parametrizations.choice import PARAMETRIZATIONS, as_parametrization
from tapetum.engines.render.parametrizations.generators import gan
from tapetum.engines.render.parametrizations.images import as_it_is, fourier, pixel
from tapetum.engines.render.parametrizations.natural import FourierSpectrum, natural_spectrum, spectrum_of
from tapetum.engines.render.parametrizations.networks import cppn
from tapetum.engines.render.parametrizations.phases import maco
from tapetum.engines.render.parametrizations.pyramids import laplacian, shared

__all__ = [
    "PARAMETRIZATIONS", "Canvas", "FourierSpectrum", "Parametrization", "Start", "as_it_is", "as_parametrization", "cppn",
    "fourier", "gan", "grayscale", "laplacian", "maco", "natural_spectrum", "pixel", "shared", "spectrum_of", "with_alpha",
]  # fmt: skip
