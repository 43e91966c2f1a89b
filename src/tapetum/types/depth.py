"""Results of inspections by depth: tables, maps and receptive fields of layers, from early to deep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes, saved
from tapetum.types.text import as_text, dash, table

Window: TypeAlias = tuple[int, int, int, int]
"""(top, bottom, left, right): first and last row and column, all included."""


@saved
@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, and its activations on the images.

    shape            of its output, without the batch
    receptive_field  the longer side in pixels, by theory; None where a place may see the whole image
    stride           input pixels from one place to the next; None without places
    zeros            the share of values that are exactly 0
    not_positive     the share of values <= 0
    mean             over images, channels and places
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: int | None
    stride: int | None
    zeros: float
    not_positive: float
    mean: float


@dataclass(frozen=True, eq=False)
class LayerTable(Result):
    """Layers of a network with their activations, in the order in which they finish.

    size   (h, w) of the images
    means  (layers, n) the mean of each image
    """

    model: str
    rows: tuple[LayerRow, ...] = field(metadata=axes("n"))
    size: tuple[int, int]
    means: Tensor = field(metadata=axes("n _"))
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "kind", "shape", "parameters", "field", "stride", "zeros", "<= 0", "mean")
        rows = [
            (one.name, one.kind, " x ".join(map(str, one.shape)), f"{one.parameters:,}", dash(one.receptive_field),
             dash(one.stride), _percent(one.zeros), _percent(one.not_positive), f"{one.mean:.3g}")
            for one in self.rows
        ]  # fmt: skip
        return table(head, rows)


@dataclass(frozen=True, eq=False)
class LayerProgression(Result):
    """Photographs as each layer of a network represents them: the mean over the layer's channels.

    maps         for each layer (n, h, w)
    channels     how many were averaged
    photographs  (n, 3, H, W) in [0, 1], as the model saw them
    """

    model: str
    layers: tuple[str, ...] = field(metadata=axes("n"))
    maps: tuple[Tensor, ...] = field(metadata=axes("n"))
    channels: tuple[int, ...] = field(metadata=axes("n"))
    photographs: Tensor
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "channels", "grid", "lowest mean", "highest mean")
        rows = [
            (layer, str(channels), as_text(maps.shape), f"{float(maps.min()):.3g}", f"{float(maps.max()):.3g}")
            for layer, channels, maps in zip(self.layers, self.channels, self.maps, strict=True)
        ]
        return table(head, rows)


@dataclass(frozen=True, eq=False)
class MeanActivations(Result):
    """Mean activations: for each layer (n, c), the mean over places of every channel in every image."""

    model: str
    layers: tuple[str, ...] = field(metadata=axes("n"))
    means: tuple[Tensor, ...] = field(metadata=axes("n"))
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "channels", "mean", "lowest channel", "highest channel", "spread over channels", "over images")
        return table(head, map(self._cells, self.layers, self.means))

    @staticmethod
    def _cells(layer: str, means: Tensor) -> tuple[str, ...]:
        channels, images = means.mean(0), means.mean(1)
        numbers = (means.mean(), channels.min(), channels.max(), channels.std(correction=0), images.std(correction=0))
        return layer, str(means.shape[1]), *(f"{float(one):.3g}" for one in numbers)


@saved
@dataclass(frozen=True)
class Field:
    """Receptive field of the middle place of a layer, in pixels of the image.

    place      (row, column) on the layer's grid
    theory     the window that the place can see, by kernel sizes and strides; it may reach beyond the image; None: all of it
    side       the longer side of `theory`
    support    the window of all pixels with a nonzero gradient; None if there was none
    effective  the smallest square that holds 95 % of the squared gradient
    """

    layer: str
    grid: tuple[int, int]
    place: tuple[int, int]
    stride: int | None
    side: int | None
    theory: Window | None
    support: Window | None
    effective: Window | None

    @property
    def measured(self) -> int:
        """The longer side of the window of pixels with any gradient, in pixels."""
        return longer_side(self.support)

    def extent(self, size: tuple[int, int], unit: str = "") -> str:
        """Writes `measured` as text; "224 (border)" where the image ends before the theoretical field does."""
        beyond = self.theory is not None and self.support is not None and _cut(self.theory, self.support, size)
        return f"{self.measured}{unit}{' (border)' if beyond else ''}"

    @property
    def effective_side(self) -> int:
        """Side in pixels of the square that holds 95 % of the squared gradient."""
        return longer_side(self.effective)


@dataclass(frozen=True, eq=False)
class ReceptiveFields(Result):
    """Receptive fields of the middle place of layers, by theory and by gradients.

    energy      (layers, h, w) the mean squared gradient at each pixel, summed over colours; divided by its largest value
    photograph  (3, h, w) in [0, 1]
    measured_on which images the gradients were computed on, in words
    """

    model: str
    fields: tuple[Field, ...] = field(metadata=axes("n"))
    energy: Tensor = field(metadata=axes("n h w"))
    photograph: Tensor
    measured_on: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (h, w) of the image."""
        return self.energy.shape[1], self.energy.shape[2]

    def __str__(self) -> str:
        head = ("layer", "grid", "stride", "theory px", "measured px", "95 % of it px")
        rows = [
            (one.layer, as_text(one.grid), dash(one.stride), _side(one.side), one.extent(self.size), str(one.effective_side))
            for one in self.fields
        ]
        return table(head, rows)


@saved
@dataclass(frozen=True)
class DepthRow:
    """Resolution, channels, receptive field and sparsity of one layer.

    grid       (h, w) places
    field      theoretical receptive field in px, None: the whole image
    measured   extent of the gradient of the middle place, in px
    effective  side of the smallest square with 95 % of the squared gradient, in px
    zeros, not_positive  shares of the values
    per_pixel  values of the layer divided by the pixels of the image
    """

    layer: str
    grid: tuple[int, int]
    channels: int
    field: int | None
    measured: int
    effective: int
    zeros: float
    not_positive: float
    per_pixel: float


@dataclass(frozen=True, eq=False)
class DepthProperties(Result):
    """Resolution, channels, receptive fields and sparsity of a network's layers, by depth.

    means  (layers, n) mean activation of each image
    """

    model: str
    rows: tuple[DepthRow, ...] = field(metadata=axes("n"))
    size: tuple[int, int]
    means: Tensor = field(metadata=axes("n _"))
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "grid", "channels", "values per pixel", "theory px", "measured px", "95 % of it px", "zeros", "<= 0")
        rows = [
            (one.layer, as_text(one.grid), str(one.channels), f"{one.per_pixel:.3g}", _side(one.field), str(one.measured),
             str(one.effective), _percent(one.zeros), _percent(one.not_positive))
            for one in self.rows
        ]  # fmt: skip
        return table(head, rows)


@dataclass(frozen=True, eq=False)
class OcclusionProbe(Result):
    """Change of each layer's activations when a box of the image is hidden.

    box           rows and columns of the image that were hidden
    fill          replacement of the hidden pixels, in words
    before, after (n, 3, H, W) in [0, 1], as the model saw them
    changes       for each layer (n, h, w), the mean over channels of |after - before|
    under         places of each layer's grid whose own pixels touch the box
    reach         places that can see a pixel of the box, by kernel sizes and strides; None: all places
    share_under   (layers, n) share of the change at the places under the box
    share_reached (layers, n) share of the change at the places that can see the box
    classes       of each image the most probable class before and after; None where the model gives no classes
    probabilities (n, 3): of the class before, without and with the box, and of the class after
    """

    model: str
    layers: tuple[str, ...] = field(metadata=axes("n"))
    box: Window
    fill: str
    before: Tensor
    after: Tensor
    changes: tuple[Tensor, ...] = field(metadata=axes("n"))
    under: tuple[Window, ...] = field(metadata=axes("n"))
    reach: tuple[Window | None, ...] = field(metadata=axes("n"))
    share_under: Tensor = field(metadata=axes("n _"))
    share_reached: Tensor = field(metadata=axes("n _"))
    classes: tuple[tuple[str, str], ...] | None
    probabilities: Tensor | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "grid", "places under", "change there", "places reached", "change there")
        lines = [table(head, map(self._cells, range(len(self))))]
        return "\n".join([f"{self.words()} hidden by {self.fill}", *self.answers(), *lines])

    def words(self) -> str:
        """Describes the box by its rows and columns, ends excluded as in a slice."""
        top, bottom, left, right = self.box
        return f"rows {top}:{bottom + 1}, columns {left}:{right + 1}"

    def answers(self) -> list[str]:
        """Lists, one line per image, the model's prediction before and after."""
        if self.classes is None or self.probabilities is None:
            return []
        numbers = listed(self.probabilities)
        return [
            f"{before} {then:.3f}, "
            + (f"still {now:.3f}" if before == after else f"now {now:.3f}; {after} {other:.3f} instead")
            for (before, after), (then, now, other) in zip(self.classes, numbers, strict=True)
        ]

    def _cells(self, i: int) -> tuple[str, ...]:
        h, w = self.changes[i].shape[-2:]
        reach = (0, h - 1, 0, w - 1) if self.reach[i] is None else self.reach[i]
        under, reached = (_percent(n_places(window) / (h * w)) for window in (self.under[i], reach))
        shares = (_percent(float(share[i].mean())) for share in (self.share_under, self.share_reached))
        return self.layers[i], as_text((h, w)), under, next(shares), reached, next(shares)


def n_places(window: Window | None) -> int:
    """Returns the number of places in a window; 0 without one."""
    return 0 if window is None else max(0, window[1] - window[0] + 1) * max(0, window[3] - window[2] + 1)


def _cut(theory: Window, support: Window, size: tuple[int, int]) -> bool:
    """Returns whether the gradient ends at a border of the image beyond which the theoretical field continues."""
    low = any(theory[i] < 0 and support[i] == 0 for i in (0, 2))
    return low or any(theory[i] >= side and support[i] == side - 1 for i, side in zip((1, 3), size, strict=True))


def longer_side(window: Window | None) -> int:
    """Returns the longer side of a window; 0 without one."""
    return 0 if window is None else max(window[1] - window[0], window[3] - window[2]) + 1


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _side(number: int | None) -> str:
    return "whole image" if number is None else str(number)
