"""Rendering: pictures by optimisation. One loop, and small parts for its slots."""

from tapetum.engines.render.optimize import Recipe, Step, measure, measure_each, optimize
from tapetum.engines.render.render import render
from tapetum.engines.render.sheets import places_over, sheet

__all__ = ["Recipe", "Step", "measure", "measure_each", "optimize", "places_over", "render", "sheet"]
