"""Kinds of refusals; each message is one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class TapetumError(ValueError):
    """A refusal: one line that says what is wrong and what would work."""


class TapetumWarning(UserWarning):
    """Warns of doubts that only the user can settle: raw pictures as model-ready images, assumed constants."""


class DamagedError(TapetumError):
    """A file that cannot be read as what it should be: missing, not whole, changed, or made by somebody who means harm."""


class UnwritableError(TapetumError):
    """A folder that takes no more, such as one on a full disk: whatever else is asked for would end there too."""


class ImageError(TapetumError):
    """An image that cannot be read, or that a model cannot take."""


class ModelError(TapetumError):
    """A model that cannot be loaded, or that gives no usable output."""


class LayerError(TapetumError):
    """A layer that does not exist, is not unique, or gives no map."""


class TargetError(TapetumError):
    """A target that the model's output does not have."""


class MethodError(TapetumError):
    """A method that is unknown, got a wrong parameter, or does not apply to this model."""


class Cancelled(TapetumError):
    """The work was stopped by whoever watched its progress."""


class TrainingError(TapetumError):
    """A training that cannot begin, go on, or be continued."""


def imported(module: str, refusal: str) -> Any:
    """Imports a module of a package that not everybody has; without it a refusal in these words."""
    try:
        return import_module(module)
    except ImportError as error:
        raise TapetumError(refusal) from error


NO_GRADIENT = (
    "the score has no gradient: the model (or the callable target) detaches it or works without one; what needs none are "
    "occlusion, rise, feature_ablation and kernel_shap"
)
"""The refusal of what differentiates, where there is nothing to differentiate."""
