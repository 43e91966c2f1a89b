"""Baselines: maps that do not depend on the model; an explanation should score better than they do."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.engines.scores import ModelScore
from tapetum.types import Range


@attribution(cite=None, reduce="positive", laws=("sampled", "baseline"))
def random_attribution(
    score: ModelScore, images: Tensor, *, cells: Annotated[int, Range(2, 10_000)] = 7, generator: torch.Generator
) -> Tensor:
    """A baseline that does not look at the image: uniform noise on a coarse grid.

    values (n, 1, cells, cells) ~ U(0, 1), the same for every image. As coarse as a class activation map, so that a comparison
    is about where a map points and not about how fine it is.

    Args:
        cells: cells per side.

    Example:
        >>> tp.random_attribution(model, images, seed=3)
    """
    noise = torch.rand(1, 1, cells, cells, generator=generator).to(images)
    return noise.repeat(len(images), 1, 1, 1)


@attribution(cite="adebayo2018sanity", reduce="positive", laws=("baseline",))
def edge_attribution(score: ModelScore, images: Tensor) -> Tensor:
    """A baseline that looks at the image but not at the model: the strength of its edges.

    values (n, 1, h, w) = length of the Sobel gradient of the mean over channels, at least 0. An attribution that is no better
    than this may be an edge detector.

    Example:
        >>> tp.edge_attribution(model, images)
    """
    return edges_of(images)


def edges_of(images: Tensor) -> Tensor:
    """Returns the strength (n, 1, h, w) of the edges of images: the length of the Sobel gradient of the mean over channels."""
    sobel = images.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 8
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(grey, torch.stack([sobel, sobel.T])[:, None]).norm(dim=1, keepdim=True)
