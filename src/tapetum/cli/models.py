"""--model, --weights and --target as the library takes them."""

from __future__ import annotations

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import load


def load_model(name: str, weights: str | None) -> VisionModel:
    """The model of a command's --model and --weights."""
    return load(name, weights="default" if weights is None else weights)


def as_target(text: str | None) -> int | str | None:
    """A whole number is a class index, anything else a text for `as_score`: a class name, a box, a unit, ..."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text
