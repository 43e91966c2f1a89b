"""Feature visualisation: makes pictures by optimisation, with one loop and exchangeable parts."""

from tapetum.engines.render.optimize import Recipe, measure, measure_each, optimize
from tapetum.engines.render.render import render
from tapetum.engines.render.sheets import places_over, sheet
