"""Builds torchvision's and timm's networks with their own preprocessing and class names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.error import URLError

import timm
import torchvision
from timm.data.config import resolve_data_config
from torch import nn

from tapetum.data.labels import labels_for
from tapetum.data.preprocessing import Interpolation, Preprocessing, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.switches import ignoring
from tapetum.types import ModelError


def torchvision_model(name: str, pretrained: bool) -> VisionModel:
    """Builds a torchvision classifier, with the weights and preprocessing of its default weights entry."""
    # GoogLeNet and Inception draw their random weights by a slow truncated normal, and warn about it
    options = {"init_weights": True} if not pretrained and name in ("googlenet", "inception_v3") else {}
    module, weights = torchvision_module(name, pretrained, **options)
    preprocessing = _torchvision_preprocessing(weights, module)
    return VisionModel(module, name, preprocessing, weights.meta.get("categories"), f"torchvision:{name}", outputs="logits")


def torchvision_module(name: str, pretrained: bool, **options: Any) -> tuple[nn.Module, Any]:
    """Builds a torchvision network; returns it with its default weights entry, which has preprocessing and class names."""
    # cast: the base class of torchvision's enums does not declare the DEFAULT that each of them has
    weights = cast(Any, torchvision.models.get_model_weights(name)).DEFAULT
    chosen = weights if pretrained else None
    return built(name, lambda: torchvision.models.get_model(name, weights=chosen, **options)), weights


def _torchvision_preprocessing(weights: Any, module: nn.Module) -> Preprocessing:
    """Preprocessing of a weights entry, at the module's size, which may differ if built without weights (vit_h_14)."""
    preset = weights.transforms()
    side = getattr(module, "image_size", preset.crop_size[0])
    return Preprocessing(
        size=(side, side),
        resize=max(side, round(preset.resize_size[0] * side / preset.crop_size[0])),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def timm_model(name: str, pretrained: bool) -> VisionModel:
    """Builds a timm network, with the preprocessing of its pretrained configuration."""
    module = built(name, lambda: timm.create_model(name, pretrained=pretrained))
    classes = getattr(module, "num_classes", 0)
    return VisionModel(module, name, timm_preprocessing(module), labels_for(classes), f"timm:{name}", outputs="logits")


def timm_preprocessing(module: nn.Module) -> Preprocessing:
    """Preprocessing from timm's configuration of a network."""
    config = resolve_data_config({}, model=module)
    size = as_pair(config["input_size"][-2:])
    given = config["interpolation"]
    interpolation: Interpolation = given if given in ("bilinear", "bicubic", "nearest") else "bicubic"
    resize = "squash" if config["crop_mode"] == "squash" else int(min(size) / config["crop_pct"])
    return Preprocessing(size, resize, interpolation, tuple(config["mean"]), tuple(config["std"]))


def built(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Runs `build` and puts the network into eval mode; turns a failed download into a one-line error."""
    try:
        with ignoring():  # the library's notes on changing defaults do not concern the user
            return build().eval()
    except (URLError, ConnectionError, TimeoutError, OSError) as error:
        raise _offline(name, error) from error
    except RuntimeError as error:
        if "No pretrained weights" in str(error) or "hub" in str(error).lower():
            raise _offline(name, error) from error
        raise ModelError(f"{name} cannot be built ({error})") from error


def _offline(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"the weights of {name} cannot be downloaded ({type(error).__name__}); give weights=FILE, weights=None for "
        "random ones, or use efficientnet_lite0, which is built in"
    )
