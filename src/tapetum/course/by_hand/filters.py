"""Hand-made filters, without a network: the response of one pattern of nine numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import torch
from torch import Tensor

from tapetum.course.by_hand.kernels import GRADIENT, Border, as_kernel, correlate, named_kernel
from tapetum.data.images import read_image
from tapetum.data.preprocessing import LUMA
from tapetum.types import FilteredPicture, ImagesLike, MethodError, ToySelectivity

SIDE = 10  # side of the toy images, in px
TOY_KERNELS = {
    "vertical": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
    "horizontal": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
    # the weights of each row and of each column sum to zero, so straight edges do not excite it
    "diagonal": ((1, -0.5, -0.5), (-0.5, 1, -0.5), (-0.5, -0.5, 1)),
}


def toy_selectivity() -> ToySelectivity:
    """Responses of three filters of nine numbers to an edge and a line: how well the image fits their pattern at each place.

    response[y, x] = Σ_ij kernel[i, j] · image[y + i - 1, x + j - 1], a correlation as in torch, with one row and column of
    zeros around the image (padding 1), so images and responses are both 10 x 10. The images hold zeros and ones: a vertical
    edge (columns 5 to 9 are one) and a diagonal line. A response of 3 is a perfect fit, -3 its opposite; where the image
    ends, the zeros around it make edges of their own.

    Example:
        >>> print(tp.toy_selectivity())
    """
    edge = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    edge[:, SIDE // 2 :] = 1
    images = torch.stack([edge, torch.eye(SIDE, dtype=torch.float64)])
    kernels = torch.tensor(list(TOY_KERNELS.values()), dtype=torch.float64)
    responses = torch.stack([correlate(images[:, None], kernel, "zero")[:, 0] for kernel in kernels], 1)
    return ToySelectivity(images, ("vertical edge", "diagonal line"), kernels, tuple(TOY_KERNELS), responses)


def filter_image(
    picture: ImagesLike, kernel: str | Sequence[Any] | Tensor = "sobel_x", *, border: Border = "reflect"
) -> FilteredPicture:
    """A photograph under hand-made filters: edges, their strength, bumps, a blurred and a sharpened picture.

    response[y, x] = Σ_ij kernel[i, j] · picture[y + i - m, x + j - m] with the middle (m, m): a correlation, as torch's
    convolutions have it. Kernels whose weights sum to zero find differences: they see the luma (ITU-R BT.601) and give one
    signed map (1, H, W), in units of brightness from 0 to 1 times the kernel's weights. Others make pictures: they see each
    colour by itself and give (3, H, W). Kernels: sobel_x, sobel_y, gradient_magnitude (sqrt(sobel_x² + sobel_y²)),
    laplacian, gaussian (5 x 5, σ = 1 px), sharpen, or rows of numbers, an odd number of rows and of columns.

    Args:
        picture: anything `read_image` takes; one picture, at its own size.
        kernel: a name, rows of numbers, a tensor (h, w), or a list of such.
        border: what lies outside of the picture: its mirror image (reflect), its edge again (replicate), or zero.

    Example:
        >>> print(tp.filter_image(model.denormalize(images), ["sobel_x", [[-1, 1, 0]]]))
    """
    if border not in get_args(Border):
        raise MethodError(f"filter_image: border is one of {', '.join(get_args(Border))}, not {border!r}")
    pixels = read_image(picture)
    several = _several(kernel)
    names = tuple(one if isinstance(one, str) else "your kernel" for one in several)
    kernels = tuple(named_kernel(one) if isinstance(one, str) else as_kernel(one) for one in several)
    responses = tuple(_response(pixels, name, one, border) for name, one in zip(names, kernels, strict=True))
    return FilteredPicture(pixels, names, kernels, responses, border)


def _several(kernel: Any) -> list[Any]:
    """Returns the kernels as a list, from one kernel (a name, rows of numbers or a tensor) or several."""
    if isinstance(kernel, (str, Tensor)) or not isinstance(kernel, Sequence):
        return [kernel]
    many = list(cast("Sequence[Any]", kernel))
    if not many:
        raise MethodError("no kernel was given: name one, such as sobel_x, or give rows of numbers")
    return many if any(isinstance(one, (str, Tensor)) or _is_rows(one) for one in many) else [many]


def _is_rows(one: Any) -> bool:
    """Returns whether the value is a whole kernel (rows of numbers) and not a single row."""
    return isinstance(one, Sequence) and any(isinstance(row, (Sequence, Tensor)) for row in cast("Sequence[Any]", one))


def _response(pixels: Tensor, name: str, kernel: Tensor, border: Border) -> Tensor:
    """Returns the response of a kernel: (1, H, W) to the luma if its weights sum to zero, else (3, H, W) to each colour."""
    luma = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if name == GRADIENT:
        across, down = (correlate(luma, one, border)[0] for one in kernel)
        return torch.hypot(across, down)
    finds_differences = abs(float(kernel.sum())) <= 1e-6 * float(kernel.abs().sum())  # zero up to rounding
    return correlate(luma if finds_differences else pixels, kernel, border)[0]
