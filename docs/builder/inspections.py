"""Makes figures of inspections for the gallery, all on the same photograph, with default settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import markup
from gallery import PHOTOS, figure
from markup import escaped

import tapetum
from tapetum.figures import draw
from tapetum.types import Method, TapetumError

PHOTO = "cat"
SEVERAL = ("consistent_channels",)
"""Methods that compare photographs get all of the gallery's."""


@dataclass(frozen=True)
class Figure:
    """A figure's file, its title and its width on a page in px; or why there is none."""

    file: str = ""
    title: str = ""
    width: int = 0
    refusal: str = ""


def make_figures(site: Path, names: Sequence[str] | None = None) -> dict[str, Figure]:
    """Writes a figure of each inspection (of these names) into `site`: {name: figure}."""
    model = tapetum.load("efficientnet_lite0")
    (site / "images" / "inspections").mkdir(parents=True)
    methods = [method for method in tapetum.methods(kind="inspection") if names is None or method.name in names]
    found: dict[str, Figure] = {}
    for i, method in enumerate(methods, 1):
        found[method.name] = _figure(method, model, site)
        print(f"inspections {i}/{len(methods)} {method.name} {found[method.name].refusal}", flush=True)
    return found


def _figure(method: Method, model: tapetum.VisionModel, site: Path) -> Figure:
    photos = [make() for name, make in PHOTOS.items() if name == PHOTO or method.name in SEVERAL]
    about = {"images": [model.preprocess(photos)], "pictures": [photos], "model": []}[method.takes]
    try:
        drawn = draw(method.function(model, *about))
    except TapetumError as error:
        return Figure(refusal=str(error))
    png, size = drawn._repr_png_()
    file = f"images/inspections/{method.name}.png"
    (site / file).write_bytes(png)
    return Figure(file, getattr(drawn, "title", ""), size["width"])


def shown(one: Figure) -> str:
    """The figure on a page."""
    if not one.file:
        return escaped(f"Here it is refused: {one.refusal}")
    return figure(one.file, one.title, width_px=one.width)


def inspections_page(figures: Mapping[str, Figure]) -> str:
    """Page of all inspections with their figures."""
    parts = "\n\n".join(
        f"## {name}\n\n{markup.inline(tapetum.lookup(name).summary)} ([its page](/reference/methods/{name}.md))\n\n{shown(one)}"
        for name, one in figures.items()
    )
    return f"""# Inspections

What layers hold and what they found: every inspection on one photograph, or on three where it compares them;
efficientnet_lite0 with its ImageNet weights, default settings.

{parts}
"""
