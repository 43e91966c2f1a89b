"""Scores for measuring the faithfulness of explanations: the target's probability if it has one, else its score."""

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
    """Builds the score of the explained targets, on the probability scale if they have probabilities."""
    if callable(explains[0]):
        return as_score(model, images, explains[0])
    return as_score(model, images, [one.of if isinstance(one, Scaled) else one for one in explains], "probability")


def measures(score: ModelScore) -> Literal["probability", "score"]:
    """Returns "probability" if the score is a probability (of a class, in a region, of a detection), else "score"."""
    return "probability" if score.is_probability else "score"


def gives_classes(model: VisionModel, images: Tensor) -> bool:
    """Checks whether the model's answer is a table (n, k): one number per class, label or measurement for each image."""
    return model.encode_text is None and answer(model, images).kind == "table"


def probabilities(model: VisionModel, images: Tensor) -> Tensor | None:
    """Returns the model's probabilities (n, classes), without gradients, or None if its answer gives measurements."""
    table, reading = forward_table(model, images)
    return None if reading.measured else reading.on("probability", table)
