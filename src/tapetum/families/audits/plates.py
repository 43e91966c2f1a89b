"""Makes plates: pictures of a background alone, laid from small patches of it, so that no object's shape is left."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

PATCH = 6
"""A patch's side is the shorter side of the picture by this number."""

EDGE = 0.07
"""Share of the shorter side near the edge from which no patch is taken: a frame is not the background."""


def plates(pixels: Tensor, masks: Tensor, seed: int) -> Tensor:
    """Plates (n, c, h, w) for pictures (n, c, h, w) whose objects are masks (n, h, w): patches beside the object, blended.

    Patches are drawn at random among those that lie clear of the object and of the edge; where none does, among those that
    have the least of it.
    """
    draws = np.random.Generator(np.random.PCG64(seed))
    side = min(pixels.shape[-2:])
    near = F.max_pool2d(masks[:, None].float(), 2 * max(1, side // 32) + 1, 1, max(1, side // 32))[:, 0]
    made = [_plate(one, mask, draws) for one, mask in zip(pixels.cpu().numpy(), near.cpu().numpy(), strict=True)]
    return torch.from_numpy(np.stack(made)).to(pixels)


def _plate(picture: NDArray[np.float32], mask: NDArray[np.float32], draws: np.random.Generator) -> NDArray[np.float32]:
    height, width = picture.shape[1:]
    patch = max(4, min(height, width) // PATCH)
    places = _places(mask, patch)
    step = max(2, patch * 2 // 3)
    window = np.hanning(patch + 2)[1:-1]
    weight = np.outer(window, window).astype(np.float32)
    padded = (height + 2 * patch, width + 2 * patch)
    total, sums = np.zeros(padded, np.float32), np.zeros((len(picture), *padded), np.float32)
    for top in range(patch - step, height + patch, step):
        for left in range(patch - step, width + patch, step):
            if top + patch > padded[0] or left + patch > padded[1]:
                continue
            y, x = places[int(draws.random() * len(places))]
            total[top : top + patch, left : left + patch] += weight
            sums[:, top : top + patch, left : left + patch] += picture[:, y : y + patch, x : x + patch] * weight
    cut = (slice(patch, patch + height), slice(patch, patch + width))
    return (sums[(slice(None), *cut)] / np.maximum(total[cut], 1e-6)).astype(np.float32)


def _places(mask: NDArray[np.float32], patch: int) -> NDArray[np.int64]:
    """Corners (k, 2) of the patches that have the least of the object."""
    height, width = mask.shape
    edge = int(np.ceil(EDGE * min(height, width)))
    step = max(1, patch // 4)
    rows = np.arange(edge, max(edge + 1, height - edge - patch + 1), step)
    columns = np.arange(edge, max(edge + 1, width - edge - patch + 1), step)
    sums = np.pad(mask.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    inside = sums[y + patch, x + patch] - sums[y, x + patch] - sums[y + patch, x] + sums[y, x]
    chosen = inside <= max(0.0, float(inside.min())) + 1e-9
    return np.stack([y[chosen], x[chosen]], 1)
