"""What every score of a model is: callable, divisible by rows, and able to say what it explains."""

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

    `read` turns the model's output into one value per image. A subclass is a frozen dataclass, which names its fields of one
    value per image. `rows` says which of the images that were given each of its images is, where somebody asked for some of
    them: what is given beside the images (`wrap(extra=...)`) is cut and repeated like the images themselves.
    """

    model: VisionModel
    rows: tuple[int, ...] | None = field(default=None, kw_only=True)

    per_image: ClassVar[tuple[str, ...]] = ()

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.output(images))

    def output(self, images: Tensor) -> Any:
        """What the model answers for the images of this score."""
        with self.model.at_rows(self.rows):
            return self.model(images)

    def read(self, output: Any) -> Tensor:
        """The model's output to (n,)."""
        raise NotImplementedError  # a score that looks inside the network has no use for it

    def take(self, rows: Sequence[int], /) -> ModelScore:
        """The score of those images alone, in that order."""
        some = {name: tuple(getattr(self, name)[row] for row in rows) for name in self.per_image}
        return dataclasses.replace(self, rows=tuple(rows if self.rows is None else (self.rows[row] for row in rows)), **some)

    @abstractmethod
    def explains(self, n: int) -> tuple[Any, ...]:
        """What `as_score` takes to build this score again, one per image."""

    @abstractmethod
    def describe(self, n: int) -> tuple[str, ...]:
        """One text per image for captions."""

    @property
    def is_probability(self) -> bool:
        """Whether its values are probabilities; else they are in units of their own."""
        return False


def one_each(targets: Sequence[Any], n: int) -> None:
    """Refuses an output of another number of images than there are targets."""
    if len(targets) != n:
        raise TargetError(f"{len(targets)} targets were given for {n} images: one per image, or one for all")


def class_name(model: VisionModel, target: int | str) -> str:
    """ "tabby", or "class 281" without labels; a number is no class: "output 0"."""
    if isinstance(target, str):
        return target
    if model.labels is not None and target < len(model.labels):
        return model.labels[target]
    known = known_answer(model)
    number = known is not None and known.reading is not None and (known.reading.measured or known.reading.columns == 1)
    return f"output {target}" if number else f"class {target}"
