"""What every score of a model is: callable, divisible by rows, and able to say what it explains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tapetum.models.vision_model import VisionModel
from tapetum.types import TargetError


class ModelScore(ABC):
    """A score that knows its model, so that engines can look at layers on the way.

    `read` turns the model's output into one value per image. A subclass is a frozen dataclass with a model.
    """

    model: VisionModel

    def __call__(self, images: Tensor, /) -> Tensor:
        return self.read(self.model(images))

    def read(self, output: Any) -> Tensor:
        """The model's output to (n,)."""
        raise NotImplementedError  # a score that looks inside the network has no use for it

    @abstractmethod
    def take(self, rows: Sequence[int], /) -> ModelScore:
        """The score of those images alone, in that order."""

    @abstractmethod
    def explains(self, n: int) -> tuple[Any, ...]:
        """What `as_score` takes to build this score again, one per image."""

    @abstractmethod
    def describe(self, n: int) -> tuple[str, ...]:
        """One text per image for captions."""


def one_each(targets: Sequence[Any], n: int) -> None:
    """Refuses an output of another number of images than there are targets."""
    if len(targets) != n:
        raise TargetError(f"{len(targets)} targets were given for {n} images: one per image, or one for all")


def class_name(model: VisionModel, target: int | str) -> str:
    """ "tabby", or "class 281" without labels; the one output of a model that has no more is no class: "output 0"."""
    if isinstance(target, str):
        return target
    if model.labels is not None and target < len(model.labels):
        return model.labels[target]
    known = model.recall(ANSWER)
    return f"output {target}" if known is not None and known.classes == 1 else f"class {target}"


ANSWER = "answer"
"""The fact of a model that says what kind of answer it gives, and of how many classes."""
