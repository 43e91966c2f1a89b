"""Errors by which tapetum refuses something; each message is one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class TapetumError(ValueError):
    """Base of all errors of tapetum: the message says in one line what is wrong and what would work."""


class TapetumWarning(UserWarning):
    """Warning of something that only the user can settle: images that look unnormalised, assumed constants."""


class DamagedError(TapetumError):
    """Raised for a file that cannot be read: it is missing, incomplete, changed, or made with harmful intent."""


class UnwritableError(TapetumError):
    """Raised for a folder that cannot be written, such as one on a full disk; further results would fail there too."""


class ImageError(TapetumError):
    """Raised for an image that cannot be read, or that a model cannot take."""


class ModelError(TapetumError):
    """Raised for a model that cannot be loaded, or that gives no usable output."""


class LayerError(TapetumError):
    """Raised for a layer that does not exist, is not unique, or gives no map."""


class TargetError(TapetumError):
    """Raised for a target that the model's output does not have."""


class MethodError(TapetumError):
    """Raised for a method that is unknown, got a wrong parameter, or does not apply to the model."""


class Cancelled(TapetumError):
    """Raised when the code that watches the progress of some work stops it."""


class TrainingError(TapetumError):
    """Raised for a training that cannot start, proceed or be resumed."""


def imported(module: str, refusal: str, kind: type[TapetumError] = TapetumError) -> Any:
    """Imports a module of an optional package; raises an error of that kind with the message `refusal` if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise kind(refusal) from error


NO_GRADIENT = (
    "the score has no gradient: the model (or the callable target) detaches it or works without one; what needs none are "
    "occlusion, rise, feature_ablation and kernel_shap"
)
"""Error message of methods that need a gradient, where the score has none."""
