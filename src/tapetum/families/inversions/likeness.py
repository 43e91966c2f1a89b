"""Similarity of pictures (n, 3, h, w) in [0, 1]: PSNR of pixels, SSIM of structure, and distance of a network's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.probe import capture
from tapetum.models.vision_model import VisionModel

WINDOW_PX = 7
"""Side of the windows that SSIM compares, as in scikit-image; smaller pictures use the largest odd side that fits."""


def ssim(pictures: Tensor, others: Tensor) -> Tensor:
    """Returns structural similarity (n,) in [-1, 1], the mean over windows of 7 px and over colours (wang2004ssim). 1: equal.

    Computed by scikit-image on the CPU, without gradients; uniform windows, data range 1.
    """
    from skimage.metrics import structural_similarity  # imported here: takes half a second, and only inversions need it

    height, width = size_of(pictures)
    side = min(WINDOW_PX, min(height, width) - 1 + min(height, width) % 2)
    arrays = ([one.detach().double().cpu().numpy() for one in some] for some in (pictures, others))
    pairs = zip(*arrays, strict=True)
    values = [structural_similarity(a, b, win_size=side, data_range=1.0, channel_axis=0) for a, b in pairs]
    return torch.tensor(values, dtype=torch.float64).to(pictures)


def psnr(pictures: Tensor, others: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio (n,) in dB: -10 log10 of the mean square difference; infinity if equal."""
    return -10 * (pictures - others).square().flatten(1).mean(1).log10()


def feature_distance(model: VisionModel, images: Tensor, others: Tensor, layers: Sequence[str]) -> Tensor:
    """Returns distances (n,) of two batches of preprocessed images in a network's features, in [0, 4] ([0, 2] after ReLUs).

    The mean over layers and places of |u - v|^2, u and v the activation vectors at a place divided by their length: LPIPS
    (zhang2018lpips) without its learned weights, in the network that is explained.
    """
    seen: list[dict[str, Tensor]] = []
    for batch in (images, others):
        with torch.no_grad(), capture(model, layers) as acts:
            model(batch)
        seen.append(acts)
    return torch.stack([_unlike(seen[0][layer], seen[1][layer]) for layer in layers]).mean(0)


def _unlike(a: Tensor, b: Tensor) -> Tensor:
    u, v = (torch.nn.functional.normalize(one, dim=1, eps=1e-10) for one in (a, b))
    return (u - v).square().sum(1).flatten(1).mean(1) if a.ndim > 2 else (u - v).square().sum(1)
