"""The CAM family against closed forms, other libraries' classes, and plain loops."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
import torchcam.methods
from oracle_networks import model, network, relative, side
from torch import Tensor, nn
from zoo import conv, pictures, shared, wrapped

import tapetum as tp
from tapetum.types import MethodError

pytestmark = pytest.mark.oracle


def images(name: str, n: int = 2) -> Tensor:
    return pictures(n, side(name), dtype=torch.float32)


def targets(name: str, n: int = 2) -> list[int]:
    return network(name)(images(name, n)).argmax(1).tolist()


def min_max(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def theirs(method: type, name: str, layer: str, **more: Any) -> Tensor:
    """torchcam's map of two images, (2, h, w) in [0, 1]."""
    net, classes = network(name), targets(name)
    logging.getLogger("torchcam").setLevel(logging.ERROR)
    net.requires_grad_(True)
    try:
        with method(net, target_layer=layer, **more) as cam:
            (values,) = cam(classes, net(images(name)))
    finally:
        net.requires_grad_(False)
    return values.detach()


# --- cam


def test_cam_is_the_sum_of_the_activations_times_the_rows_of_the_linear_layer() -> None:
    x, net = images("resnet18"), network("resnet18")
    result = tp.cam(model("resnet18"), x, [3, 5])
    with tp.capture(net, ["layer4"]) as acts:
        net(x)
    weights = net.get_parameter("fc.weight")[[3, 5]]
    # single precision: the weights come back from a gradient divided by nine places
    assert relative(result.values[:, 0], torch.einsum("nk,nkhw->nhw", weights, acts["layer4"])) < 1e-5


def test_cam_equals_torchcams_where_that_finds_the_right_linear_layer() -> None:
    ours = tp.cam(model("resnet18"), images("resnet18"), targets("resnet18"), layer="layer4")
    # torchcam scales without the ReLU of its own formula
    assert relative(min_max(ours.values[:, 0]), theirs(torchcam.methods.CAM, "resnet18", "layer4")) < 1e-5


class Hidden(nn.Module):
    """Two linear layers with a ReLU between behind the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 8), nn.ReLU())
        self.hidden, self.out = nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(self.features(x).mean((2, 3))).relu())


class MaxPooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(conv(3, 8), nn.ReLU()), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).amax((2, 3)))


class Normed(nn.Module):
    """A batch-norm between pooling and head: torchcam's weights leave it out."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.norm, self.head = nn.Sequential(conv(3, 8), nn.ReLU()), nn.BatchNorm1d(8), nn.Linear(8, 5)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean((2, 3))))


@pytest.mark.parametrize("seed", range(5))  # small features and large biases may leave every ReLU as it is
@pytest.mark.parametrize("head", [Hidden, MaxPooled])
def test_cam_refuses_heads_that_are_not_linear(head: type[nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    with pytest.raises(MethodError, match=r"^cam needs global average pooling .* behind features is .*; use grad_cam$"):
        tp.cam(wrapped(head().double()), pictures(2), 1)


def test_cam_takes_the_norm_of_the_head_into_its_weights() -> None:
    torch.manual_seed(0)
    net = Normed().double().eval()
    result = tp.cam(wrapped(net), pictures(2), 1)
    weights = net.head.weight[1] * net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()
    expected = torch.einsum("k,nkhw->nhw", weights.detach(), net.features(pictures(2)).detach())
    torch.testing.assert_close(result.values[:, 0], expected)


def test_cam_of_a_probability_is_refused_and_of_a_contrast_is_the_difference() -> None:
    with pytest.raises(MethodError, match="only linear layers"):
        tp.cam(shared("residual"), pictures(1), lambda out: out.softmax(1)[:, 1])
    contrast = tp.cam(shared("residual"), pictures(1), tp.contrast(1, 2)).values
    one, two = (tp.cam(shared("residual"), pictures(1), target).values for target in (1, 2))
    torch.testing.assert_close(contrast, one - two)


# --- one gradient pass


def test_xgrad_cam_equals_torchcams() -> None:
    ours = tp.xgrad_cam(model("vgg16"), images("vgg16"), targets("vgg16"), layer="features.29")
    # they add 1e-8 where we add 1e-7, to sums over places
    assert relative(min_max(ours.heatmap(size=None)), theirs(torchcam.methods.XGradCAM, "vgg16", "features.29")) < 1e-4


class NoBias(nn.Module):
    """ReLUs and convolutions without biases behind `first`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 6), nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.linear = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.second(self.first(x).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize("method", ["xgrad_cam", "hires_cam"])
def test_values_sum_to_the_score_without_biases_also_with_functional_relus(method: str) -> None:
    """The score is homogeneous of degree one in the layer, so it is sum over k and places of A dS/dA."""
    torch.manual_seed(0)
    net = NoBias().double()
    values = tp.lookup(method).function(wrapped(net), pictures(2), 1, layer="first").values
    # 1e-6: XGrad-CAM adds 1e-7 to sums of activations
    torch.testing.assert_close(values.sum((1, 2, 3)), net(pictures(2))[:, 1].detach(), rtol=1e-5, atol=1e-7)


class Smooth(nn.Module):
    """Curved behind the layer: a GELU after the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.head = conv(3, 4), nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.gelu(self.hidden(self.first(x).mean((2, 3)))))


def test_shapley_cam_equals_the_weights_of_the_whole_hessian() -> None:
    torch.manual_seed(0)
    net, x = Smooth().double(), pictures(1)
    acts = net.first(x).detach()

    def tail(flat: Tensor) -> Tensor:
        maps = flat.view_as(acts)
        return net.head(nn.functional.gelu(net.hidden(maps.mean((2, 3)))))[0, 1]

    grad = torch.autograd.functional.jacobian(tail, acts.flatten())
    hessian = torch.autograd.functional.hessian(tail, acts.flatten())
    assert hessian.abs().max() > 1e-9  # else nothing is compared
    weights = (grad - hessian @ acts.flatten() / 2).view_as(acts).mean((2, 3), keepdim=True)
    torch.testing.assert_close(tp.shapley_cam(wrapped(net), x, 1).values, (weights * acts).sum(1, keepdim=True))


@pytest.mark.parametrize("name", ["in_place", "functional", "reused", "residual"])
def test_shapley_cam_is_grad_cam_where_the_tail_is_piecewise_linear(name: str) -> None:
    one, two = (tp.lookup(m).function(shared(name), pictures(2), 1).values for m in ("shapley_cam", "grad_cam"))
    torch.testing.assert_close(one, two)


def test_shapley_cam_differs_from_grad_cam_on_a_transformer() -> None:
    one, two = (tp.lookup(m).function(shared("vit_token"), pictures(2), 1).values for m in ("shapley_cam", "grad_cam"))
    assert relative(one, two) > 0.01
