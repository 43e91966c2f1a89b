"""Fills: values that replace hidden pixels. After normalisation, zero is the mean colour of the training set, not black."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from tapetum.models.vision_model import VisionModel
from tapetum.types import ImageError, MethodError

Fill: TypeAlias = Literal["zero", "mean", "black", "white", "blur", "noise"] | int | float | Tensor
"""zero    0 for the network: the training set's mean colour (grey) where images are normalised
mean    each image's own mean colour
black   black pixels, whatever the normalisation; white: white ones
blur    the image itself, Gaussian blur of sigma 1/20 of the shorter side
noise   uniform noise over [0, 1] in pixels
number  the value after normalisation; tensor: values after normalisation, broadcast to the images"""


def as_fill(model: VisionModel, images: Tensor, fill: Fill | str, generator: torch.Generator | None = None) -> Tensor:
    """Returns the model-ready values (n, c, h, w) that replace hidden pixels."""
    if isinstance(fill, Tensor):
        try:
            return fill.to(images).expand_as(images)
        except RuntimeError as error:
            shapes = f"a fill of shape {tuple(fill.shape)} does not fit images of shape {tuple(images.shape)}"
            raise ImageError(shapes) from error
    if isinstance(fill, (int, float)):
        return torch.full_like(images, float(fill))
    if fill == "zero":
        return torch.zeros_like(images)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if fill in ("black", "white"):
        pixels = torch.full((len(images), model.preprocessing.channels, *images.shape[-2:]), float(fill == "white"))
        return model.preprocessing.normalize(pixels).to(images)
    if fill == "blur":
        return gaussian_blurred(images, min(images.shape[-2:]) / 20)
    if fill == "noise":
        shape = (1, model.preprocessing.channels, *images.shape[-2:])
        pixels = torch.rand(shape, generator=generator or torch.Generator().manual_seed(0))
        return model.preprocessing.normalize(pixels).to(images).expand_as(images)
    raise MethodError(f"no fill '{fill}'; there are zero, mean, black, white, blur, noise, a number, a tensor")


def gaussian_blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Blurs images (n, c, h, w) with a Gaussian that ends at three sigma; borders are reflected."""
    radius = max(1, min(round(3 * sigma_px), min(images.shape[-2:]) - 1))
    return TF.gaussian_blur(images, [2 * radius + 1] * 2, [max(sigma_px, 1e-3)] * 2)
