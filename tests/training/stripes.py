"""A small data set with a known answer: upright or lying stripes under noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.models.vision_model import VisionModel

SIDE = 16


def stripes(n: int = 24, seed: int = 0) -> tuple[Tensor, list[str]]:
    """(n, 3, 16, 16) in [0, 1] and their names."""
    generator = torch.Generator().manual_seed(seed)
    wave = (torch.arange(SIDE) // 2 % 2).float()
    planes = torch.stack([wave.expand(SIDE, SIDE) if i % 2 else wave[:, None].expand(SIDE, SIDE) for i in range(n)])
    pixels = (planes[:, None].expand(-1, 3, -1, -1) * 0.6 + 0.4 * torch.rand(n, 3, SIDE, SIDE, generator=generator)).clamp(0, 1)
    return pixels, ["upright" if i % 2 else "lying" for i in range(n)]


def settings(**others: Any) -> dict[str, Any]:
    """A quick training in which everything random happens."""
    return {"size": SIDE, "epochs": 3, "batch": 5, "augment": "crop"} | others


def folder_of(root: Path, n: int = 12) -> Path:
    """Class folders of PNG files."""
    pixels, labels = stripes(n)
    for i, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray((one.permute(1, 2, 0) * 255).byte().numpy()).save(root / label / f"{i}.png")
    return root


class Noisy(nn.Module):
    """Dropout and batch-norm: what a run must not forget."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.drop, self.last = nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.drop(self.norm(self.first(images)).relu().mean((2, 3))))


def noisy() -> VisionModel:
    """The same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tp.wrap(Noisy(), size=SIDE, name="noisy")
