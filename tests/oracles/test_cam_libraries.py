"""The same maps as grad-cam 1.5.7 and torchcam 0.5.0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
from oracle_networks import model, network, relative, side
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from zoo import pictures

import tapetum as tp

pytestmark = pytest.mark.oracle

THEIRS: dict[str, Any] = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "layer_cam": pytorch_grad_cam.LayerCAM,
    "xgrad_cam": pytorch_grad_cam.XGradCAM,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "shapley_cam": pytorch_grad_cam.ShapleyCAM,
    "fem": pytorch_grad_cam.FEM,
    "score_cam": pytorch_grad_cam.ScoreCAM,
    "ablation_cam": pytorch_grad_cam.AblationCAM,
}
FORWARD_ONLY = ("score_cam", "ablation_cam")
LAYERS = [("resnet18", "layer4"), ("vgg16", "features.29"), ("vgg16", "features.30")]


def images(name: str) -> Tensor:
    return pictures(2, side(name), dtype=torch.float32)


def targets(name: str) -> list[int]:
    """The predicted classes: for those there is positive evidence, and no library has to invent a map."""
    return network(name)(images(name)).argmax(1).tolist()


def min_max(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score-CAM and Ablation-CAM draw progress bars."""
    for module in ("score_cam", "ablation_cam"):
        monkeypatch.setattr(f"pytorch_grad_cam.{module}.tqdm.tqdm", lambda items: items)


def _cases() -> list[Any]:
    """512 channels through VGG-16, twice: too slow for every day."""
    return [
        pytest.param(method, *place, marks=pytest.mark.slow if method in FORWARD_ONLY and "vgg16" in place else ())
        for method in THEIRS
        for place in LAYERS
        if (method, place[1]) != ("fem", "features.30")  # 2 x 2 places: no peak lies two deviations above the mean
        and not (method in FORWARD_ONLY and place[1] == "features.30")  # once through VGG-16 is enough
    ]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("method", "name", "layer"), _cases())
def test_heatmaps_equal_grad_cams(method: str, name: str, layer: str) -> None:
    x, net, classes = images(name), network(name), targets(name)
    if method in FORWARD_ONLY:
        x, classes = x[:1], classes[:1]
        layer = "layer2" if name == "resnet18" else layer  # a pass for each of 128 channels, not of 512
    ours = tp.lookup(method).function(model(name), x, classes, layer=layer)
    assert set(ours.status) == {"ok"}
    net.requires_grad_(True)  # grad-cam needs a graph that starts at the weights
    try:
        with THEIRS[method](model=net, target_layers=[net.get_submodule(layer)]) as cam:
            theirs = cam(x, [ClassifierOutputTarget(target) for target in classes])
    finally:
        net.requires_grad_(False)
    ours_scaled = min_max(ours.heatmap())
    # 1e-4 of the range: grad-cam adds 1e-7 here and there and resizes with OpenCV, whose weights are single precision
    assert (ours_scaled - torch.from_numpy(theirs)).abs().max() < 1e-4
    for a, b in zip(ours_scaled.numpy(), theirs, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_torchcams_map_is_the_positive_part_of_our_values_scaled(name: str, layer: str) -> None:
    x, net, classes = images(name), network(name), targets(name)
    ours = tp.grad_cam(model(name), x, classes, layer=layer)
    net.requires_grad_(True)
    try:
        with torchcam.methods.GradCAM(net, target_layer=layer) as cam:
            (theirs,) = cam(classes, net(x))
    finally:
        net.requires_grad_(False)
    assert relative(min_max(ours.heatmap(size=None)), theirs.detach()) < 1e-5  # they add 1e-8 to the range


def test_a_layer_that_grad_cam_calls_last_is_the_one_chosen_here() -> None:
    """The layer that grad-cam's own documentation recommends for a ResNet."""
    assert tp.grad_cam(model("resnet18"), images("resnet18")).layer == "layer4"
