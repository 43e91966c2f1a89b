"""A layer that a method works at is one that the answer reads: against autograd and ablation by hand on the plain module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import CLASSES, Answer, conv, net, pictures, shared, wrapped

import tapetum as tp
from tapetum.atlas.evidence import evidence
from tapetum.types import LayerError


class Stages(nn.Module):
    """Two convolutions with ReLUs; `last` gives the map."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(3, 6), nn.ReLU())
        self.last = nn.Sequential(conv(6, 8, 2), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images))


class Backbone(nn.Module):
    """Gives the map beside what is read of it, in any structure."""

    def __init__(self, give: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.stages, self.give = Stages(), give

    def forward(self, images: Tensor) -> Any:
        maps = self.stages(images)
        return self.give(maps, maps.mean((2, 3)))


class Net(nn.Module):
    def __init__(self, give: Callable[[Tensor, Tensor], Any], read: Callable[[Any], Tensor], wide: int = 8) -> None:
        super().__init__()
        self.backbone, self.read, self.head = Backbone(give), read, nn.Linear(wide, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.read(self.backbone(images)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "pair": lambda: Net(lambda maps, pooled: (maps, pooled), lambda out: out[1]),
    "dict": lambda: Net(lambda maps, pooled: {"map": maps, "pooled": pooled}, lambda out: out["pooled"]),
    "dataclass": lambda: Net(lambda maps, pooled: Answer(maps, pooled), lambda out: out.logits),
}


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NETS[name]().double().eval()


def by_hand(net: nn.Module, inner: nn.Module, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits with another output of a module of the plain network."""
    handle = inner.register_forward_hook(lambda _module, _args, output: change(output))
    try:
        return net(images)
    finally:
        handle.remove()


def grad_cam_by_hand(net: nn.Module, inner: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    kept: list[Tensor] = []
    logits = by_hand(net, inner, images, lambda output: kept.append(output) or output)
    (grad,) = torch.autograd.grad(logits[range(len(images)), targets].sum(), kept[0])
    return (grad.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).detach()


def ablation_cam_by_hand(net: nn.Module, inner: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    """sum_k (y - y_k) / |y| A_k, with y_k the score without channel k."""
    kept: list[Tensor] = []
    rows = range(len(images))
    whole = by_hand(net, inner, images, lambda output: kept.append(output) or output)[rows, targets]
    total = torch.zeros_like(kept[0][:, :1])
    for k in range(kept[0].shape[1]):
        keep = torch.ones(kept[0].shape[1], dtype=whole.dtype)
        keep[k] = 0
        without = by_hand(net, inner, images, lambda output, keep=keep: output * keep[:, None, None])[rows, targets]
        total += ((whole - without) / whole.abs())[:, None, None, None] * kept[0][:, k : k + 1]
    return total.detach()


@pytest.mark.parametrize("layer", [None, "backbone"])
@pytest.mark.parametrize("name", list(NETS))
def test_a_map_beside_what_the_head_reads_is_taken_where_it_is_read(name: str, layer: str | None) -> None:
    net, images, targets = built(name), pictures(2), [1, 3]
    model, stages = wrapped(net), net.get_submodule("backbone.stages")
    cam = tp.grad_cam(model, images, targets, layer=layer)
    assert cam.layer == "backbone.stages"
    assert any("does not read what backbone returns" in note for note in cam.notes)
    torch.testing.assert_close(cam.values, grad_cam_by_hand(net, stages, images, targets))
    ablated = tp.ablation_cam(model, images, targets, layer=layer)
    torch.testing.assert_close(ablated.values, ablation_cam_by_hand(net, stages, images, targets))
    steps = tp.grad_cam_steps(model, images, targets, layer=layer)
    torch.testing.assert_close(steps.total, cam.values)
    assert tp.concept_relevance(model, images, targets, layer=layer).layer == "backbone.stages"
    assert float(tp.concept_relevance(model, images, targets, layer=layer).total.abs().min()) > 0


class Branches(nn.Module):
    """The mean of several networks, the others weighed by `share`: no layer has more than one of them."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.members, self.share = nn.ModuleList([net("reused"), net("reused", 1)]), share

    def forward(self, images: Tensor) -> Tensor:
        first, last = (member(images) for member in self.members)
        return self.share * first + last


@pytest.mark.parametrize("method", ["grad_cam", "eigen_cam", "score_cam"])
def test_a_second_branch_that_the_map_leaves_out_is_said(method: str) -> None:
    function, images = tp.lookup(method).function, pictures(2)
    both, alone = (function(wrapped(Branches(share).double().eval()), images, 1) for share in (0.5, 0.0))
    words = "the answer also reads the image on ways past members.1.three (a skip, another branch), which this map leaves out"
    assert both.layer == alone.layer == "members.1.three"
    assert words in both.notes
    assert not any("past" in note for note in alone.notes)  # what is weighed by 0 is not read
    for name in ("in_place", "residual", "vit_token", "channels_last", "branches"):
        assert not any("past" in note for note in function(shared(name), images, 1).notes), name


def test_a_named_layer_that_nothing_reads_is_refused_with_layers_that_work() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages, self.auxiliary, self.head = Stages(), conv(8, 8), nn.Linear(8, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stages(images)
            self.auxiliary(maps)
            return self.head(maps.mean((2, 3)))

    model = wrapped(Unused().double())
    assert tp.grad_cam(model, pictures(1), 1).layer == "stages"
    for method in (tp.grad_cam, tp.ablation_cam, tp.eigen_cam, tp.score_cam, tp.guided_grad_cam, tp.concept_relevance):
        with pytest.raises(LayerError, match=r"does not read what auxiliary returns.*layers that work: stages"):
            method(model, pictures(1), 1, layer="auxiliary")
    with pytest.raises(LayerError, match="does not read what auxiliary returns"):
        tp.refine_cam(model, pictures(1), 1, layers=["stages.first", "auxiliary"])
    with pytest.raises(LayerError, match="does not read what auxiliary returns"):
        tp.excitation_backprop(model, pictures(1), 1, at="auxiliary")
    with pytest.raises(LayerError, match="does not read what auxiliary returns"):
        tp.lrp(model, pictures(1), 1, through="auxiliary:3")
    with pytest.raises(LayerError, match="does not read what auxiliary returns"):
        evidence(model, "auxiliary", torch.randn(4, 8))


def test_a_layer_is_read_by_one_head_and_not_by_the_other() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.left, self.right = Stages(), conv(8, 8), conv(8, 8)
            self.heads = nn.ModuleList([nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)])

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            maps = self.trunk(images)
            left, right = self.left(maps).relu().mean((2, 3)), self.right(maps).relu().mean((2, 3))
            return {"left": self.heads[0](left), "right": self.heads[1](right)}

    torch.manual_seed(0)
    net, images = Two().double().eval(), pictures(1)
    model = wrapped(net)
    for side, other in (("left", "right"), ("right", "left")):
        target = lambda output, side=side: output[side][:, 2]  # noqa: E731
        cam = tp.grad_cam(model, images, target)
        assert cam.layer == side
        assert tp.grad_cam(model, images, target, layer="trunk").layer == "trunk"
        with pytest.raises(LayerError, match=f"does not read what {other} returns"):
            tp.grad_cam(model, images, target, layer=other)


def test_behind_the_last_attention_only_the_class_token_is_read_and_the_refusal_says_so() -> None:
    model = shared("vit_token")
    chosen = tp.grad_cam(model, pictures(1), 1)
    with pytest.raises(LayerError, match=rf"behind blocks the .* class or register tokens alone.*work: {chosen.layer}"):
        tp.ablation_cam(model, pictures(1), 1, layer="blocks")


def test_a_score_with_no_gradient_still_reads_its_layer() -> None:
    model = shared("residual")
    detached = lambda output: output.detach()[:, 1]  # noqa: E731
    torch.testing.assert_close(
        tp.ablation_cam(model, pictures(1), detached, layer="second").values,
        tp.ablation_cam(model, pictures(1), 1, layer="second").values,
    )


def test_an_answer_that_reads_no_map_is_refused_as_such() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages, self.head = Stages(), nn.Linear(3, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            self.stages(images)
            return self.head(images.mean((2, 3)))

    with pytest.raises(LayerError, match="reads no map that was tried"):
        tp.ablation_cam(wrapped(Beside().double()), pictures(1), 1)


def test_a_score_that_is_the_same_for_every_image_is_not_the_fault_of_the_layer() -> None:
    constant = lambda output: torch.ones(len(output), dtype=output.dtype)  # noqa: E731
    assert tp.ablation_cam(shared("residual"), pictures(1), constant).status == ("constant",)


SMALL = {"num_labels": CLASSES}
TOKENS = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 64,
    "patch_size": 16, **SMALL,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("resnet.encoder", {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}),
    "ConvNext": ("convnext.encoder", {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}),
    "ConvNextV2": ("convnextv2.encoder", {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}),
    "MobileNetV1": ("mobilenet_v1.layer.25", {"depth_multiplier": 0.25}),
    "MobileNetV2": ("mobilenet_v2.conv_1x1", {"depth_multiplier": 0.25}),
    "Bit": ("bit.norm", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 4}),
    "Beit": ("beit.layernorm", TOKENS),
    "Swin": ("swin.layernorm", {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}),
    "FocalNet": ("focalnet.layernorm", {"image_size": 64, "embed_dim": 8, "depths": [1, 1]}),
}
"""Hugging Face families whose classifier reads the pooled output of a backbone that gives the map first."""


def family(name: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **FAMILIES[name][1]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(transformers, f"{name}ForImageClassification")(config).double().eval()
        for weight in net.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return net


@pytest.mark.parametrize("name", list(FAMILIES))
def test_classifiers_that_read_the_pooled_output_have_the_gradient_and_the_ablation_of_the_plain_module(name: str) -> None:
    net, images, targets = family(name), pictures(2, 64), [1, 3]
    layer = FAMILIES[name][0]
    model = tp.wrap(net, size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(first(out)) or None)
    logits = net(images).logits
    handle.remove()
    (grad,) = torch.autograd.grad(logits[range(2), targets].sum(), kept[0])
    weighed = (mapped(grad).mean((2, 3), keepdim=True) * mapped(kept[0])).sum(1, keepdim=True).detach()
    cam = tp.grad_cam(model, images, targets)
    assert cam.layer == layer
    torch.testing.assert_close(cam.values, weighed)
    torch.testing.assert_close(tp.grad_cam(model, images, targets, layer=layer.split(".")[0]).values, weighed)
    if kept[0].shape[-1 if kept[0].ndim == 3 else 1] <= 16:
        ablated = tp.ablation_cam(model, images, targets, layer=layer).values
        torch.testing.assert_close(ablated, ablated_by_hand(net, layer, images, targets, kept[0].detach()))


def ablated_by_hand(net: nn.Module, layer: str, images: Tensor, targets: list[int], maps: Tensor) -> Tensor:
    """Tokens in front of the patches keep their values."""
    rows, tokens = range(len(images)), maps.ndim == 3
    whole, total = net(images).logits[rows, targets], torch.zeros_like(mapped(maps)[:, :1])
    for k in range(mapped(maps).shape[1]):
        changed = maps.clone()
        places = changed[:, maps.shape[1] - total[0, 0].numel() :, k] if tokens else changed[:, k]
        places.zero_()
        swap = lambda out, changed=changed: changed if isinstance(out, Tensor) else type(out)(changed)  # noqa: E731
        without = by_hand(net, net.get_submodule(layer), images, swap).logits[rows, targets]
        total += ((whole - without) / whole.abs()).detach()[:, None, None, None] * mapped(maps)[:, k : k + 1]
    return total


def first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def mapped(output: Tensor) -> Tensor:
    """(n, c, h, w) of maps, or of square tokens with or without one in front of them."""
    if output.ndim == 4:
        return output
    side = int(output.shape[1] ** 0.5)
    return output[:, output.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))
