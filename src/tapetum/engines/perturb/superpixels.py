"""Cuts pictures into segments, and makes masks that hide some segments.

Each picture, as pixels in [0, 1] before normalisation, gets labels 0 .. m - 1 of its m segments. scikit-image computes them,
so pixels pass through NumPy, and the labels return to the device of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tapetum.engines.perturb.masks import Masks
from tapetum.switches import ignoring
from tapetum.types import MethodError

Segmentation: TypeAlias = Literal["slic", "quickshift", "felzenszwalb", "grid"]
"""slic          compact superpixels of similar size, about as many as requested
quickshift    modes of colour and position, with the settings of LIME for images; their number depends on the picture
felzenszwalb  regions that a graph of colour differences keeps together, roughly as many as requested
grid          rectangular cells, whatever the picture shows"""

Pixels: TypeAlias = NDArray[Any]
"""One picture (h, w, c) in [0, 1], in double precision."""


def segment(pixels: Float[Tensor, "n c h w"], kind: Segmentation = "slic", n: int = 50) -> Int[Tensor, "n h w"]:
    """Returns the labels of about `n` segments per picture, one label per pixel; quickshift chooses the number itself."""
    height, width = pixels.shape[-2:]
    cut: dict[str, Callable[[Tensor], Tensor]] = {
        "slic": lambda one: slic(one, n),
        "quickshift": quickshift,
        "felzenszwalb": lambda one: felzenszwalb(one, min_size=max(1, height * width // (4 * n))),
        "grid": lambda one: cells(height, width, n).to(one.device),
    }
    if kind not in cut:
        raise MethodError(f"no segmentation '{kind}'; there are {', '.join(cut)}, or a tensor of labels")
    return torch.stack([cut[kind](one) for one in pixels])


def slic(pixels: Float[Tensor, "c h w"], n: int, compactness: float = 20) -> Int[Tensor, "h w"]:
    """SLIC: k-means of colour (Lab if there are three channels) and position, with connected segments (`achanta2012slic`).

    For 50 requested segments, photographs of 224 px get 41 to 49 with a `compactness` of 20; with the paper's 10 they get 29 to
    44, because small segments are merged.
    """
    from skimage.segmentation import slic as cut

    lab = pixels.shape[0] == 3
    with ignoring():  # scikit-image warns if a tiny picture has fewer segments than requested
        # Lab has a range of 100; other channels, scaled by scikit-image, have one of 1
        labels = cut(_picture(pixels), n, compactness if lab else compactness / 100, convert2lab=lab, start_label=0)
    return _labels(labels, pixels)


def quickshift(
    pixels: Float[Tensor, "c h w"], kernel_size: int = 4, max_dist: int = 200, ratio: float = 0.2
) -> Int[Tensor, "h w"]:
    """Quick shift: every pixel climbs to a mode of the density of colour and position (`vedaldi2008quickshift`).

    The defaults are the settings of LIME for images. Ties are broken by random numbers with a fixed seed.
    """
    from skimage.segmentation import quickshift as cut

    lab = pixels.shape[0] == 3
    picture = _picture(pixels) * (1 if lab else 100)  # Lab has a range of 100
    return _labels(cut(picture, ratio, kernel_size, max_dist, convert2lab=lab, rng=42), pixels)


def felzenszwalb(
    pixels: Float[Tensor, "c h w"], scale: float = 50, sigma: float = 0.8, min_size: int = 20
) -> Int[Tensor, "h w"]:
    """Efficient graph-based segmentation: a larger `scale` gives larger regions, of at least `min_size` px
    (`felzenszwalb2004graph`).
    """
    from skimage.segmentation import felzenszwalb as cut

    with ignoring():  # scikit-image warns about more than three channels, but accepts them
        labels = cut(_picture(pixels), scale, sigma, min_size)
    return _labels(labels, pixels)


def cells(height: int, width: int, n: int) -> Int[Tensor, "h w"]:
    """Returns the labels of a grid of round(sqrt(n)) cells per side, as equal in size as whole pixels allow."""
    side = max(1, round(n**0.5))
    rows, columns = min(side, height), min(side, width)
    down, across = torch.arange(height) * rows // height, torch.arange(width) * columns // width
    return down[:, None] * columns + across


def own_segments(labels: Tensor, pixels: Float[Tensor, "n c h w"]) -> Int[Tensor, "n h w"]:
    """Checks the user's labels, (h, w) for all pictures or (n, h, w), and renumbers them 0 .. m - 1 in each picture."""
    n, _, height, width = pixels.shape
    if labels.is_floating_point() or labels.shape[-2:] != (height, width) or labels.shape[:-2] not in ((), (1,), (n,)):
        raise MethodError(
            f"segments are whole numbers ({height}, {width}) or ({n}, {height}, {width}), "
            f"not {labels.dtype} of shape {tuple(labels.shape)}"
        )
    return torch.stack([_renamed(one) for one in labels.to(pixels.device, torch.long).expand(n, -1, -1)])


def coalitions(segments: Int[Tensor, "h w"], present: Tensor) -> Masks:
    """Returns m masks, one per row of `present` (m, k): segment j is kept where column j is 1, and replaced where it is 0."""
    return Masks(len(present), lambda start, stop: present[start:stop][:, segments][:, None])


def segments_painted(segments: Int[Tensor, "h w"], values: Tensor) -> Tensor:
    """Paints a value per segment (k,) into a map (1, h, w): every pixel gets the value of its segment."""
    return values[segments][None]


def _picture(pixels: Tensor) -> Pixels:
    """Converts one picture (c, h, w) to an array (h, w, c), as scikit-image takes it."""
    return pixels.detach().double().cpu().permute(1, 2, 0).numpy()


def _labels(labels: Pixels, like: Tensor) -> Tensor:
    return _renamed(torch.from_numpy(labels.astype(np.int64))).to(like.device)


def _renamed(labels: Tensor) -> Tensor:
    return labels.unique(return_inverse=True)[1]
