"""Similarity of pictures (n, 3, h, w) in [0, 1]: PSNR of pixels, and distance of a network's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.engines.probe import capture
from tapetum.models.vision_model import VisionModel


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
