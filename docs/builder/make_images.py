"""Makes the pictures of the README: `.venv/bin/python docs/builder/make_images.py`.

The photographs are scikit-image's coffee.png (Rachel Michetti, CC0) and chelsea.png (Stefan van der Walt, CC0). Network,
methods and numbers are those of `make demo`; the order of the maps is theirs too, best measured faithfulness first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from torch import Tensor

import tapetum as tp
from tapetum.data.images import to_uint8
from tapetum.figures.overlay import picture
from tapetum.figures.theme import LIGHT
from tapetum.reports.fragments import in_order
from tapetum.types.explanations import Explanation, Judged, Question

STRIP = Path(__file__).parents[1] / "images" / "strip.webp"
UNITS = Path(__file__).parents[1] / "images" / "units.webp"
DEPTHS = {
    "blocks.2.1": (0, 1, 3, 4, 9, 10, 11, 15),
    "blocks.4.2": (0, 2, 4, 6, 16, 20, 24, 30),
    "blocks.6.0": (0, 2, 4, 6, 8, 10, 14, 16),
}
"""Units of an early, a middle and a deep layer, chosen by eye from the first 32 channels."""
SIDE, GAP, MARGIN, HEAD, FOOT = 288, 18, 24, 48, 44  # px
MAPS = 3


def main() -> None:
    """Explains both photographs and writes one strip below the other."""
    model = tp.load("efficientnet_lite0")
    strips = [_strip(model, photo) for photo in (data.coffee(), data.chelsea())]
    both = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), LIGHT.paper)
    both.paste(strips[0], (0, 0))
    both.paste(strips[1], (0, strips[0].height))
    STRIP.parent.mkdir(exist_ok=True)
    both.save(STRIP, quality=88, method=6)
    print(f"{STRIP}: {STRIP.stat().st_size / 1000:.0f} kB")
    _units(model)


def _units(model: tp.VisionModel) -> None:
    """A row of eight units for each depth, as `visualize` makes them at 160 px."""
    side, gap = 112, 4
    sheet = Image.new("RGB", (8 * (side + gap) - gap, len(DEPTHS) * (side + gap) - gap), LIGHT.paper)
    for row, (layer, channels) in enumerate(DEPTHS.items()):
        made = tp.visualize(model, [f"{layer}:{channel}" for channel in channels], size=160)
        for column, pixels in enumerate(made.pixels):
            small = Image.fromarray(to_uint8(pixels)).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (side + gap), row * (side + gap)))
    sheet.save(UNITS, quality=86, method=6)
    print(f"{UNITS}: {UNITS.stat().st_size / 1000:.0f} kB")


def _strip(model: tp.VisionModel, photo: NDArray[np.uint8]) -> Image.Image:
    found = tp.explain(model, photo, runner_up=False)
    box = model.preprocessing.box(int(found.photo.shape[-2]), int(found.photo.shape[-1]))
    return _joined([_photo_panel(found, box), _crop_panel(found), *_map_panels(found.questions[0], found.pixels[0])])


Panel = tuple[Image.Image, str, str]
"""A picture, the words above it, the words below it."""


def _photo_panel(found: Explanation, box: tuple[float, float, float, float]) -> Panel:
    """The whole photograph with the part that the model sees framed."""
    photo = _image(found.photo[0])
    scale = SIDE / photo.height
    photo = photo.resize((round(photo.width * scale), SIDE), Image.Resampling.LANCZOS)
    top, left, bottom, right = (scale * edge for edge in box)
    frame = [left + 1, top + 1, right - 2, bottom - 2]
    ImageDraw.Draw(photo).rectangle(frame, outline=LIGHT.card, width=3)
    return photo, "photograph", "framed: what is left after the crop"


def _crop_panel(found: Explanation) -> Panel:
    best = found.predictions[0]
    return _square(found.pixels[0]), "what the model saw", f"answer: {best.label}, {best.probability:.2f}"


def _map_panels(question: Question, pixels: Tensor) -> list[Panel]:
    """The best maps, each with its verdict."""
    best = [judged for judged in in_order(question) if not judged.baseline][:MAPS]
    return [_map_panel(judged, pixels) for judged in best]


def _map_panel(judged: Judged, pixels: Tensor) -> Panel:
    verdict = judged.verdict
    assert verdict is not None  # the strip is made with evidence
    words = "stands up" if verdict.stands else "does not stand up"
    return _square(picture(judged.attribution, pixels)), judged.title, words


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(pixels))


def _square(pixels: Tensor) -> Image.Image:
    return _image(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _joined(panels: list[Panel]) -> Image.Image:
    """One row, words above and below."""
    width = 2 * MARGIN + sum(picture_.width for picture_, _, _ in panels) + GAP * (len(panels) - 1)
    strip = Image.new("RGB", (width, 2 * MARGIN + HEAD + SIDE + FOOT), LIGHT.paper)
    draw, left = ImageDraw.Draw(strip), MARGIN
    for picture_, title, words in panels:
        draw.text((left, MARGIN), title, LIGHT.ink, _font("DejaVu Sans:bold", 23))
        strip.paste(picture_, (left, MARGIN + HEAD))
        draw.text((left, MARGIN + HEAD + SIDE + 14), words, LIGHT.muted, _font("DejaVu Sans", 16.5))
        left += picture_.width + GAP
    return strip


def _font(name: str, size_px: float) -> ImageFont.FreeTypeFont:
    """matplotlib ships DejaVu, so the picture looks the same on every machine."""
    return ImageFont.truetype(findfont(name), size_px)


if __name__ == "__main__":
    main()
