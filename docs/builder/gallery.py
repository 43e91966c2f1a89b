"""Makes the gallery: every attribution method on the same photographs, with evidence and time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import markup
import torch
from PIL import Image
from skimage import data

import tapetum
from tapetum.data.images import to_uint8
from tapetum.families.metrics.curves import EVIDENCE
from tapetum.families.metrics.evaluating import evaluate
from tapetum.figures.overlay import picture
from tapetum.types import Method, TapetumError

PHOTOS = {"cat": data.chelsea, "coffee": data.coffee, "rocket": data.rocket}
"""scikit-image's, all free: chelsea.png and coffee.png are CC0, rocket.jpg is NASA's, in the public domain."""

SHORTER: Mapping[str, Mapping[str, Any]] = {
    "rise": {"n_masks": 1000},
    "ss_cam": {"n_samples": 3},
    "is_cam": {"n_steps": 3},
    "extremal_perturbation": {"n_steps": 300},
    "guided_integrated_gradients": {"n_steps": 100},
    "gradient_shap": {"n_samples": 50},
}
"""Smaller settings than the default, to save time; the tile states them."""


@dataclass(frozen=True)
class Tile:
    """One method on one photograph; `refusal` replaces a missing map."""

    photo: str
    file: str
    status: str
    evidence: Mapping[str, float]
    seconds: float
    refusal: str = ""

    @property
    def faithfulness(self) -> float:
        return self.evidence.get("insertion", float("nan")) - self.evidence.get("deletion", float("nan"))


def make_tiles(site: Path, names: Sequence[str] | None = None, photos: Sequence[str] = tuple(PHOTOS)) -> dict[str, list[Tile]]:
    """Explains the photographs with every method and writes the pictures into `site`; returns the tiles by method."""
    model = tapetum.load("efficientnet_lite0")
    images = {photo: model.preprocess(tapetum.read_image(PHOTOS[photo]())) for photo in photos}
    (site / "images" / "gallery").mkdir(parents=True)
    tapetum.saliency(model, next(iter(images.values())))  # so that the first method's time excludes loading
    for photo, image in images.items():
        write_picture(model.denormalize(image)[0], site / _file("photo", photo))
    methods = [method for method in tapetum.methods(kind="attribution") if names is None or method.name in names]
    tiles: dict[str, list[Tile]] = {}
    for i, method in enumerate(methods, 1):
        tiles[method.name] = [_tile(method, model, photo, image, site) for photo, image in images.items()]
        seconds = sum(tile.seconds for tile in tiles[method.name])
        print(f"gallery {i}/{len(methods)} {method.name}: {seconds:.1f} s", flush=True)
    return tiles


def _tile(method: Method, model: tapetum.VisionModel, photo: str, image: torch.Tensor, site: Path) -> Tile:
    start = time.perf_counter()
    try:
        found = method.function(model, image, **SHORTER.get(method.name, {}))
    except TapetumError as error:
        return Tile(photo, "", "refused", {}, time.perf_counter() - start, str(error))
    seconds = time.perf_counter() - start
    file = _file(method.name, photo)
    write_picture(picture(found, model.denormalize(image)[0]), site / file)
    areas = {name: evaluate(model, image, found, [name], **given)[name].value for name, given in EVIDENCE.items()}
    return Tile(photo, file, found.status[0], {name: float(value) for name, value in areas.items()}, seconds)


def _file(name: str, photo: str) -> str:
    return f"images/gallery/{name}-{photo}.webp"


def write_picture(pixels: torch.Tensor, file: Path) -> None:
    Image.fromarray(to_uint8(pixels)).save(file, quality=88, method=6)


# --- pages


def gallery_page(tiles: Mapping[str, Sequence[Tile]]) -> str:
    """Page of all methods, the best by average evidence first."""
    ranked = sorted(tiles, key=lambda name: -_mean(tiles[name]))
    photos = [tile.photo for tile in next(iter(tiles.values()))]
    rows = "\n\n".join(_row(name, tiles[name]) for name in ranked)
    cells = EVIDENCE["insertion"]["cells"]
    return f"""# Maps

Every attribution on the same photographs, each of its predicted class. The order is by measured faithfulness (insertion
\N{MINUS SIGN} deletion, {cells} \N{MULTIPLICATION SIGN} {cells} squares, blur), the mean of the photographs. {len(photos)}
photographs are no ranking of methods: on others the order is another.

Model efficientnet_lite0 with its ImageNet weights, default settings unless a tile says otherwise, seed 0; seconds on the
machine that built this page, for comparison with each other only. Photographs: scikit-image's.

{figures(_photo_figure(photo) for photo in photos)}

{rows}
"""


def figures(shown: Iterable[str]) -> str:
    """Row of pictures that wraps."""
    return markup.directive("container", "tiles", "\n\n".join(shown))


def figure(file: str, alt: str, caption: str = "", *, wide: bool = False, width_px: int | None = None) -> str:
    """One picture of the site, by its path from the site's root."""
    options = {"alt": " ".join(alt.split())} | ({"figclass": "wide"} if wide else {})
    options |= {} if width_px is None else {"width": f"{width_px}px", "figclass": "plain"}
    return markup.directive("figure", f"/{file}", markup.escaped(caption) if caption else "", options)


def _photo_figure(photo: str) -> str:
    best: Any = tapetum.predict("efficientnet_lite0", PHOTOS[photo]())[0][0]
    return figure(_file("photo", photo), "The photograph", f"{photo}: {best.label}, probability {best.probability:.2f}")


def _row(name: str, tiles: Sequence[Tile]) -> str:
    method = tapetum.lookup(name)
    mark = ", a baseline" if "baseline" in method.laws else ""
    given = ", ".join(f"{key} {value}" for key, value in SHORTER.get(name, {}).items())
    mean = f"mean {_mean(tiles):+.2f}{mark}" if any(tile.evidence for tile in tiles) else ""
    words = "".join(f"{part}; " for part in (mean, given and f"here with {given}") if part)
    return f"""(gallery-{name.replace("_", "-")})=
## {name}

{markup.inline(method.summary)} ({markup.escaped(words)}[its page](/reference/methods/{name}.md))

{_shown(name, tiles)}"""


def _shown(name: str, tiles: Sequence[Tile]) -> str:
    """Figures of the tiles; a refusal of all photographs is stated once."""
    refusals = {tile.refusal for tile in tiles}
    if "" not in refusals and len(refusals) == 1:
        return markup.escaped(f"Here it is refused: {refusals.pop()}")
    return figures(_figure(name, tile) for tile in tiles)


def _figure(name: str, tile: Tile) -> str:
    if not tile.file:
        return markup.escaped(f"refused: {tile.refusal}")
    numbers = ", ".join(f"{metric} {value:.2f}" for metric, value in tile.evidence.items())
    status = "" if tile.status == "ok" else f"{tile.status}; "
    return figure(tile.file, f"{name} over the photograph", f"{status}{numbers}; {tile.seconds:.1f} s")


def _mean(tiles: Sequence[Tile]) -> float:
    known = [tile.faithfulness for tile in tiles if tile.faithfulness == tile.faithfulness]
    return sum(known) / len(known) if known else float("-inf")


def method_pictures(name: str, tiles: Sequence[Tile]) -> str:
    """Pictures of one method, for its own page."""
    return f"{_shown(name, tiles)}\n\nFrom the [gallery](#gallery-{name.replace('_', '-')})."
