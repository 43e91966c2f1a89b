"""Makes the picture of docs/atlas.md: `.venv/bin/python docs/builder/make_atlas.py`.

The data set are parts of four photographs that are installed with scikit-image: chelsea.png (Stefan van der Walt) and
coffee.png (Rachel Michetti), both CC0, astronaut.png (NASA) and rocket.jpg (SpaceX), both in the public domain.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage import data

from tapetum.atlas.build import build

PICTURE = Path(__file__).parents[1] / "images" / "atlas.webp"
UNIT = "blocks.3.0:24"
PHOTOGRAPHS = {"cat": data.chelsea, "coffee": data.coffee, "astronaut": data.astronaut, "rocket": data.rocket}
PARTS = 6
"""Rows and columns of parts; the side of each is half of the photograph's shorter side."""
SIZE = 1280, 570


def main() -> None:
    """Builds the atlas, opens a unit's page, and saves a screenshot."""
    with tempfile.TemporaryDirectory() as work:
        photos = Path(work) / "parts of photographs"
        _cut(photos)
        built = build(
            "efficientnet_lite0",
            photos,
            Path(work) / "atlas",
            layers=["blocks.2.1", "blocks.3.0"],
            render=["blocks.3.0"],
            maps=None,
        )
        shot = _seen(f"{built.index.resolve().as_uri()}#/unit/{UNIT}")
    Image.open(io.BytesIO(shot)).convert("RGB").save(PICTURE, quality=84, method=6)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


def _cut(photos: Path) -> None:
    for name, photograph in PHOTOGRAPHS.items():
        pixels = photograph()
        side = min(pixels.shape[:2]) // 2
        (photos / name).mkdir(parents=True)
        for i, top in enumerate(np.linspace(0, pixels.shape[0] - side, PARTS).astype(int)):
            for j, left in enumerate(np.linspace(0, pixels.shape[1] - side, PARTS).astype(int)):
                part = Image.fromarray(pixels[top : top + side, left : left + side])
                part.save(photos / name / f"{i}{j}.png")


def _seen(address: str) -> bytes:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.goto(address)
        page.wait_for_selector(".spectrum .nine")
        page.wait_for_load_state("networkidle")
        shot = page.screenshot()
        browser.close()
    return shot


if __name__ == "__main__":
    main()
