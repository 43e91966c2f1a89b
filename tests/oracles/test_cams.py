"""The CAM family against closed forms, other libraries' classes, and plain loops."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
from oracle_networks import model, network, relative, side
from torch import Tensor, nn
from torch.nn import functional as F
from zoo import conv, pictures, shared, wrapped

import tapetum as tp
from tapetum.types import LayerError, MethodError

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
        return self.head(F.gelu(self.hidden(self.first(x).mean((2, 3)))))


def test_shapley_cam_equals_the_weights_of_the_whole_hessian() -> None:
    torch.manual_seed(0)
    net, x = Smooth().double(), pictures(1)
    acts = net.first(x).detach()

    def tail(flat: Tensor) -> Tensor:
        maps = flat.view_as(acts)
        return net.head(F.gelu(net.hidden(maps.mean((2, 3)))))[0, 1]

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


# --- principal components


def grad_cams(method: type, name: str, layer: str, **more: Any) -> Tensor:
    """grad-cam's map of two images before its upsampling, (2, h, w), in whatever sign it has."""
    net, classes = network(name), targets(name)
    net.requires_grad_(True)
    try:
        with method(model=net, target_layers=[net.get_submodule(layer)], **more) as cam:
            cam.outputs = cam.activations_and_grads(images(name))
            wanted = [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(target) for target in classes]
            sum(target(output) for target, output in zip(wanted, cam.outputs, strict=True)).backward()
            seen = [
                part[0].detach().numpy()
                for part in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
            ]
            return torch.from_numpy(cam.get_cam_image(None, None, None, *seen, False))
    finally:
        net.requires_grad_(False)
        net.zero_grad()


PEERS = {
    "eigen_cam": pytorch_grad_cam.EigenCAM,
    "eigen_grad_cam": pytorch_grad_cam.EigenGradCAM,
    "kpca_cam": pytorch_grad_cam.KPCA_CAM,
}


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer3"), ("vgg16", "features.22")])
@pytest.mark.parametrize("method", PEERS)
def test_components_equal_grad_cams_but_for_the_sign(method: str, name: str, layer: str) -> None:
    ours = tp.lookup(method).function(model(name), images(name), targets(name), layer=layer).values[:, 0]
    expected = grad_cams(PEERS[method], name, layer)
    signs = (ours * expected).sum((1, 2), keepdim=True).sign()
    # single precision: components are as exact as the gap between the first two eigenvalues allows
    assert relative(ours * signs, expected) < 1e-3


def test_kpca_cam_equals_grad_cams_with_another_kernel_and_is_eigen_cam_with_the_linear_one() -> None:
    x, classes = images("resnet18"), targets("resnet18")
    ours = tp.kpca_cam(model("resnet18"), x, classes, layer="layer3", kernel="rbf", gamma=0.01).values[:, 0]
    expected = grad_cams(pytorch_grad_cam.KPCA_CAM, "resnet18", "layer3", kernel="rbf", gamma=0.01)
    assert relative(ours * (ours * expected).sum((1, 2), keepdim=True).sign(), expected) < 1e-3
    linear, eigen = (
        tp.kpca_cam(shared("residual"), pictures(2), 1, kernel="linear"),
        tp.eigen_cam(shared("residual"), pictures(2), 1),
    )
    torch.testing.assert_close(linear.values, eigen.values, rtol=1e-7, atol=1e-9)


def test_kpca_cam_refuses_maps_whose_pairs_of_places_do_not_fit() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = conv(3, 4), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x).mean((2, 3)))

    with pytest.raises(MethodError, match=r"first has 80 x 80, more than 4096; name a later layer or use eigen_cam"):
        tp.kpca_cam(wrapped(Wide().double()), pictures(1, 80), 1, layer="first")


class Rearranged(nn.Module):
    """Two convolutions and a head, with the channels between them in another order and with other signs."""

    def __init__(self, order: Tensor, signs: Tensor) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.head = conv(3, 6), conv(6, 8), nn.Linear(8, 5)
        with torch.no_grad():
            for weights in (self.first.weight, self.first.bias):
                weights[:] = (weights.transpose(0, -1) * signs).transpose(0, -1)[order]
            self.second.weight[:] = (self.second.weight * signs[:, None, None])[:, order]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.second(self.first(x))).mean((2, 3)))


@pytest.mark.parametrize("method", PEERS)
def test_neither_the_order_nor_the_sign_of_channels_turns_a_component_around(method: str) -> None:
    """The same function of the image; grad-cam's sign follows whatever the SVD returns."""
    as_it_was = wrapped(Rearranged(torch.arange(6), torch.ones(6)).double())
    expected = tp.lookup(method).function(as_it_was, pictures(4), 1, layer="first").values
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        order, signs = torch.randperm(6, generator=generator), torch.randint(0, 2, (6,), generator=generator) * 2.0 - 1
        other = wrapped(Rearranged(order, signs).double())
        torch.testing.assert_close(tp.lookup(method).function(other, pictures(4), 1, layer="first").values, expected)


@pytest.mark.parametrize("method", ["eigen_cam", "kpca_cam"])
def test_the_sign_is_the_one_that_helps_the_score(method: str) -> None:
    """Behind global average pooling the score of the places alone is the map's product with the class's CAM."""
    for target in range(5):
        result = tp.lookup(method).function(shared("residual"), pictures(3), target)
        evidence = tp.cam(shared("residual"), pictures(3), target).values
        assert ((result.values * evidence).sum((1, 2, 3)) > 0).all()


# --- several passes


def test_smooth_grad_cam_plus_plus_without_noise_equals_torchcams() -> None:
    """With noise, torchcam 0.5.0 adds up the activations of its last noisy copy, and weighs by ReLU(g) of that copy alone."""
    ours = tp.smooth_grad_cam_plus_plus(model("resnet18"), images("resnet18"), targets("resnet18"), n_samples=2, sigma=0)
    assert ours.layer == "layer4"
    expected = theirs(torchcam.methods.SmoothGradCAMpp, "resnet18", "layer4", num_samples=2, std=1e-9)
    assert relative(min_max(ours.heatmap(size=None)), expected) < 1e-4  # single precision, cubes of gradients


def test_smooth_grad_cam_plus_plus_equals_a_plain_loop_and_its_error_is_that_of_repetition() -> None:
    net, x, n = shared("functional"), pictures(2), 24
    ours = tp.smooth_grad_cam_plus_plus(net, x, 1, layer="two", n_samples=n, sigma=0.2, seed=5)
    noise = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(5)).double()
    for row, image in enumerate(x):
        grads, clean = [], None
        for one in [torch.zeros_like(image), *(noise * 0.2 * (image.max() - image.min()))]:
            acts = net.module.two(F.relu(net.module.one((image + one)[None]))).detach().requires_grad_()
            later = net.module.four(net.module.three(acts.relu()).clamp(min=0)).clamp(min=0)
            (grad,) = torch.autograd.grad(net.module.head(later)[0, 1], acts)
            clean = acts.detach()[0] if clean is None else clean
            grads.append(grad[0])
        g = torch.stack(grads[1:])
        d1, d2, d3 = g.mean(0), (g**2).mean(0), (g**3).mean(0)
        alpha = d2 / (2 * d2 + clean.sum((1, 2), keepdim=True) * d3 + 1e-8)
        weights = (alpha * d1.clamp(min=0)).sum((1, 2))
        torch.testing.assert_close(ours.values[row, 0], torch.einsum("k,khw->hw", weights, clean))

    many = [tp.smooth_grad_cam_plus_plus(net, x, 1, layer="two", n_samples=n, sigma=0.2, seed=seed) for seed in range(40)]
    spread = torch.stack([one.values for one in many]).std(0)
    claimed = torch.stack([one.stderr for one in many if one.stderr is not None]).mean(0)
    # a standard deviation from 40 runs is off by about 11 percent, the jackknife of eight parts by a little more
    assert 0.6 < float((claimed / spread).median()) < 1.7


def test_smooth_grad_cam_plus_plus_stops_at_its_tolerance_each_image_alone() -> None:
    calm = tp.smooth_grad_cam_plus_plus(shared("reused"), pictures(2), 1, n_samples=400, tolerance=0.5)
    short = tp.smooth_grad_cam_plus_plus(shared("reused"), pictures(2), 1, n_samples=16)
    torch.testing.assert_close(calm.values, tp.smooth_grad_cam_plus_plus(
        shared("reused"), pictures(2), 1, n_samples=400, tolerance=0.5, batch=3).values)  # fmt: skip
    assert calm.stderr is not None
    assert short.values.shape == calm.values.shape
    assert (calm.stderr.mean((1, 2, 3)) <= 0.5 * calm.values.abs().amax((1, 2, 3))).all()


@pytest.mark.parametrize(("n_classes", "alpha"), [(3, 1.0), (2, 0.6), (30, 1.0)])
def test_finer_cam_equals_torchcams(n_classes: int, alpha: float) -> None:
    x, net, classes = images("resnet18"), network("resnet18"), targets("resnet18")
    ours = tp.finer_cam(model("resnet18"), x, classes, n_classes=n_classes, alpha=alpha)
    net.requires_grad_(True)
    try:
        with torchcam.methods.FinerCAM(net, "layer4", gamma=alpha, num_references=n_classes) as cam:
            (expected,) = cam(classes, net(x))
    finally:
        net.requires_grad_(False)
    assert relative(min_max(ours.heatmap(size=None)), expected.detach()) < 1e-4


def test_finer_cam_with_one_class_is_grad_cam_of_the_contrast_and_equals_grad_cams() -> None:
    """grad-cam weighs several classes by their probabilities and differentiates the weights; one class has no weight."""
    x, net, classes = images("resnet18"), network("resnet18"), targets("resnet18")
    runners_up = net(x).topk(2, 1).indices[:, 1].tolist()
    ours = tp.finer_cam(model("resnet18"), x, classes, n_classes=1)
    contrasts = [tp.contrast(a, b) for a, b in zip(classes, runners_up, strict=True)]
    assert relative(ours.values, tp.grad_cam(model("resnet18"), x, contrasts).values) < 1e-4
    assert "is set apart from" in ours.notes[-1]
    net.requires_grad_(True)
    try:
        with pytorch_grad_cam.FinerCAM(net, [net.get_submodule("layer4")]) as cam:
            expected = torch.from_numpy(cam(x, comparison_categories=[1], alpha=1))
    finally:
        net.requires_grad_(False)
    assert (min_max(ours.heatmap()) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("target", [tp.contrast(1, 2), lambda out: out[:, 0]])
def test_finer_cam_refuses_what_is_no_class(target: Any) -> None:
    with pytest.raises(MethodError, match=r"give a class, or contrast\(a, b\) to grad_cam"):
        tp.finer_cam(shared("residual"), pictures(1), target)


def test_refine_cam_equals_torchcams() -> None:
    """On layers where torchcam's Grad-CAM++ is the paper's: it divides a copy of its alphas and goes on without."""
    x, classes = images("resnet18"), targets("resnet18")
    ours = tp.refine_cam(model("resnet18"), x, classes)
    assert "layers layer2, layer3, layer4 were chosen" in ours.notes[0]
    peers = [grad_cams(pytorch_grad_cam.GradCAMPlusPlus, "resnet18", layer) for layer in ("layer2", "layer3", "layer4")]
    expected = torchcam.methods.RefineCAM.fuse_cams([one.clamp(min=0) for one in peers], normalized=False)
    assert relative(ours.values[:, 0], expected) < 1e-4


def test_refine_cam_takes_layers_by_name_and_says_what_it_cannot_do() -> None:
    named = tp.refine_cam(shared("branches"), pictures(1), 1, layers="stem,last")
    torch.testing.assert_close(named.values, tp.refine_cam(shared("branches"), pictures(1), 1, layers=["stem", "last"]).values)
    with pytest.raises(LayerError, match="multiplies the maps of several layers, and norm is one: name more with layers="):
        tp.refine_cam(shared("vit_mean"), pictures(1), 1)
    with pytest.raises(LayerError, match="head of branches gives no map"):
        tp.refine_cam(shared("branches"), pictures(1), 1, layers="stem,head")


# --- weights from scores


class _InThePapersOrder:
    """torchcam's loops over masks that are upsampled, then scaled, with one noise image for all channels."""

    def _upsample(self, activation: Tensor) -> Tensor:
        large = F.interpolate(activation, self._input.shape[2:], mode="bilinear", align_corners=False)
        low = large.amin((2, 3), keepdim=True)
        return (large - low) / (large.amax((2, 3), keepdim=True) - low + 1e-8)

    @staticmethod
    def _normalize(cams: Tensor, spatial_dims: int | None = None, eps: float = 1e-8) -> Tensor:
        return cams  # the map itself too: its values are compared as they are


class SmoothedScoreCAM(_InThePapersOrder, torchcam.methods.SSCAM):
    pass


def test_ss_cam_equals_torchcams_with_the_same_noise() -> None:
    net, x = network("functional"), images("functional", 1)
    target = net(x).argmax(1).tolist()
    ours = tp.ss_cam(model("functional"), x, target, layer="three", n_samples=3, seed=4, align_corners=False)
    noise = iter(2 * torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(4)))
    with SmoothedScoreCAM(net, "three", num_samples=3) as cam:
        cam._distrib = type("Same", (), {"sample": lambda _self, size: next(noise).expand(size)})()
        net(x)
        (expected,) = cam(target)
    assert relative(ours.heatmap(size=None), expected) < 1e-4  # single precision under a softmax


def test_is_cam_equals_torchcams_where_its_factors_are_ours() -> None:
    """At one step; at more, torchcam adds the factors up beyond one."""

    class Integrated(_InThePapersOrder, torchcam.methods.ISCAM):
        pass

    net, x = network("functional"), images("functional", 1)
    target = net(x).argmax(1).tolist()
    with Integrated(net, "three", num_samples=1) as cam:
        net(x)
        (expected,) = cam(target)
    for method in (tp.is_cam, tp.score_cam):
        steps = {"n_steps": 1} if method is tp.is_cam else {}
        ours = method(model("functional"), x, target, layer="three", align_corners=False, **steps)
        assert relative(ours.heatmap(size=None), expected) < 1e-4


def test_is_cam_equals_a_plain_loop() -> None:
    net, x = shared("functional"), pictures(1)
    with tp.capture(net.module, ["two"]) as acts:
        net.module(x)
    maps, scores = acts["two"][0].detach(), []
    for one in maps:
        large = F.interpolate(one[None, None], (16, 16), mode="bilinear", align_corners=True)
        mask = (large - large.min()) / (large.max() - large.min())
        scores.append(sum(net.module(x * mask * i / 4)[0, 2] for i in (1, 2, 3, 4)) / 4)
    expected = torch.einsum("k,khw->hw", torch.stack(scores).softmax(0), maps).detach()
    values = tp.is_cam(net, x, 2, layer="two", n_steps=4).values[0, 0]
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-9)  # 1e-8 in the range of the masks


def test_score_cam_computes_constant_channels_once_and_gives_what_all_passes_give() -> None:
    """Half of the channels are dead and one is constant; grad-cam's own loop over every channel is the reference."""

    class Dying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.head = conv(3, 12), nn.Linear(12, 5)
            with torch.no_grad():
                self.first.weight[::2] = 0
                self.first.bias[::2] = -1
                self.first.bias[4] = 0.3

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x).relu().mean((2, 3)))

    net, x = Dying().double(), pictures(1)
    passes: list[int] = []
    wrapped_net = wrapped(nn.Sequential(net.first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head))
    tp.score_cam(wrapped_net, x, 1, layer="1")
    handle = wrapped_net.replica.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    values = tp.score_cam(wrapped_net, x, 1, layer="1").values
    handle.remove()
    maps = net.first(x).relu().detach()
    scores = []
    for one in maps[0]:
        large = F.interpolate(one[None, None], (16, 16), mode="bilinear", align_corners=True)
        flat = one.max() == one.min()
        mask = torch.zeros_like(large) if flat else (large - large.min()) / (large.max() - large.min())
        scores.append(net(x * mask)[0, 1])
    expected = torch.einsum("k,khw->hw", torch.stack(scores).softmax(0), maps[0]).detach()
    torch.testing.assert_close(values[0, 0], expected, rtol=1e-6, atol=1e-9)
    assert sum(passes) <= 6 + 1 + 2  # six live channels, one for all others, two of the image for layer and note


@pytest.mark.parametrize("method", ["score_cam", "is_cam", "ss_cam"])
def test_score_weights_do_not_change_with_the_batch_size(method: str) -> None:
    settings = {"ss_cam": {"n_samples": 1}, "is_cam": {"n_steps": 1}}.get(method, {})
    run = tp.lookup(method).function
    maps = [
        run(model("resnet18"), images("resnet18", 1), 3, layer="layer1", batch=size, **settings).values for size in (1, 5, 48)
    ]
    for other in maps[1:]:  # convolutions choose other kernels for other batches: 1e-6 in a score, and so in its softmax
        assert relative(other, maps[0]) < 1e-5


def test_score_cam_and_rise_do_not_change_with_the_batch_size_in_double_precision() -> None:
    for method, settings in (("score_cam", {}), ("rise", {"n_masks": 40, "seed": 2}), ("ss_cam", {"n_samples": 4})):
        run = tp.lookup(method).function
        one, many = (run(shared("residual"), pictures(2), 1, batch=size, **settings).values for size in (1, 13))
        torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-14)


def test_ss_cam_has_the_error_of_repetition() -> None:
    many = [tp.ss_cam(shared("functional"), pictures(1), 1, n_samples=12, sigma=0.5, seed=seed) for seed in range(40)]
    spread = torch.stack([one.values for one in many]).std(0)
    claimed = torch.stack([one.stderr for one in many if one.stderr is not None]).mean(0)
    assert 0.7 < float((claimed / spread).median()) < 1.4  # a standard deviation from 40 runs is off by about 11 percent


# --- all layers


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_full_grad_equals_grad_cams_on_networks_of_relu_modules(name: str) -> None:
    x, net, classes = images(name), network(name), targets(name)
    ours = tp.full_grad(model(name), x, classes).values[:, 0]
    net.requires_grad_(True)
    try:
        with pytorch_grad_cam.FullGrad(net, []) as cam:
            wanted = [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(target) for target in classes]
            expected = torch.from_numpy(cam(x, wanted))
    finally:
        net.requires_grad_(False)
    # grad-cam adds 1e-7 to the range of every channel, some of which are of that order, and resizes each by itself
    assert (min_max(ours) - expected).abs().max() < 0.02
    for one, other in zip(min_max(ours), expected, strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.999


def test_full_grad_of_the_authors_code_scales_each_layer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).double()
    x = pictures(1)
    leaf = x.clone().requires_grad_()
    conv = net[0](leaf)
    at_conv, at_input = torch.autograd.grad(net[1:](conv)[0, 2], [conv, leaf])
    expected = torch.zeros(16, 16, dtype=torch.float64)
    for term in (at_conv * net[0].bias[:, None, None], at_input * x):
        size = (term.abs() - term.abs().min()) / (term.abs().max() - term.abs().min())
        expected += F.interpolate(size, (16, 16), mode="bilinear", align_corners=False).sum((0, 1)).detach()
    torch.testing.assert_close(tp.full_grad(wrapped(net), x, 2, rescale="layer").values[0, 0], expected - expected.min())
