"""Pictures of results: one `draw` per kind of result, so that a heatmap looks the same everywhere."""

import importlib
import pkgutil

from tapetum.figures.draw import draw, has_figure, html, png, show
from tapetum.figures.film import animate
from tapetum.figures.overlay import colorize, overlay, picture

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):  # each module registers its `draw`
    if not _module.name.endswith(".page"):  # `page` imports matplotlib, so it is imported with the first figure
        importlib.import_module(_module.name)
