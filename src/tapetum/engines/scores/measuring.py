"""What faithfulness is measured by: a probability where the target has one, else the target's own score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from tapetum.engines.scores.base import ModelScore
from tapetum.engines.scores.building import as_score
from tapetum.engines.scores.outputs import answer, forward_table
from tapetum.models.vision_model import VisionModel
from tapetum.types import Scaled


def as_probability(model: VisionModel, images: Tensor, explains: Sequence[Any]) -> ModelScore:
    """The score of what maps explain, on the probability scale where there is one, whatever scale was explained."""
    if callable(explains[0]):
        return as_score(model, images, explains[0])
    return as_score(model, images, [one.of if isinstance(one, Scaled) else one for one in explains], "probability")


def measures(score: ModelScore) -> Literal["probability", "score"]:
    """Whether the values of that score are probabilities (of a class, in a region, of a detection) or in units of their own."""
    return "probability" if score.is_probability else "score"


def gives_classes(model: VisionModel, images: Tensor) -> bool:
    """Whether the model answers with classes, labels or numbers of the whole image."""
    return model.encode_text is None and answer(model, images).kind == "table"


def probabilities(model: VisionModel, images: Tensor) -> Tensor | None:
    """(n, classes) probabilities without gradients; None where the numbers of the answer are none."""
    table, reading = forward_table(model, images)
    return None if reading.measured else reading.on("probability", table)
