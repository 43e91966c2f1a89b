"""Defines the page of a figure. Only this module imports matplotlib at its top; it is imported with the first figure."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tapetum.figures.theme import LIGHT

SCREEN_DPI = 96
"""CSS pixels per inch: a notebook shows a figure this large, with two pixels for each, so that it is sharp on any screen."""


class Page(Figure):
    """A matplotlib figure outside pyplot's global state, which shows itself in a notebook."""

    def __init__(self, width_in: float, height_in: float, title: str, top: float) -> None:
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, top), w_pad=0.06, h_pad=0.06)
        super().__init__(figsize=(width_in, height_in), facecolor=LIGHT.card, layout=layout)
        FigureCanvasAgg(self)
        self.title = title

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return figure_png(self, 2 * SCREEN_DPI), {"width": round(self.get_figwidth() * SCREEN_DPI)}


def figure_png(figure: Figure, dpi: int = 150) -> bytes:
    """Returns the figure as a PNG file that contains its title."""
    file = io.BytesIO()
    title = " ".join(getattr(figure, "title", "").split())
    figure.savefig(file, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Title": title} if title else None)
    return file.getvalue()
