"""Base class of scores of a model: functions of images, which can be cut to some images and describe their targets."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from tapetum.engines.scores.outputs import Answer, fact_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import TargetError


@dataclass(frozen=True, eq=False)
class ModelScore(ABC):
    """A score that knows its model, so that methods can watch layers while it is computed.

    `read` turns the model's output into one value per image. A subclass is a frozen dataclass that names its fields with one
    entry per image in `per_image`. After `take`, `rows` holds the original index of each image, by which further inputs of the
    network (`wrap(extra=...)`) are selected and repeated like the images. `part` is a cache key of the part of the answer that
    is read, None for the user's functions: scores with the same key read the same layers.
    """

    model: VisionModel
    rows: tuple[int, ...] | None = field(default=None, kw_only=True)

    part: str | None = field(default=None, init=False)

    per_image: ClassVar[tuple[str, ...]] = ()

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.model(images, self.rows))

    @abstractmethod
    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""

    def take(self, rows: Sequence[int], /) -> ModelScore:
        """Returns the score of the images `rows` alone, in that order; an index may occur several times."""
        some = {name: tuple(getattr(self, name)[row] for row in rows) for name in self.per_image}
        return dataclasses.replace(self, rows=tuple(rows if self.rows is None else (self.rows[row] for row in rows)), **some)

    @abstractmethod
    def explains(self, n: int) -> tuple[Any, ...]:
        """Returns one target for each of n images, from which `as_score` builds this score again."""

    @abstractmethod
    def describe(self, n: int) -> tuple[str, ...]:
        """Returns a text for each of n images that names its target, for captions."""

    @property
    def is_probability(self) -> bool:
        """Checks whether the values of this score are probabilities."""
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
    """Raises TargetError unless there is one target for each of n images."""
    if len(targets) != n:
        raise TargetError(f"{len(targets)} targets were given for {n} images: one per image, or one for all")


def index_name(model: VisionModel, target: int | str) -> str:
    """Returns the name of a class, "tabby", or "class 281" if the model has no labels; "output 0" for a number that is not a
    class.
    """
    if isinstance(target, str):
        return target
    if model.labels is not None and target < len(model.labels):
        return model.labels[target]
    known: Answer | None = model.remember(fact_of(model))
    number = known is not None and known.reading is not None and (known.reading.measured or known.reading.columns == 1)
    return f"output {target}" if number else f"class {target}"
