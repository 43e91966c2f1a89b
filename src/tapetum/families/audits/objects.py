"""Finds what stands out from the surroundings of a picture: the object, as far as pixels alone can tell."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

WORK = 64
"""Longer side in px at which objects are looked for."""

RING = (0.07, 0.16)
"""Where the surroundings are sampled: between these distances from the edge, as shares of the shorter side."""

SMALLEST, LARGEST = 0.02, 0.6
"""Shares of the picture that an object takes at least and at most; outside of them none is found."""


def standing_out(pixels: Tensor) -> Tensor:
    """Masks (n, h, w) bool of what is unlike a ring near the edge of each picture (n, c, h, w) in [0, 1]; empty if nothing is.

    Each pixel's distance is that of its colour and of its small surroundings' colour to the nearest ones in the ring. Otsu's
    threshold divides near from far; the largest far area, closed and with its holes filled, is the object.
    """
    height, width = pixels.shape[-2:]
    scale = WORK / max(height, width)
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    small = pixels if size == (height, width) else F.interpolate(pixels.float(), size, mode="area")
    masks = np.stack([_mask(one) for one in small.float().cpu().numpy()])
    found = torch.from_numpy(masks)[:, None].float()
    return F.interpolate(found, (height, width), mode="bilinear")[:, 0] > 0.5


def ring_mask(height: int, width: int) -> NDArray[np.bool_]:
    """Mask (h, w) of the ring of surroundings."""
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    far = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)) / min(height, width)
    return (far >= RING[0]) & (far < RING[1])


def _mask(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    height, width = picture.shape[1:]
    features = _features(picture)
    ring = ring_mask(height, width)
    far = _far(features, features[:, ring])
    far = ndimage.gaussian_filter(far, 1.0)
    inside = far > _otsu(far)
    inside[_edge(height, width)] = False
    inside = ndimage.binary_fill_holes(ndimage.binary_closing(inside, iterations=2))
    parts, count = cast("tuple[NDArray[np.int32], int]", ndimage.label(inside))
    if not count:
        return np.zeros((height, width), bool)
    sums = ndimage.sum_labels(far, parts, np.arange(1, count + 1))
    best = parts == 1 + int(np.argmax(sums))
    return best if SMALLEST <= best.mean() <= LARGEST else np.zeros_like(best)


def _edge(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    return np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)) < RING[0] * min(height, width)


def _features(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Features (6, h, w): colours, and colours averaged over 5 x 5 px."""
    near = ndimage.uniform_filter(picture.astype(np.float64), 5, axes=(1, 2))
    return np.concatenate([picture.astype(np.float64) * 0.6, near])


def _far(features: NDArray[np.float64], ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (h, w) of each pixel's features to the fourth nearest of the ring's."""
    from scipy.spatial import KDTree

    shape = features.shape[1:]
    samples = ring[:, :: max(1, ring.shape[1] // 400)].T
    distances = KDTree(samples).query(features.reshape(len(features), -1).T, k=4)[0]
    return np.asarray(distances)[:, 3].reshape(shape)


def _otsu(values: NDArray[np.float64]) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values)) if np.ptp(values) > 0 else np.inf
