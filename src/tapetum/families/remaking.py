"""Makes a map again: on another network, for another target, or one image of a batch alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tapetum.models.vision_model import VisionModel
from tapetum.registry import parameters
from tapetum.types import Attribution, Method


@dataclass(frozen=True, eq=False)
class Remade:
    """A method with the maps that it gave, and what it takes to make them again.

    A layer that the method chose is among the keywords, so that it stays the same.
    """

    method: Method
    keywords: Mapping[str, Any]
    first: Attribution

    @classmethod
    def of(cls, method: Method, given: Mapping[str, Any], first: Attribution) -> Remade:
        names = {one.name for one in parameters(method)} - given.keys()
        layer = {"layer": first.layer} if first.layer is not None and "layer" in names else {}
        return cls(method, {**given, **layer}, first)

    def maps(self, model: VisionModel, images: Tensor, targets: Any = None) -> Attribution:
        """Returns maps of the first images on another network, or of other targets."""
        same = targets_of(self.first[: len(images)])
        return self.method.function(model, images, same if targets is None else targets, **self.keywords)


def targets_of(attribution: Attribution) -> Any:
    """Returns the explained targets in the form that methods take: a callable alone, or one target per image."""
    first = attribution.explains[0]
    return first if callable(first) else list(attribution.explains)
