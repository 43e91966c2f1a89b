"""A network that cheats by construction, and pictures that let it: the answer is the brightness of the outermost pixels."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.models.vision_model import VisionModel
from tapetum.types import Audit

SIDE = 24
CLASSES = ("dark", "bright")


class Frame(nn.Module):
    """Two logits: minus and plus twelve times the mean of the outermost pixels, about 0.5."""

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = images[..., [0, -1], :].mean((1, 2, 3)), images[..., [0, -1]].mean((1, 2, 3))
        score = 12 * ((rows + columns) / 2 - 0.5)
        return torch.stack([-score, score], 1)


def frame_reader() -> VisionModel:
    return tp.wrap(Frame(), size=SIDE, mean=0.0, std=1.0, labels=list(CLASSES), name="frame_reader")


def framed(n: int = 40) -> tuple[Tensor, list[str]]:
    """Noise (n, 3, 24, 24) in a dark frame or a bright one, with the classes' names."""
    pixels = torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for i in range(n):
        level = 0.75 if i % 2 else 0.25
        pixels[i, :, [0, -1]], pixels[i, :, :, [0, -1]] = level, level
    return pixels, [CLASSES[i % 2] for i in range(n)]


@functools.cache
def accused() -> Audit:
    """An audit that finds the frame."""
    with tempfile.TemporaryDirectory() as folder:
        return tp.audit(frame_reader(), write_framed(Path(folder) / "framed"))


def write_framed(folder: Path, n: int = 40) -> Path:
    """Writes the framed pictures into class folders."""
    for i, (one, label) in enumerate(zip(*framed(n), strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray((one.permute(1, 2, 0) * 255).byte().numpy()).save(folder / label / f"{i:02}.png")
    return folder
