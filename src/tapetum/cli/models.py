"""Converts the values of --model, its settings and --target to what the library takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.loading import loaded


@dataclass(frozen=True)
class ModelChoice:
    """A model named on the command line: the name and weights for `load`, and settings as text, such as {"size": "64x128"}."""

    name: str
    weights: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def load(self, told: Mapping[str, Any] = MappingProxyType({})) -> VisionModel:
        """Loads the model; settings of the command line override those in `told`."""
        return loaded(self.name, "default" if self.weights is None else self.weights, {**told, **self.settings})

    @property
    def words(self) -> list[str]:
        """Returns the settings as command-line options, such as ["--size", "64x128"]."""
        pairs = ((name, [value] if isinstance(value, str) else value) for name, value in self.settings.items())
        return [word for name, values in pairs for value in values for word in (f"--{name}", value)]


def as_target(text: str | None) -> int | str | None:
    """Reads --target: a whole number is a class index, anything else a text for `as_score`, such as a class name or a unit."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text
