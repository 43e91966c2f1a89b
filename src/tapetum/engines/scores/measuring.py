"""Scores for measuring faithfulness: the target's probability if it has one, else its own score."""

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
    """Score of the explained target, on the probability scale if there is one."""
    if callable(explains[0]):
        return as_score(model, images, explains[0])
    return as_score(model, images, [one.of if isinstance(one, Scaled) else one for one in explains], "probability")


def measures(score: ModelScore) -> Literal["probability", "score"]:
    """Whether the values of the score are probabilities (of a class, in a region, of a detection)."""
    return "probability" if score.is_probability else "score"


def gives_classes(model: VisionModel, images: Tensor) -> bool:
    """Whether the model's answer is classes, labels or numbers for the whole image."""
    return model.encode_text is None and answer(model, images).kind == "table"


def probabilities(model: VisionModel, images: Tensor) -> Tensor | None:
    """Probabilities (n, classes) without gradients; None if the answer's numbers are not probabilities in any form."""
    table, reading = forward_table(model, images)
    return None if reading.measured else reading.on("probability", table)
