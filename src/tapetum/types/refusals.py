"""Errors by which tapetum refuses something; each message is one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class TapetumError(ValueError):
    """Base of all errors of tapetum: the message says in one line what is wrong and what would work."""


class TapetumWarning(UserWarning):
    """Warning of something that only the user can settle: images that look unnormalised, assumed constants."""


class DamagedError(TapetumError):
    """A file cannot be read: it is missing, incomplete, changed, or made with harmful intent."""


class UnwritableError(TapetumError):
    """A folder cannot be written, for example because the disk is full; further requests would fail there too."""


class ImageError(TapetumError):
    """An image cannot be read, or the model cannot take it."""


class ModelError(TapetumError):
    """A model cannot be loaded, or gives no usable output."""


class LayerError(TapetumError):
    """A layer does not exist, is not unique, or gives no map."""


class TargetError(TapetumError):
    """The model's output does not have the target."""


class MethodError(TapetumError):
    """A method is unknown, got a wrong parameter, or does not apply to this model."""


class Cancelled(TapetumError):
    """The work was stopped by the code that watches its progress."""


class TrainingError(TapetumError):
    """A training cannot begin, go on, or be continued."""


def imported(module: str, refusal: str) -> Any:
    """Imports a module of an optional package; raises a `TapetumError` with the message `refusal` if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise TapetumError(refusal) from error


NO_GRADIENT = (
    "the score has no gradient: the model (or the callable target) detaches it or works without one; what needs none are "
    "occlusion, rise, feature_ablation and kernel_shap"
)
"""The refusal of what differentiates, where there is nothing to differentiate."""
