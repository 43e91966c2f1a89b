"""Grad-CAM where the score reads the layer, and at single runs, against captum on the plain module."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from zoo import CLASSES, conv, pictures, wrapped

import tapetum as tp

pytestmark = pytest.mark.oracle


class Pooled(nn.Module):
    """A backbone that returns its map beside the pooled values, which are all that the head reads."""

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 8, 2), nn.ReLU())

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            maps = self.stages(images)
            return maps, maps.mean((2, 3))

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.Backbone(), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[1])


class Logits(nn.Module):
    """A Hugging Face classifier as captum wants it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).logits


def theirs(net: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Tensor:
    found: Any = LayerGradCam(net, layer).attribute(images, target=target, relu_attributions=False)
    return (found[0] if isinstance(found, tuple) else found).detach()


@pytest.mark.parametrize("layer", [None, "backbone", "backbone.stages"])
def test_the_map_of_a_backbone_that_pools_itself_is_captums_at_its_stages(layer: str | None) -> None:
    torch.manual_seed(0)
    net, images = Pooled().double().eval(), pictures(2)
    ours = tp.grad_cam(wrapped(net), images, 2, layer=layer)
    torch.testing.assert_close(ours.values, theirs(net, net.backbone.stages, images, 2))


@pytest.mark.parametrize(
    ("family", "inner", "config"),
    [
        ("ResNet", "resnet.encoder.stages.1", {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1]}),
        ("ConvNext", "convnext.encoder.stages.1", {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}),
        ("MobileNetV2", "mobilenet_v2.conv_1x1", {"depth_multiplier": 0.25}),
        ("Bit", "bit.norm", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 4}),
    ],
)
def test_classifiers_that_read_the_pooled_output_have_captums_map_of_the_last_stage(
    family: str, inner: str, config: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = getattr(transformers, f"{family}Config")(num_labels=CLASSES, **config)
    net = getattr(transformers, f"{family}ForImageClassification")(settings).double().eval()
    images = pictures(1, 64)
    ours = tp.grad_cam(tp.wrap(net, size=64, mean=(0.0,) * 3, std=(1.0,) * 3), images, 2)
    torch.testing.assert_close(ours.values, theirs(Logits(net), net.get_submodule(inner), images, 2))
