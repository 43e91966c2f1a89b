"""`like=` gives what the library itself returns: one line for every row of the table, settings and all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import captum.attr
import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
import zennit.attribution
import zennit.composites
from oracle_networks import model, network, relative, side
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from zoo import pictures

import tapetum as tp
from tapetum.border.profiles import PROFILES
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.perturb.games import replayed
from tapetum.engines.scores import as_score
from tapetum.engines.statistics import Draws

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
            _, relevance = attributor(x, torch.eye(20, dtype=x.dtype)[classes])
        return relevance.detach()

    return values


def by_zennit_lrp(net: nn.Module, x: Tensor, _: list[str], classes: list[int]) -> Tensor:
    """zennit has no default composite and no seed of its own: ours, and the score."""
    start = lambda output: torch.eye(20, dtype=x.dtype)[classes] * output.detach()  # noqa: E731
    with zennit.attribution.Gradient(net, zennit.composites.EpsilonPlus(), attr_output=start) as attributor:
        return attributor(x)[1].detach()


def by_captum_lrp(net: nn.Module, x: Tensor, _: list[str], classes: list[int]) -> Tensor:
    """captum has no rule for nn.Flatten: the same network with a functional one, and ReLUs that are not in place."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = [nn.ReLU() if isinstance(part, nn.ReLU) else part for part in net.features]
            self.features, self.pool, self.classifier = nn.Sequential(*parts), net.pool, net.classifier

        def forward(self, images: Tensor) -> Tensor:
            return self.classifier(torch.flatten(self.pool(self.features(images)), 1))

    return captum.attr.LRP(Flat()).attribute(x.requires_grad_(), target=classes).detach()


def by_captum_guided(net: nn.Module, x: Tensor, layers: list[str], classes: list[int]) -> Tensor:
    peer = captum.attr.GuidedGradCam(net, net.get_submodule(layers[0]))
    return peer.attribute(x.requires_grad_(), classes).detach()


def by_captum_shap(net: nn.Module, x: Tensor, _: list[str], classes: list[int]) -> Tensor:
    """Over the places that our seed draws: captum takes them from NumPy's global generator."""
    shares = np.array(Draws.of(torch.Generator().manual_seed(0), 5).shares)
    with mock.patch("numpy.random.uniform", return_value=shares):
        return captum.attr.GradientShap(net).attribute(x, torch.zeros_like(x), target=classes).detach()


def by_captum_orders(net: nn.Module, x: Tensor, _: list[str], classes: list[int]) -> Tensor:
    """Over the orders that our seed draws."""
    orders = torch.rand(25, 9, generator=replayed(torch.Generator().manual_seed(0))()).argsort(1).tolist()
    peer = captum.attr.ShapleyValueSampling(net)
    peer.permutation_generator = lambda _features, samples: orders[:samples]
    return peer.attribute(x, target=classes, feature_mask=NINE)[:, :1]


NINE = torch.arange(9).view(3, 3).repeat_interleave(11, 0).repeat_interleave(11, 1)[:32, :32].contiguous()
"""Segments of an image of 32 px."""


def paper(method: str, *, relu: bool = True, **given: Any) -> Peer:
    """Most papers end in a ReLU: nobody's code, our own signed values."""

    def values(_net: nn.Module, x: Tensor, layers: list[str], classes: list[int]) -> Tensor:
        ours = tp.lookup(method).function(model("resnet18"), x, classes, layer=layers[0], **given).values
        return ours.relu() if relu else ours

    return values


SAMPLED: dict[str, dict[str, Any]] = {
    "smooth_grad_cam_plus_plus": {"n_samples": 4},
    "ss_cam": {"n_samples": 1},
    "is_cam": {"n_steps": 1},
}
"""Fewer passes."""


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
            "xgrad_cam": pytorch_grad_cam.XGradCAM,
            "hires_cam": pytorch_grad_cam.HiResCAM,
            "shapley_cam": pytorch_grad_cam.ShapleyCAM,
            "fem": pytorch_grad_cam.FEM,
            "full_grad": pytorch_grad_cam.FullGrad,
        }.items()
    },
    **{
        (ours, "torchcam"): (by_torchcam(theirs), {})
        for ours, theirs in {
            "grad_cam": torchcam.methods.GradCAM,
            "layer_cam": torchcam.methods.LayerCAM,
            "score_cam": torchcam.methods.ScoreCAM,
            "xgrad_cam": torchcam.methods.XGradCAM,
            "finer_cam": torchcam.methods.FinerCAM,
            "cam": torchcam.methods.CAM,
        }.items()
    },
    **{
        (method, "paper"): (paper(method, **SAMPLED.get(method, {})), SAMPLED.get(method, {}))
        for method in PROFILES
        if (method.endswith("cam") or "cam_" in method) and "paper" in PROFILES[method]
    },
    **{(method, "paper"): (paper(method, relu=False), {}) for method in ("cam", "guided_grad_cam")},
    ("gradient_shap", "captum"): (by_captum_shap, {}),
    ("deep_lift", "captum"): (by_captum(captum.attr.DeepLift), {}),
    ("guided_backprop", "captum"): (by_captum(captum.attr.GuidedBackprop), {}),
    ("deconvnet", "captum"): (by_captum(captum.attr.Deconvolution), {}),
    ("guided_backprop", "zennit"): (
        by_zennit(zennit.attribution.Gradient, composite=zennit.composites.GuidedBackprop()),
        {},
    ),
    ("deconvnet", "zennit"): (by_zennit(zennit.attribution.Gradient, composite=zennit.composites.DeconvNet()), {}),
    ("guided_grad_cam", "captum"): (by_captum_guided, {}),
    ("lrp", "captum"): (by_captum_lrp, {}),
    ("lrp", "zennit"): (by_zennit_lrp, {}),
    ("feature_ablation", "captum"): (by_captum(captum.attr.FeatureAblation, feature_mask=NINE), {"segments": NINE}),
    ("shapley_sampling", "captum"): (by_captum_orders, {"segments": NINE}),
}
ROWS = [(method, library) for method, rows in PROFILES.items() for library in rows]


def test_every_row_of_the_table_is_compared() -> None:
    assert set(ROWS) == set(PEERS)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score-CAM and Ablation-CAM draw progress bars."""
    for module in ("score_cam", "ablation_cam"):
        monkeypatch.setattr(f"pytorch_grad_cam.{module}.tqdm.tqdm", lambda items: items)


FEW_CHANNELS = "layer1"
"""64 channels: methods of masks take a pass for each."""

LAYERS = dict.fromkeys(("score_cam", "ablation_cam", "ss_cam", "is_cam"), FEW_CHANNELS) | dict.fromkeys(
    ("fem", "guided_grad_cam"),
    "layer3",  # 6 x 6 places: of 3 x 3 none is a peak, and upsampling hardly matters
)

NETWORKS = {
    "lrp": "vgg16", "deep_lift": "chain", "integrated_gradients": "chain",
    "feature_ablation": "functional", "shapley_sampling": "functional",
}  # fmt: skip
"""Else resnet18: captum's LRP and DeepLift refuse ReLU modules that are used twice, its DeepLift does not complete behind a
maximum, zennit needs a canonizer for batch-norms; networks for passes by the hundred are small."""

DOUBLE = ("integrated_gradients", "gradient_shap", "deep_lift", "lrp")
"""Where a place next to a ReLU's kink or a denominator that nearly cancels shows in single precision."""

TOLERANCES = {
    # torchcam scales Score-CAM's masks to [0, 1] before it upsamples them, the paper after: masks differ by up to 5 %
    ("score_cam", "torchcam"): 2e-3,
    # grad-cam adds 1e-7 to the range of every channel, some of which are of that order
    ("full_grad", "grad-cam"): 2e-2,
}
"""Else 1e-4: single precision, OpenCV's own weights, and eps of 1e-7 to 1e-8 in other places."""


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("method", "library"), ROWS)
def test_like_a_library_is_what_the_library_returns(method: str, library: str) -> None:
    name = NETWORKS.get(method, "resnet18")
    x = pictures(1, side(name), dtype=torch.float64 if method in DOUBLE else torch.float32)
    layers = [LAYERS.get(method, "layer4")] * takes_layer(method)
    ours, theirs = both(method, library, x, layers, name)
    assert relative(ours.expand_as(theirs), theirs.to(ours)) < TOLERANCES.get((method, library), 1e-4)


@pytest.mark.parametrize(("method", "library"), [row for row in ROWS if row[0] in ("grad_cam", "layer_cam")])
def test_several_layers_like_a_library(method: str, library: str) -> None:
    if library in ("captum", "paper"):
        return  # they know no fusion
    ours, theirs = both(method, library, pictures(2, 96, dtype=torch.float32), ["layer3", "layer4"])
    assert relative(ours, theirs) < 1e-4


def takes_layer(method: str) -> bool:
    return "layer" in inspect.signature(tp.lookup(method).function).parameters


def both(method: str, library: str, x: Tensor, layers: list[str], name: str = "resnet18") -> tuple[Tensor, Tensor]:
    """Ours and theirs, of the predicted class: for that there is positive evidence, and no library has to invent a map."""
    peer, given = PEERS[method, library]
    net = network(name, x.dtype)
    with torch.no_grad():
        classes = net(x).argmax(1).tolist()
    keywords = {"layer": layers, **given} if layers else given
    ours = tp.lookup(method).function(model(name, x.dtype), x, classes, like=library, **keywords)
    assert set(ours.status) == {"ok"}
    return ours.values, peer(net, x.clone(), layers, classes)


def test_why_grad_cam_plus_plus_has_no_profile_of_torchcam() -> None:
    """torchcam divides `alpha[mask]`, which is a copy: what it returns is weighed by g^2 ReLU(g), undivided."""
    x, net = pictures(1, 96, dtype=torch.float32), network("resnet18")
    classes = net(x).argmax(1).tolist()
    theirs = by_torchcam(torchcam.methods.GradCAMpp)(net, x.clone(), ["layer4"], classes)
    maps, grads = layer_gradient(as_score(model("resnet18"), x, classes), x, "layer4")
    undivided = ((grads**2 * grads.relu()).sum((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    undivided = undivided - undivided.amin()
    assert relative(undivided / (undivided.amax() + 1e-8), theirs) < 1e-4
