"""Types around models: how users name them, their images, their layers, and their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor

from tapetum.types.results import saved
from tapetum.types.text import dash, table

ModelLike: TypeAlias = Any
"""A `VisionModel`, a `torch.nn.Module`, or a name that `load` takes."""

ImagesLike: TypeAlias = Any
"""A model-ready tensor (n, c, h, w), or anything `read_image` takes, or a list of those."""

Images: TypeAlias = Float[Tensor, "n c h w"]
"""Model-ready images (normalised the way the model expects). Pictures in [0, 1] are called `pixels`."""


@saved
class Prediction(NamedTuple):
    """One class of a model's prediction: class index, name (None without labels), probability in [0, 1]."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] (hides tuple.index, which nobody needs here)
    label: str | None
    probability: float


@saved
class Number(NamedTuple):
    """One output of a model that gives numbers, as in regression: index, name (None without labels), value."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] (as in Prediction)
    label: str | None
    value: float


@saved
class Near(NamedTuple):
    """A class that a network hardly tells apart from another: class index, name (None without labels), likeness up to 1."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] (as in Prediction)
    label: str | None
    likeness: float


@saved
@dataclass(frozen=True)
class Layer:
    """One row of `model.layers()`.

    Shapes and strides hold for the model's own input size. `grid` is the (h, w) of the layer's map, None where its
    output is not a map. `receptive_field` and `stride` are theoretical, in input pixels: None where they are not defined
    (after attention or flattening the layer may see everything).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: int | None
    stride: int | None
    grid: tuple[int, int] | None
    channels: int | None
    calls: int = 1

    @property
    def units(self) -> int | None:
        """Number of channels of a map, or of entries of a vector (n, c); None for outputs of another form."""
        return self.shape[1] if self.channels is None and len(self.shape) == 2 else self.channels


class Layers(tuple[Layer, ...]):
    """Rows of layers that print as a table; "-" where a number is not defined."""

    def __str__(self) -> str:
        head = ("layer", "kind", "shape", "parameters", "receptive field", "stride")
        rows = [
            (one.name, one.kind, "x".join(map(str, one.shape)), f"{one.parameters:,}",
             dash(one.receptive_field), dash(one.stride))
            for one in self
        ]  # fmt: skip
        return table(head, rows)
