"""Pictures of results: one `draw` per kind of result, so that a heatmap looks the same everywhere."""

from tapetum.figures import maps as _maps  # registers their draw
from tapetum.figures import renderings as _renderings  # and theirs
from tapetum.figures import spectra as _spectra
from tapetum.figures import studies as _studies  # and theirs
from tapetum.figures.draw import draw, png, show
from tapetum.figures.film import animate
from tapetum.figures.overlay import colorize, overlay, picture

__all__ = ["animate", "colorize", "draw", "overlay", "picture", "png", "show"]
