"""Attributions: maps of how much each place of an image mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from tapetum.types.checks import checked_choice, checked_size
from tapetum.types.crops import Crop, on_photo
from tapetum.types.refusals import MethodError
from tapetum.types.results import Result, axes
from tapetum.types.text import table

Status: TypeAlias = Literal["ok", "no_positive_evidence", "constant", "non_finite"]
"""Outcome of one map, in this order: `ok`; no evidence for the target; a constant map; NaN or infinity in the map."""

Reduce: TypeAlias = Literal["sum", "positive", "max_abs"]
"""How channels become one heatmap: the sum; the sum's positive part (CAMs); the largest magnitude (sensitivities)."""


@dataclass(frozen=True, eq=False)
class Attribution(Result):
    """Map of how much each place of an image mattered for a target.

    values   (n, c, h, w), signed, at the method's own resolution, on the images' device
    status   one per image; a map whose status is not `ok` is shown as its status in words, never as an invented map
    target   the explained target in words, one text per image
    explains the explained target in the form that `as_score` takes: class indices, contrasts, units, or a callable
    size     (h, w) of the images, what `heatmap(size="input")` returns
    reduce   how this method's channels become a heatmap
    stderr   standard error per pixel for sampled methods, else None
    notes    remarks for the reader (a chosen layer, an input that looks unnormalised)
    photos   for each image the `Crop` of its photograph; empty where the images did not come from `model.preprocess`
    tried    for `layer="best"`: each layer's faithfulness (see `judge`), one per image
    frames   number of frames of films and volumes, whose frames are folded into the channels; None for images
    parameters  keywords that were given to the method, where they are numbers, texts or lists of them; others are left out
    """

    values: Tensor = field(metadata=axes("n c h w"))
    method: str
    status: tuple[Status, ...] = field(metadata=axes("n"))
    target: tuple[str, ...] = field(metadata=axes("n"))
    size: tuple[int, int]
    explains: tuple[Any, ...] = field(default=(), metadata=axes("n"))
    reduce: Reduce = "sum"
    layer: str | None = None
    stderr: Tensor | None = field(default=None, metadata=axes("n _ _ _"))
    notes: tuple[str, ...] = ()
    tried: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]], metadata=axes("n"))
    photos: tuple[Crop, ...] = field(default=(), metadata=axes("n"))
    frames: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        """Returns a table of each image's target, with the range of its map."""
        rows = [
            (target, status, f"{float(map_.min()):.3g}", f"{float(map_.max()):.3g}")
            for target, status, map_ in zip(self.target, self.status, self.values, strict=True)
        ]
        where = f" at {self.layer}" if self.layer else ""
        head = f"{self.method}{where}, values of {' x '.join(map(str, self.values.shape[1:]))} per image"
        return "\n".join([head, table(("target", "status", "lowest", "highest"), rows), *self.notes])

    def films(self) -> Tensor:
        """Returns the heatmap (n, t, h, w) of each frame of films or volumes, at the method's own resolution."""
        if self.frames is None:
            raise MethodError(f"this map of {self.method} has no frames of its own: heatmap() is the map of the whole")
        n, _, *sides = self.values.shape
        each = self.values.reshape(n, -1, self.frames, *sides).transpose(1, 2).flatten(0, 1)
        return reduced(each, self.reduce).reshape(n, self.frames, *sides)

    def heatmap(
        self,
        size: Literal["input"] | tuple[int, int] | int | None = "input",
        reduce: Reduce | None = None,
        on: Literal["crop", "photo"] | Sequence[Crop] = "crop",
    ) -> Tensor:
        """Returns maps (n, h, w): channels reduced to one, then upsampled bilinearly (align_corners=False).

        `size=None` keeps the method's own resolution.

        on="photo": the map in the pixels of the whole photograph, NaN where the model saw nothing of it; on=[`Crop`, ...] does
        the same if the images were cut by your own code.
        """
        how = self.reduce if reduce is None else checked_choice(reduce, get_args(Reduce), "reduce")
        flat = reduced(self.values, how)
        if not isinstance(on, str) or checked_choice(on, ("crop", "photo"), "on") == "photo":
            return on_photo(flat, self.photos if isinstance(on, str) else on)
        if size is None:
            return flat[:, 0]
        shape = self.size if isinstance(size, str) and size == "input" else checked_size(size)
        resized = flat if flat.shape[-2:] == shape else F.interpolate(flat, shape, mode="bilinear", align_corners=False)
        return resized[:, 0]

    def ranking(self, size: Literal["input"] | tuple[int, int] | int | None = "input") -> Tensor:
        """Returns values (n, h, w) that rank pixels by importance; signed where the heatmap shows only the positive part."""
        return self.heatmap(size, "max_abs" if self.reduce == "max_abs" else "sum")


def reduced(values: Tensor, reduce: Reduce) -> Tensor:
    """Reduces the channels to one: (n, c, h, w) to (n, 1, h, w)."""
    if reduce == "max_abs":
        return values.abs().amax(1, keepdim=True)
    total = values.sum(1, keepdim=True)
    return total.clamp(min=0) if reduce == "positive" else total
