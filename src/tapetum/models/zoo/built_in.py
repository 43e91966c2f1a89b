"""Lists the networks that come with the package, with functions that build them."""

from __future__ import annotations

from tapetum.data.labels import imagenet_labels, inception_labels
from tapetum.data.preprocessing import Preprocessing
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import efficientnet_lite, inception_v1
from tapetum.models.zoo.simple_cnn import SimpleCNN


def _lite0(pretrained: bool) -> VisionModel:
    module = efficientnet_lite.build(pretrained)
    return VisionModel(module, "efficientnet_lite0", efficientnet_lite.PREPROCESSING, imagenet_labels(), outputs="logits")


def _inception_v1(pretrained: bool) -> VisionModel:
    module = inception_v1.build(pretrained)
    return VisionModel(module, "inception_v1", inception_v1.PREPROCESSING, inception_labels(), outputs="logits")


def _simple_cnn(pretrained: bool) -> VisionModel:
    ready = Preprocessing((128, 128), 146, "bilinear", (0.5,) * 3, (0.5,) * 3)
    return VisionModel(SimpleCNN().eval(), "simple_cnn", ready, outputs="logits")


BUILT_IN = {"efficientnet_lite0": _lite0, "inception_v1": _inception_v1, "simple_cnn": _simple_cnn}

UNTRAINED = ("simple_cnn",)
"""Networks without published weights: they are meant to be trained, and their `weights` are "random" until then."""
