"""torchvision's own detectors and segmentation networks: loaded, surveyed, and explained on random weights.

Random detectors are made sure of something by a bias of their class head: one label wins everywhere.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model
from torchvision.ops import box_iou

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.models.choice import choose_layer
from tapetum.models.vision_model import VisionModel

QUICK = ("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")
HEAVY = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssd300_vgg16")
LAYERS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": "backbone.body.15",
    "ssdlite320_mobilenet_v3_large": "backbone.features.0.12",
    "fasterrcnn_resnet50_fpn": "backbone.body.layer4",
    "retinanet_resnet50_fpn": "backbone.body.layer4",
    "fcos_resnet50_fpn": "backbone.body.layer4",
    "ssd300_vgg16": "backbone.features.22",
}
"""The last layer from which every one of the detector's maps is made."""
DETECTORS = [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in LAYERS]


@functools.cache
def detector(name: str, dtype: torch.dtype = torch.float32) -> VisionModel:
    """Random, four classes, everything that is proposed kept; one for all tests, which leave it as it is."""
    small = {} if "320" in name or "ssd" in name else {"min_size": 160, "max_size": 320}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module: Any = get_model(name, weights=None, weights_backbone=None, num_classes=4, **small)
    (module.roi_heads if hasattr(module, "roi_heads") else module).score_thresh = 0.0
    return tp.wrap(module.to(dtype), size=128, labels=("__background__", "cat", "dog", "bird"), name=name)


def photos(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 8, 8, generator=generator, dtype=dtype)
    return torch.nn.functional.interpolate(coarse, (128, 128), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_best_box_is_explained(name: str) -> None:
    model, images = detector(name), photos(1)
    assert model.preprocessing.mean == (0.0, 0.0, 0.0)  # it normalises by itself
    with torch.no_grad():
        (found,) = model(images)
    best = int(found["scores"].argmax())
    maps = tp.saliency(model, images)
    (box,) = maps.explains
    assert box.label == int(found["labels"][best])
    assert torch.equal(torch.tensor(box.corners), found["boxes"][best])
    # independent of the package: the same number from torchvision's output, and its gradient by autograd
    leaf = images.clone().requires_grad_()
    (again,) = model(leaf)
    same = again["labels"] == box.label
    likeness = (box_iou(again["boxes"][same], found["boxes"][best][None])[:, 0] * again["scores"][same]).max()
    assert float(as_score(model, images)(images)) == pytest.approx(float(likeness.detach()), rel=1e-5)
    (gradient,) = torch.autograd.grad(likeness, leaf)
    # float32 through tens of layers; convolutions may add in another order
    torch.testing.assert_close(maps.values, gradient.abs(), rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))
    assert maps.status == ("ok",)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_layer_for_a_cam_is_in_the_trunk_that_all_heads_read(name: str) -> None:
    model = detector(name)
    assert choose_layer(model.survey)[0] == LAYERS[name]
    maps = tp.grad_cam(model, photos(1))
    assert maps.status in (("ok",), ("no_positive_evidence",))
    assert maps.values.abs().max() > 0
    grid = model.survey[str(maps.layer)].grid
    assert tuple(maps.values.shape[-2:]) == grid
    parts_of_the_image = [layer.name for layer in model.layers() if layer.name.startswith("roi_heads")]
    assert all(model.survey[one].grid is None for one in parts_of_the_image)


def test_a_detectors_batch_is_its_images() -> None:
    model, images = detector(QUICK[1], torch.float64), photos(2, torch.float64)
    for target in (None, "cat", [tp.Box("cat"), tp.Box("dog", 0, 0, 128, 128)]):
        both = tp.grad_cam(model, images, target)
        for row in range(2):
            one = target[row] if isinstance(target, list) else target
            alone = tp.grad_cam(model, images[row : row + 1], one)
            assert alone.target == (both.target[row],)
            # float64; batches of two sizes take convolutions by different routes
            torch.testing.assert_close(
                alone.values[0], both.values[row], rtol=1e-8, atol=1e-12 * float(both.values.abs().max())
            )


def test_ablation_computes_only_what_lies_behind_a_detectors_layer() -> None:
    model, images = detector(QUICK[0]), photos(1)
    score = as_score(model, images)
    tail = tp.resume(score, "backbone.body.15", images)
    assert "backbone.body.14" in tail.skipped
    assert "transform" not in tail.skipped  # its list of images cannot be repeated, so it runs
    louder = 10.0  # random heads hardly tell one activation from another
    both = tail(torch.cat([tail.activation, tail.activation * louder]))
    assert float(both[0]) == pytest.approx(float(score(images)), rel=1e-4)  # float32
    with tp.edit(model, {"backbone.body.15": lambda maps: maps * louder}):
        assert float(both[1]) == pytest.approx(float(score(images)), rel=1e-3)
    assert abs(float(both[1] - both[0])) > 1e-3


@pytest.mark.parametrize("name", ["torchvision:ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_detectors_are_loaded_with_coco_names_and_no_normalisation(name: str) -> None:
    model = tp.load(name, weights=None)
    assert model.source == f"torchvision:{name.removeprefix('torchvision:')}"
    assert model.labels is not None
    assert (len(model.labels), model.labels[17]) == (91, "cat")
    pixels = torch.rand(1, 3, 320, 320)
    assert torch.equal(model.preprocess(pixels), pixels)
    assert model.weights == "random"


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_segmentation_networks_are_loaded_and_explained(name: str) -> None:
    model = tp.load(f"torchvision:{name}", weights=None)
    assert model.labels is not None
    assert (len(model.labels), model.labels[8], model.preprocessing.size) == (21, "cat", (520, 520))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = model(images)["out"]
    score = as_score(model, images, tp.Region("cat", (8, 8, 40, 24)))
    torch.testing.assert_close(score(images), out[:, 8, 8:24, 8:40].mean((1, 2)), rtol=1e-4, atol=1e-6)  # float32
    for target in (None, [tp.Region(3, (0, 0, 32, 32)), tp.Region("dog", (8, 8, 40, 40))]):
        maps = tp.grad_cam(model, images, target)
        assert maps.values.abs().amax((1, 2, 3)).min() > 0
        assert model.survey[str(maps.layer)].channels != 21  # not the map of classes itself
    assert tp.occlusion(model, images[:1], window=32, stride=32).target == tp.grad_cam(model, images[:1]).target


def test_known_models_lists_what_can_be_loaded() -> None:
    known = tp.known_models()
    assert "torchvision:fcos_resnet50_fpn" in known["torchvision detectors"]
    assert "torchvision:fcn_resnet50" in known["torchvision segmentation"]
