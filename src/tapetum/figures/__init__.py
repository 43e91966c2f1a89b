"""Pictures of results: one `draw` per kind of result, so that a heatmap looks the same everywhere."""

from tapetum.figures.draw import draw, png, show
from tapetum.figures.overlay import colorize, overlay, picture

__all__ = ["colorize", "draw", "overlay", "picture", "png", "show"]
