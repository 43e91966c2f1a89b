"""A small data set and a small network: an atlas of them takes a second."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from zoo import vision_model

from tapetum.models.vision_model import VisionModel

LAYERS = ("first", "second")
"""The blocks of `residual`: the first ends in a ReLU, so its values are those before it."""

CLASSES = ("apple", "pear", "quince")


def network(seed: int = 0) -> VisionModel:
    return vision_model("residual", seed)


def picture_folder(place: Path, count: int = 40, damaged: bool = True) -> Path:
    """Class folders of smooth noise; two files are no pictures."""
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        noise = torch.rand(3, 5, 5, generator=generator)
        pixels = torch.nn.functional.interpolate(noise[None], (20, 24), mode="bicubic")[0].clamp(0, 1)
        file = place / CLASSES[i % 3] / f"{i:02d}.{'jpg' if i % 2 else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy()).save(file)
    if damaged:
        (place / "apple" / "03.jpg").write_bytes(b"this is no picture")
        (place / "pear" / "31.jpg").write_bytes((place / "pear" / "31.jpg").read_bytes()[:200])
    return place
