"""`like=` gives what the library itself returns: one line for every row of the table, settings and all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
import zennit.attribution
from oracle_networks import model, network, relative
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from zoo import pictures

import tapetum as tp
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.scores import as_score
from tapetum.families.profiles import PROFILES

pytestmark = pytest.mark.oracle

Peer = Callable[[nn.Module, Tensor, list[str], list[int]], Tensor]
"""(network, images, layers, a class for each image) -> what the library returns, (n, c, h, w)."""


def by_captum(method: type, **given: Any) -> Peer:
    return lambda net, x, _, classes: method(net).attribute(x.requires_grad_(), target=classes, **given).detach()


def by_captum_cam(net: nn.Module, x: Tensor, layers: list[str], classes: list[int]) -> Tensor:
    return captum.attr.LayerGradCam(net, net.get_submodule(layers[0])).attribute(x, classes).detach()


def by_grad_cam(method: type) -> Peer:
    def values(net: nn.Module, x: Tensor, layers: list[str], classes: list[int]) -> Tensor:
        net.requires_grad_(True)  # grad-cam needs a graph that starts at the weights
        try:
            with method(model=net, target_layers=[net.get_submodule(layer) for layer in layers]) as cam:
                return torch.from_numpy(cam(x, [ClassifierOutputTarget(one) for one in classes]))[:, None]
        finally:
            net.requires_grad_(False)

    return values


def by_torchcam(method: type) -> Peer:
    def values(net: nn.Module, x: Tensor, layers: list[str], classes: list[int]) -> Tensor:
        with method(net, list(layers)) as extractor:
            maps = extractor(classes, net(x.requires_grad_()))
            return (maps[0] if len(maps) == 1 else extractor.fuse_cams(maps))[:, None].detach()

    return values


def by_zennit(method: type, **given: Any) -> Peer:
    def values(net: nn.Module, x: Tensor, _: list[str], classes: list[int]) -> Tensor:
        with method(net, **given) as attributor:
            _, relevance = attributor(x, torch.eye(20)[classes])
        return relevance.detach()

    return values


def paper(method: str) -> Peer:
    """The papers end in a ReLU: nobody's code, our own signed values."""
    return lambda net, x, layers, classes: (
        tp.lookup(method).function(model("resnet18"), x, classes, layer=layers[0]).values.relu()
    )


PEERS: dict[tuple[str, str], tuple[Peer, dict[str, Any]]] = {
    ("saliency", "captum"): (by_captum(captum.attr.Saliency), {}),
    ("saliency", "paper"): (by_captum(captum.attr.Saliency), {}),
    ("input_x_gradient", "captum"): (by_captum(captum.attr.InputXGradient), {}),
    ("input_x_gradient", "zennit"): (
        lambda net, x, layers, classes: x * by_zennit(zennit.attribution.Gradient)(net, x, layers, classes),
        {},
    ),
    ("integrated_gradients", "captum"): (by_captum(captum.attr.IntegratedGradients), {}),
    ("integrated_gradients", "zennit"): (by_zennit(zennit.attribution.IntegratedGradients), {}),
    ("occlusion", "captum"): (
        by_captum(captum.attr.Occlusion, sliding_window_shapes=(3, 92, 92)),
        {"window": 92},
    ),
    ("grad_cam", "captum"): (by_captum_cam, {}),
    **{
        (ours, "grad-cam"): (by_grad_cam(theirs), {})
        for ours, theirs in {
            "grad_cam": pytorch_grad_cam.GradCAM,
            "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
            "layer_cam": pytorch_grad_cam.LayerCAM,
            "score_cam": pytorch_grad_cam.ScoreCAM,
            "ablation_cam": pytorch_grad_cam.AblationCAM,
        }.items()
    },
    **{
        (ours, "torchcam"): (by_torchcam(theirs), {})
        for ours, theirs in {
            "grad_cam": torchcam.methods.GradCAM,
            "layer_cam": torchcam.methods.LayerCAM,
            "score_cam": torchcam.methods.ScoreCAM,
        }.items()
    },
    **{(method, "paper"): (paper(method), {}) for method in PROFILES if method.endswith("cam") or "cam_" in method},
}
ROWS = [(method, library) for method, rows in PROFILES.items() for library in rows]


def test_every_row_of_the_table_is_compared() -> None:
    assert set(ROWS) == set(PEERS)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score-CAM and Ablation-CAM draw progress bars."""
    for module in ("score_cam", "ablation_cam"):
        monkeypatch.setattr(f"pytorch_grad_cam.{module}.tqdm.tqdm", lambda items: items)


FEW_CHANNELS = "layer2"
"""128 channels: Score-CAM and Ablation-CAM of the peers take a pass for each."""


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("method", "library"), ROWS)
def test_like_a_library_is_what_the_library_returns(method: str, library: str) -> None:
    x = pictures(1, 96, dtype=torch.float32)
    layers = [FEW_CHANNELS if method in ("score_cam", "ablation_cam") else "layer4"] * takes_layer(method)
    ours, theirs = both(method, library, x, layers)
    # single precision, OpenCV's own weights, and eps of 1e-7 to 1e-8 in other places; torchcam scales Score-CAM's masks to
    # [0, 1] before it upsamples them, where the paper does it after: masks that differ by up to 5 %
    assert relative(ours.expand_as(theirs), theirs) < (2e-3 if (method, library) == ("score_cam", "torchcam") else 1e-4)


@pytest.mark.parametrize(("method", "library"), [row for row in ROWS if row[0] in ("grad_cam", "layer_cam")])
def test_several_layers_like_a_library(method: str, library: str) -> None:
    if library in ("captum", "paper"):
        return  # they know no fusion
    ours, theirs = both(method, library, pictures(2, 96, dtype=torch.float32), ["layer3", "layer4"])
    assert relative(ours, theirs) < 1e-4


def takes_layer(method: str) -> bool:
    return "map_of_layer" in tp.lookup(method).laws


def both(method: str, library: str, x: Tensor, layers: list[str]) -> tuple[Tensor, Tensor]:
    """Ours and theirs, of the predicted class: for that there is positive evidence, and no library has to invent a map."""
    peer, given = PEERS[method, library]
    with torch.no_grad():
        classes = network("resnet18")(x).argmax(1).tolist()
    keywords = {"layer": layers, **given} if layers else given
    ours = tp.lookup(method).function(model("resnet18"), x, classes, like=library, **keywords)
    assert set(ours.status) == {"ok"}
    return ours.values, peer(network("resnet18"), x.clone(), layers, classes)


def test_why_grad_cam_plus_plus_has_no_profile_of_torchcam() -> None:
    """torchcam divides `alpha[mask]`, which is a copy: what it returns is weighed by g^2 ReLU(g), undivided."""
    x, net = pictures(1, 96, dtype=torch.float32), network("resnet18")
    classes = net(x).argmax(1).tolist()
    theirs = by_torchcam(torchcam.methods.GradCAMpp)(net, x.clone(), ["layer4"], classes)
    maps, grads = layer_gradient(as_score(model("resnet18"), x, classes), x, "layer4")
    undivided = ((grads**2 * grads.relu()).sum((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    undivided = undivided - undivided.amin()
    assert relative(undivided / (undivided.amax() + 1e-8), theirs) < 1e-4
