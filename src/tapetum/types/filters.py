"""Filters and their responses: hand-made kernels on toy images and photographs, weights of convolutions, and maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from tapetum.types.results import Result, axes
from tapetum.types.text import table

DEAD = 1e-3
"""A filter is dead if its norm is below this share of the layer's largest: training has driven its weights to zero."""


@dataclass(frozen=True, eq=False)
class ToySelectivity(Result):
    """Small images, small kernels, and the response of each kernel to each image.

    images      (m, h, w) of zeros and ones
    kernels     (k, 3, 3)
    responses   (m, k, h, w): how well the kernel fits at each place
    top         the value that gets the full colour, the same in every panel
    """

    images: Tensor = field(metadata=axes("n _ _"))
    image_names: tuple[str, ...] = field(metadata=axes("n"))
    kernels: Tensor
    kernel_names: tuple[str, ...]
    responses: Tensor = field(metadata=axes("n _ _ _"))
    top: float = 3.0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("image", "filter", "largest", "smallest", "places not 0")
        rows = [
            (image, kernel, f"{float(r.max()):g}", f"{float(r.min()):g}", f"{int((r != 0).sum())} of {r.numel()}")
            for image, answers in zip(self.image_names, self.responses, strict=True)
            for kernel, r in zip(self.kernel_names, answers, strict=True)
        ]
        return table(head, rows)


@dataclass(frozen=True, eq=False)
class FilteredPicture(Result):
    """A photograph, filtered by kernels.

    picture     (1, 3, H, W) in [0, 1]
    names       of the kernels
    kernels     each (h, w); for "gradient_magnitude" its two kernels, (2, h, w)
    responses   each (1, H, W) of the luma for kernels that find differences, or (3, H, W), a picture again
    """

    picture: Tensor
    names: tuple[str, ...] = field(metadata=axes("n"))
    kernels: tuple[Tensor, ...] = field(metadata=axes("n"))
    responses: tuple[Tensor, ...] = field(metadata=axes("n"))
    border: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [
            (name, "x".join(map(str, kernel.shape[-2:])), of, f"{float(kernel.sum()):g}", *summary(response))
            for name, kernel, response in zip(self.names, self.kernels, self.responses, strict=True)
            for of in ["each colour" if len(response) == 3 else "luma"]
        ]
        return table(("filter", "size", "works on", "sum of weights", "smallest", "largest", "mean |value|"), rows)


@dataclass(frozen=True, eq=False)
class Filters(Result):
    """The weights of a convolution.

    weights    (k, inputs, h, w), the first k filters; `inputs` are the channels that one filter reads
    norms      (channels,) the length of every filter's weights, sqrt(Σ w²)
    colors     the inputs are red, green and blue, so a filter can be shown in colour
    """

    weights: Tensor
    norms: Tensor
    layer: str
    kind: str
    model: str
    channels: int
    groups: int
    stride: tuple[int, int]
    padding: str
    dilation: tuple[int, int]
    bias: bool
    colors: bool
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (h, w) of a filter, in cells of the map that it reads."""
        return int(self.weights.shape[-2]), int(self.weights.shape[-1])

    @property
    def alive(self) -> Tensor:
        """Mask (channels,): True for filters whose norm is not negligible beside the layer's largest."""
        return self.norms > DEAD * self.norms.max()

    def __str__(self) -> str:
        (h, w), inputs = self.size, self.weights.shape[1]
        norms = [float(one) for one in self.norms]
        dead = f", {none} of {len(norms)} next to zero" if (none := len(norms) - int(self.alive.sum())) else ""
        some = f"{inputs} of {inputs * self.groups} channels" if self.groups > 1 else f"all {inputs} channels"
        reads = "red, green and blue" if self.colors else some
        lines = [
            f"{self.layer} of {self.model}: {self.kind}, {self.channels} filters of {h} x {w}",
            f"  each reads    {reads}, so has {inputs * h * w} weights",
            f"  stride        {shown_pair(self.stride)}, padding {self.padding}, dilation {shown_pair(self.dilation)}, "
            f"{self.groups} group{'s' * (self.groups > 1)}, {'with' if self.bias else 'without'} bias",
            f"  norms         {min(norms):.3g} to {max(norms):.3g}, median {median(norms):.3g}{dead}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class FilterResponses(Result):
    """Responses of some filters of a convolution, and their places on the model's input.

    photographs   (n, 3, H, W) in [0, 1], as the model saw them
    maps          (n, k, h, w) the layer's own output, before any normalisation and activation that follow
    channels      (k,) indices of the filters
    filters       their weights, in the same order
    centres       (row, column) of the input pixel at the middle of what the first cell of a map sees
    strides       (down, right) input pixels from one cell to the next
    by            how the filters were chosen
    """

    photographs: Tensor = field(metadata=axes("n _ _ _"))
    maps: Tensor = field(metadata=axes("n k h w"))
    channels: Tensor = field(metadata=axes("k"))
    filters: Filters
    centres: tuple[float, float]
    strides: tuple[float, float]
    by: str
    notes: tuple[str, ...] = ()

    def heatmaps(self) -> Tensor:
        """Returns maps (n, k, H, W) over the photographs: each cell is at the pixel in the middle of what it sees."""
        return laid_over(self.maps, self.centres, self.strides, (self.photographs.shape[-2], self.photographs.shape[-1]))

    def __str__(self) -> str:
        h, w = self.maps.shape[-2:]
        size = "x".join(map(str, self.filters.size))
        lines = [f"{self.filters.layer} of {self.filters.model}: filters of {size}, maps of {h}x{w}, chosen by {self.by}"]
        rows = [
            (str(i), str(int(channel)), *summary(one), f"{float(one.std(correction=0)):.3g}", place(heat))
            for i, (answers, heats) in enumerate(zip(self.maps, self.heatmaps(), strict=True))
            for channel, one, heat in zip(self.channels, answers, heats, strict=True)
        ]
        head = ("image", "filter", "smallest", "largest", "mean |value|", "std over places", "strongest at (row, column)")
        return "\n".join([*lines, table(head, rows)])


@dataclass(frozen=True, eq=False)
class FilterComparison(Result):
    """The filters of one layer with random and with learned weights, and a number per filter that differs between the two.

    low_random, low_learned   (channels,) each filter's share of energy below `cutoff` cycles per cell, NaN of dead ones
    expected                  this share for white noise, which does not depend on the noise's strength
    trained                   False: the model's own weights are random too, and "learned" is only a name
    """

    random: Filters
    learned: Filters
    low_random: Tensor
    low_learned: Tensor
    expected: float
    cutoff: float
    seed: int
    trained: bool = True
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two sides, random and learned."""
        return f"random, seed {self.seed}", "learned" if self.trained else "the model's, random"

    def __str__(self) -> str:
        rows = [
            (name, f"{float(low.mean()):.3f}", *summary(low)[:2], f"{int((low > self.expected).sum())} of {len(low)}")
            for name, every in zip(self.names, (self.low_random, self.low_learned), strict=True)
            for low in [every[~every.isnan()]]
        ]
        head = ("weights", "mean", "smallest", "largest", "filters above noise")
        what = f"{self.learned.layer} of {self.learned.model}: share of energy below {self.cutoff:g} cycles per cell"
        return "\n".join([what, f"white noise: {self.expected:.3f}", table(head, rows)])


def laid_over(maps: Tensor, centres: tuple[float, float], strides: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Upsamples maps (..., h, w) to an image (..., H, W), bilinearly: cell i is at pixel centre + i * stride.

    The border is repeated.
    """
    for axis, centre, stride, pixels in zip((-2, -1), centres, strides, size, strict=True):
        cells = maps.shape[axis]
        at = ((torch.arange(pixels, dtype=torch.float64) - centre) / stride).clamp(0, cells - 1)
        low = at.floor().long()
        share = (at - low).to(maps).view(-1, 1) if axis == -2 else (at - low).to(maps)
        before, after = low.to(maps.device), (low + 1).clamp(max=cells - 1).to(maps.device)
        maps = torch.lerp(maps.index_select(axis, before), maps.index_select(axis, after), share)
    return maps


def place(heatmap: Tensor) -> str:
    """Place (row, column) of the largest magnitude in a map (h, w), written "(12, 40)"."""
    row, column = divmod(int(heatmap.abs().argmax()), heatmap.shape[-1])
    return f"({row}, {column})"


def summary(values: Tensor) -> tuple[str, str, str]:
    """Writes the smallest value, the largest value and the mean magnitude."""
    return f"{float(values.min()):.3g}", f"{float(values.max()):.3g}", f"{float(values.abs().mean()):.3g}"


def shown_pair(pair: tuple[int, int]) -> str:
    """Writes a pair as "2", or as "2 x 1" where its numbers differ."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} x {pair[1]}"
