"""Makes the gallery of rendered pictures: every method that makes pictures, with its call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import markup
from gallery import PHOTOS, figure, figures, write_picture
from skimage import data

import tapetum
from tapetum.figures.tiles import mosaic, tile, unit_words
from tapetum.types import Rendering

EARLY, MIDDLE, DEEP = "blocks.2.1", "blocks.4.2", "blocks.6.0"

PHOTOGRAPHS = {
    **PHOTOS, "astronaut": data.astronaut, "stained tissue": data.immunohistochemistry, "galaxies": data.hubble_deep_field
}  # fmt: skip
"""astronaut.png and hubble_deep_field.jpg are NASA's, in the public domain; ihc.png has no known copyright restriction."""


FEW = 16
"""Most pictures that get tiles; more become one mosaic across the page."""


@dataclass(frozen=True)
class Shelf:
    """One call: method, subject (units, or names of photographs), keywords, description."""

    method: str
    title: str
    words: str
    subject: Any
    keywords: Mapping[str, Any] = field(default_factory=dict)


SHELVES: Sequence[Shelf] = (
    Shelf("visualize", "An early layer", "Lines, lattices, weaves.", [f"{EARLY}:{i}" for i in (0, 1, 3, 4, 9, 10, 11, 15)]),
    Shelf("visualize", "A middle layer", "Materials and parts.", [f"{MIDDLE}:{i}" for i in (0, 2, 4, 6, 16, 20, 24, 30)]),
    Shelf("visualize", "A deep layer", "Things, many at once.", [f"{DEEP}:{i}" for i in range(0, 16, 2)], {"size": 192}),
    Shelf(
        "visualize",
        "Classes",
        "What would be the surest flamingo?",
        ["flamingo", "golden retriever", "lion", "zebra", "balloon", "strawberry"],
        {"size": 224},
    ),
    Shelf(
        "visualize",
        "Against",
        "What middle units answer least to.",
        [f"{MIDDLE}:{i}" for i in (0, 2, 4, 6)],
        {"negative": True},
    ),
    Shelf("visualize", "Several faces of one unit", "Pictures kept apart by their styles.", [f"{MIDDLE}:7"], {"diversity": 4}),
    Shelf(
        "neuron_interaction", "Two units", "Alone, turned around, together.", [f"{MIDDLE}:36", f"{MIDDLE}:33"], {"n_steps": 128}
    ),
    Shelf("interpolate", "From one unit to another", "In aligned steps.", [f"{MIDDLE}:36", f"{MIDDLE}:33"], {"n_steps": 128}),
    Shelf("caricature", "Caricatures", "What a layer found, only more of it.", ["cat", "coffee"], {"n_steps": 128}),
    Shelf("activation_grid", "What a layer sees at each place", "One cell a place.", ["coffee"]),
    Shelf("neuron_groups", "Groups of channels", "What six groups that fire together ask for.", ["cat"]),
    Shelf(
        "invert",
        "What a layer kept",
        "Pictures with the same activation as the photograph, early to deep.",
        ["cat"],
        {"layer": ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.6"]},
    ),
    Shelf(
        "deep_dream",
        "Dreams",
        "Whatever the layer sees, more of it.",
        ["coffee", "cat"],
        {"layer": "blocks.4", "n_steps": 20, "step_size": 0.006, "size": 448},
    ),
    Shelf(
        "style_transfer",
        "Style",
        "The places of one picture, the textures of another.",
        ["astronaut"],
        {"style": "stained tissue"},
    ),
    Shelf("style_transfer", "Style", "A launch under Hubble's sky.", ["rocket"], {"style": "galaxies", "longest_px": 320}),
    Shelf("accentuate", "Accents", "What the cat lacks to be a tiger.", ["cat"], {"units": "tiger"}),
    Shelf(
        "accentuate",
        "Transparent accents",
        "Only what was moved stays.",
        ["coffee"],
        {"units": "espresso", "transparency": True},
    ),
)


@dataclass(frozen=True)
class Shown:
    """Content of a shelf: picture files with captions, the call, and its time."""

    shelf: Shelf
    call: str
    files: Sequence[tuple[str, str]]
    seconds: float


def make_shelves(site: Path, names: Sequence[str] | None = None) -> list[Shown]:
    """Makes the pictures of all shelves (of the methods of these names) and writes them into `site`."""
    model = tapetum.load("efficientnet_lite0")
    (site / "images" / "pictures").mkdir(parents=True, exist_ok=True)
    shown = []
    for i, shelf in enumerate(SHELVES):
        if names is None or shelf.method in names:
            shown.append(_made(shelf, i, model, site))
            print(f"pictures {i + 1}/{len(SHELVES)} {shelf.method}, {shelf.title}: {shown[-1].seconds:.0f} s", flush=True)
    return shown


def _made(shelf: Shelf, number: int, model: tapetum.VisionModel, site: Path) -> Shown:
    start = time.perf_counter()
    of_photographs = tapetum.lookup(shelf.method).takes != "units"
    about = [tapetum.read_image(PHOTOGRAPHS[name]()) for name in shelf.subject] if of_photographs else shelf.subject
    keywords = dict(shelf.keywords)
    if "style" in keywords:
        keywords["style"] = tapetum.read_image(PHOTOGRAPHS[keywords["style"]]())
    made = tapetum.lookup(shelf.method).function(model, about, **keywords)
    seconds = time.perf_counter() - start
    files = []
    grid = mosaic(made) if len(made) > FEW else None
    pictures = [tile(made, row) for row in range(len(made))] if grid is None else [grid]
    for row, pixels in enumerate(pictures):
        file = f"images/pictures/{number:02d}-{shelf.method}-{row}.webp"
        write_picture(pixels, site / file)
        files.append((file, _caption(made, row, shelf) if grid is None else ""))
    return Shown(shelf, _call(shelf), files, seconds)


def _caption(made: Rendering, row: int, shelf: Shelf) -> str:
    words = unit_words(made.objectives[row])
    return words if len(words) < 60 else f"{words[:56]}..."


def _call(shelf: Shelf) -> str:
    given = "".join(f", {name}={value!r}" for name, value in shelf.keywords.items())
    about = shelf.subject[0] if len(shelf.subject) == 1 else shelf.subject
    return f"tp.{shelf.method}(model, {about!r}{given})"


def pictures_page(shown: Sequence[Shown]) -> str:
    """Page of all shelves with their calls."""
    parts = "\n\n".join(_section(one) for one in shown)
    return f"""# Pictures a network was asked for

Made from noise or from a photograph, by asking a trained network (efficientnet_lite0, its ImageNet weights) what would
make it answer more. Every call is the whole recipe: the same call gives the same pixels. What such pictures can and cannot
show is said in [limits](/explanation/limits.md).

Seconds are those of the machine that built this page, for comparison with each other only. Photographs: scikit-image's.

{parts}
"""


def _section(shown: Shown) -> str:
    shelf = shown.shelf
    tiles = [figure(file, f"{shelf.title}: {words}".rstrip(": "), words, wide=not words) for file, words in shown.files]
    return f"""## {shelf.title}

[`{shelf.method}`](/reference/methods/{shelf.method}.md): {markup.inline(shelf.words)} ({shown.seconds:.0f} s)

{markup.fenced(shown.call, "python")}

{figures(tiles)}"""
