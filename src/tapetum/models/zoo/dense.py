"""Builds torchvision's detectors and segmentation networks, with the class names of their published weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchvision
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.families import torchvision_model, torchvision_module

IDENTITY: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def detector(name: str, pretrained: bool) -> VisionModel:
    """Builds a torchvision detector, which takes pixels in [0, 1] and normalises them itself.

    Its boxes are in px of the square crop that it is given.
    """
    module, weights = torchvision_module(name, pretrained, weights_backbone=None)
    source = f"torchvision:{name}"
    return VisionModel(module, name, detector_preprocessing(module), weights.meta.get("categories"), source)


def detector_preprocessing(module: nn.Module) -> Preprocessing:
    """Preprocessing to squares of the side that the detector resizes to; squashes pictures if the detector does so (SSD)."""
    transform: Any = module.get_submodule("transform")
    if transform.fixed_size is not None:
        return Preprocessing(as_pair(transform.fixed_size), "squash", "bilinear", **IDENTITY)
    side = int(transform.min_size[-1])
    return Preprocessing((side, side), side, "bilinear", **IDENTITY)


def normalises_itself(module: nn.Module) -> bool:
    """Checks whether a module begins with torchvision's transform for detectors, which normalises images."""
    return isinstance(getattr(module, "transform", None), GeneralizedRCNNTransform)


def segmenter(name: str, pretrained: bool) -> VisionModel:
    """Builds a torchvision segmentation network, with square images of the size that its published weights expect."""
    module, weights = torchvision_module(name, pretrained, weights_backbone=None)
    preset = weights.transforms()
    side = int(preset.resize_size[0])
    preprocessing = Preprocessing((side, side), side, "bilinear", tuple(preset.mean), tuple(preset.std))
    return VisionModel(module, name, preprocessing, weights.meta.get("categories"), f"torchvision:{name}", outputs="logits")


TORCHVISION: dict[str, tuple[Any, Callable[[str, bool], VisionModel]]] = {
    "torchvision": (torchvision.models, torchvision_model),
    "torchvision detectors": (torchvision.models.detection, detector),
    "torchvision segmentation": (torchvision.models.segmentation, segmenter),
}
"""{group: (torchvision module that lists the networks, function that builds one of them)}."""


def torchvision_builders() -> dict[str, Callable[[str, bool], VisionModel]]:
    """Returns {name: function that builds the network} for all torchvision networks that can be loaded."""
    listed = torchvision.models.list_models
    return {name: build for module, build in TORCHVISION.values() for name in listed(module=module)}
