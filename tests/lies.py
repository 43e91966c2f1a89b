"""A network whose optimised pictures lie, in closed form, and photographs that never open the path by which they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

import tapetum as tp

SIDE = 8


def two_paths() -> Any:
    """Unit 0 is relu(red) + 10 relu(blue - .7): photographs are not that blue. Unit 1 is relu(green), unit 2 relu(blue)."""
    first, second, third = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)
    for one in (first, second, third):
        nn.init.zeros_(one.weight), nn.init.zeros_(one.bias)
    with torch.no_grad():
        for path, color in enumerate((0, 2, 1, 2)):
            first.weight[path, color, 1, 1] = 1
        first.bias[1] = -0.7
        second.weight[:, :, 1, 1] = torch.tensor([[1.0, 10, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        third.weight[0, :, 1, 1] = 1
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return tp.wrap(net.double().eval(), size=SIDE, mean=0, std=1, name="two paths")


def dull_photographs(folder: Path) -> Path:
    """Writes sixty photographs without bright colours."""
    levels = torch.randint(20, 150, (60, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for i, one in enumerate(levels):
        Image.fromarray(one.numpy()).save(folder / f"{i:02}.png")
    return folder
