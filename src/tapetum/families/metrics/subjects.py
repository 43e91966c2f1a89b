"""Maps of a batch with the method that makes each of them again, for its image alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.families.metrics.measuring import outcomes
from tapetum.families.remaking import Remade
from tapetum.models.randomizing import Randomized
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.registry import lookup
from tapetum.types import Attribution, MethodError
from tapetum.types.outcomes import Outcome

MadeWith = Annotated[
    Mapping[str, Any] | None, "parameters with which the map was made, {name: value}; None: the method's defaults."
]


def statuses(attribution: Attribution) -> list[Outcome]:
    """Returns per image why its map says nothing (zeros, constant, no positive evidence, NaN), or ok."""
    own = outcomes(attribution, constant="constant", zero="zero")
    return [said if found == "ok" else found for found, said in zip(own, attribution.status, strict=True)]


@dataclass(frozen=True, eq=False)
class Subject:
    """Maps of images, each with the method that makes it again for this image alone; images without a usual map have none.

    models  {row: the model with the further inputs of that image alone}
    made    {row: its map, made again and found equal to the given one}
    """

    model: VisionModel
    images: Tensor
    models: Mapping[int, VisionModel]
    made: Mapping[int, Remade]

    @classmethod
    def of(
        cls, name: str, model: VisionModel, images: Tensor, attribution: Attribution, parameters: Mapping[str, Any] | None
    ) -> Subject:
        rows = [row for row, one in enumerate(statuses(attribution)) if one == "ok"]
        models = {row: _alone(model, row, len(images)) for row in rows}
        made = {row: _again(name, models[row], images[row : row + 1], attribution[row], parameters or {}) for row in rows}
        return cls(model, images, models, made)

    @property
    def measured(self) -> list[int]:
        return list(self.made)

    def map(self, row: int, network: VisionModel, images: Tensor) -> Attribution:
        """Returns the maps of copies (m, c, h, w) of one image on another network."""
        one = self.made[row]
        targets = one.first.explains[0] if callable(one.first.explains[0]) else [one.first.explains[0]] * len(images)
        return one.maps(network, images, targets)

    def on_random(
        self, plan: list[tuple[int, Any]], measure: Callable[[int, Attribution, VisionModel, Tensor], Tensor]
    ) -> Tensor:
        """Returns (n, m) a number per image and random network of the plan, (seed, stretches); NaN for images without a map."""
        copy, found = Randomized(self.model), torch.full((len(self.images), len(plan)), torch.nan, dtype=torch.float64)
        for place, (seed, chosen) in enumerate(track(plan, len(plan), "networks")):
            copy.randomize(chosen, seed)
            for row, one in self.made.items():
                image = self.images[row : row + 1]
                copy.model.extra = self.models[row].extra
                network = copy.fit(image)
                if copy.answers(image):  # else NaN: a broken network says nothing about the map
                    found[row, place] = measure(row, one.first, network, image)
        return found


def _alone(model: VisionModel, row: int, n: int) -> VisionModel:
    """Returns the model for one image of n: with that image's further inputs, where it has any."""
    if not model.extra:
        return model
    twin = model.around(model.module)
    twin.extra = {name: rows[row : row + 1] if len(rows) == n else rows for name, rows in model.extra.items()}
    return twin


def _again(name: str, model: VisionModel, image: Tensor, one: Attribution, parameters: Mapping[str, Any]) -> Remade:
    """Makes the map of one image again, and refuses if it is another one than the given map."""
    try:
        method = lookup(one.method)
    except MethodError as error:
        raise MethodError(f"{name} makes the map again, and no method is called '{one.method}'") from error
    subject = Remade.of(method, parameters, one)
    values = subject.maps(model, image).values
    if values.shape != one.values.shape or bool((values - one.values).abs().max() > 1e-3 * one.values.abs().max()):
        how = f"parameters={dict(parameters)!r}" if parameters else "its defaults"
        raise MethodError(
            f"{name} makes the map again, and {one.method} with {how} gives another: say how it was made, parameters="
        )
    return replace(subject, first=replace(one, values=values))
