"""Base of a model's scores: callable, divisible by rows, and able to describe what they explain."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from tapetum.engines.scores.outputs import known_answer
from tapetum.models.vision_model import VisionModel
from tapetum.types import TargetError


@dataclass(frozen=True, eq=False)
class ModelScore(ABC):
    """A score that knows its model, so that engines can look at layers on the way.

    `read` turns the model's output into one value per image. A subclass is a frozen dataclass that names its per-image fields.
    After `take`, `rows` holds the original index of each image: inputs beside the images (`wrap(extra=...)`) are cut and
    repeated like the images themselves.
    """

    model: VisionModel
    rows: tuple[int, ...] | None = field(default=None, kw_only=True)

    per_image: ClassVar[tuple[str, ...]] = ()

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.output(images))

    def output(self, images: Tensor) -> Any:
        """Runs the model on the images of this score."""
        with self.model.at_rows(self.rows):
            return self.model(images)

    def read(self, output: Any) -> Tensor:
        """Reads the model's output as (n,)."""
        raise NotImplementedError  # scores of a layer have no use for it

    def take(self, rows: Sequence[int], /) -> ModelScore:
        """Returns the score of those images alone, in that order."""
        some = {name: tuple(getattr(self, name)[row] for row in rows) for name in self.per_image}
        return dataclasses.replace(self, rows=tuple(rows if self.rows is None else (self.rows[row] for row in rows)), **some)

    @abstractmethod
    def explains(self, n: int) -> tuple[Any, ...]:
        """Targets from which `as_score` builds this score again, one for each of n images."""

    @abstractmethod
    def describe(self, n: int) -> tuple[str, ...]:
        """Describes the target of each image for captions."""

    @property
    def is_probability(self) -> bool:
        """Whether its values are probabilities."""
        return False


@dataclass(frozen=True, eq=False)
class TargetScore(ModelScore):
    """A score with one target per image."""

    targets: tuple[Any, ...]

    per_image = ("targets",)

    def explains(self, n: int) -> tuple[Any, ...]:
        return self.targets

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(map(str, self.targets))


def one_each(targets: Sequence[Any], n: int) -> None:
    """Refuses an output whose number of images is not that of the targets."""
    if len(targets) != n:
        raise TargetError(f"{len(targets)} targets were given for {n} images: one per image, or one for all")


def index_name(model: VisionModel, target: int | str) -> str:
    """Name of a class: "tabby", or "class 281" without labels; "output 0" for a number that is no class."""
    if isinstance(target, str):
        return target
    if model.labels is not None and target < len(model.labels):
        return model.labels[target]
    known = known_answer(model)
    number = known is not None and known.reading is not None and (known.reading.measured or known.reading.columns == 1)
    return f"output {target}" if number else f"class {target}"
