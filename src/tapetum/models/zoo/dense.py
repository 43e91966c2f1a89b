"""torchvision's detectors and segmentation networks, with the class names of the data they are published for."""

from __future__ import annotations

from typing import Any, cast

import torchvision
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.families import built

IDENTITY: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def detectors() -> list[str]:
    """torchvision's names."""
    return torchvision.models.list_models(module=torchvision.models.detection)


def segmenters() -> list[str]:
    """torchvision's names."""
    return torchvision.models.list_models(module=torchvision.models.segmentation)


def detector(name: str, pretrained: bool) -> VisionModel:
    """A detector: it takes pixels in [0, 1], since it normalises them itself. Its boxes are in px of the square cut."""
    module, weights = _with_weights(name, pretrained)
    source = f"torchvision:{name}"
    return VisionModel(module, name, detector_preprocessing(module), weights.meta.get("categories"), source)


def detector_preprocessing(module: nn.Module) -> Preprocessing:
    """Square pictures of the side that the detector resizes to; squashed where it squashes pictures itself (SSD)."""
    transform: Any = module.get_submodule("transform")
    if transform.fixed_size is not None:
        return Preprocessing(as_pair(transform.fixed_size), "squash", "bilinear", **IDENTITY)
    side = int(transform.min_size[-1])
    return Preprocessing((side, side), side, "bilinear", **IDENTITY)


def normalises_itself(module: nn.Module) -> bool:
    """Whether a module starts with torchvision's transform for detectors."""
    return isinstance(getattr(module, "transform", None), GeneralizedRCNNTransform)


def segmenter(name: str, pretrained: bool) -> VisionModel:
    """A segmentation network, at the size of its published weights."""
    module, weights = _with_weights(name, pretrained)
    preset = weights.transforms()
    side = int(preset.resize_size[0])
    preprocessing = Preprocessing((side, side), side, "bilinear", tuple(preset.mean), tuple(preset.std))
    return VisionModel(module, name, preprocessing, weights.meta.get("categories"), f"torchvision:{name}", outputs="logits")


def _with_weights(name: str, pretrained: bool) -> tuple[nn.Module, Any]:
    """The backbone comes with the whole network's weights, or random like the rest."""
    # cast: the base class of torchvision's enums does not declare the DEFAULT that each of them has
    weights = cast(Any, torchvision.models.get_model_weights(name)).DEFAULT
    chosen = weights if pretrained else None
    return built(name, lambda: torchvision.models.get_model(name, weights=chosen, weights_backbone=None)), weights
