"""Parametrizations: how a picture is written in the numbers that are optimised. The choice decides how pictures look."""

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.images import fourier, pixel

__all__ = ["Canvas", "Parametrization", "Start", "fourier", "pixel"]
