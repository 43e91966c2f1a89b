"""Correlates pictures with kernels, given or predefined, and computes the size of a convolution's output."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types import ImageError, MethodError
from tapetum.types.text import as_text

Border = Literal["reflect", "replicate", "zero"]
"""Values outside the picture: its mirror image, its last row and column repeated, or black."""

KERNELS: dict[str, tuple[tuple[float, ...], ...]] = {
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    # rows of Pascal's triangle: the variance of n coin tosses is n / 4, so four of them have σ = 1 px
    "gaussian": tuple(tuple(a * b / 256 for b in (1, 4, 6, 4, 1)) for a in (1, 4, 6, 4, 1)),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
}
"""Named kernels; columns to the right, rows downwards: sobel_x is positive where the picture gets brighter to the right."""

GRADIENT = "gradient_magnitude"
"""Name of sqrt(sobel_x² + sobel_y²): how fast the picture changes in any direction."""


def correlate(picture: Tensor, kernel: Tensor, border: Border = "reflect") -> Tensor:
    """Returns Σ_ij kernel[i, j] · picture[y + i - middle, x + j - middle] for each channel of (n, c, h, w), of the same size.

    Correlation as in torch's convolutions: the kernel is not turned by 180°.
    """
    channels, (h, w) = picture.shape[1], kernel.shape
    margins = [w // 2, w // 2, h // 2, h // 2]
    if border == "reflect" and (h // 2 >= picture.shape[-2] or w // 2 >= picture.shape[-1]):
        small, large = as_text(picture.shape), as_text(kernel.shape)
        raise ImageError(f"a picture of {small} is too small for a kernel of {large}: give a larger picture")
    ground = F.pad(picture, margins, mode="constant" if border == "zero" else border)
    return F.conv2d(ground, kernel.to(picture).expand(channels, 1, h, w), groups=channels)


def as_kernel(numbers: object) -> Tensor:
    """Converts the user's own kernel to (h, w) float64; refuses one without odd sides."""
    try:
        kernel = torch.as_tensor(numbers, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise MethodError("a kernel is rows of numbers of the same length, such as [[-1, 0, 1]]") from error
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        shape = "x".join(map(str, kernel.shape)) or "one number"
        raise MethodError(f"a kernel has rows and columns, an odd number of each, so that it has a middle; this one is {shape}")
    if not bool(kernel.isfinite().all()):
        raise MethodError("a kernel holds finite numbers; this one has NaN or infinity")
    return kernel


def named_kernel(name: str) -> Tensor:
    """Returns a named kernel (h, w); for the gradient's magnitude, two of them (2, h, w)."""
    if name == GRADIENT:
        return torch.stack([named_kernel("sobel_x"), named_kernel("sobel_y")])
    if name not in KERNELS:
        raise MethodError(f"no kernel '{name}'; there are {', '.join([*KERNELS, GRADIENT])}, or give rows of numbers")
    return torch.tensor(KERNELS[name], dtype=torch.float64)


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Number of places that a convolution or a pooling has along one side.

    floor((size + 2·padding - dilation·(kernel - 1) - 1) / stride) + 1

    Args:
        size: of the input along this side, in px.
        kernel: of the filter, in px.
        stride: px from one place to the next.
        padding: px that are added at either end.
        dilation: px from one weight of the filter to the next.

    Example:
        >>> tp.output_size(224, 7, stride=2, padding=3)
        112
    """
    for name, value, least in (("size", size, 1), ("kernel", kernel, 1), ("stride", stride, 1), ("dilation", dilation, 1)):
        if value < least:
            raise MethodError(f"output_size: {name} must be at least {least}, not {value}")
    if padding < 0:
        raise MethodError(f"output_size: padding must be at least 0, not {padding}")
    reach, room = dilation * (kernel - 1) + 1, size + 2 * padding
    if reach > room:
        raise MethodError(f"a kernel that reaches over {reach} px does not fit into {room} px (size and padding): pad more")
    return (room - reach) // stride + 1
