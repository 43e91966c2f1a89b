"""Theoretical receptive fields: published numbers, closed forms, and the extent of gradients as a second derivation."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tapetum.models.layers import survey
from tapetum.models.zoo.inception_v1 import InceptionV1


def fields(net, names, h=224, w=None):
    found = survey(net.eval(), torch.zeros(1, 3, h, w or h, dtype=next(net.parameters()).dtype))
    return [found[name].receptive_field for name in names]


def test_vgg16_has_the_published_fields() -> None:
    with torch.device("meta"):
        net = torchvision.models.vgg16(weights=None)
    names = ["features.0", "features.2", "features.16", "features.28"]
    assert fields(net, names) == [3, 5, 44, 196]


def test_resnet18_layer4_sees_435_pixels_every_32() -> None:
    found = survey(torchvision.models.resnet18(weights=None).eval(), torch.zeros(1, 3, 224, 224))
    assert (found["layer4"].receptive_field, found["layer4"].stride) == (435, 32)


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [("inception_v3", "Mixed_7c", 1311), ("densenet121", "features.norm5", 2071)],  # table 1 of araujo2019receptive
)
def test_published_fields_of_deep_nets(name: str, layer: str, expected: int) -> None:
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name == "inception_v3" else {}
        net = getattr(torchvision.models, name)(weights=None, **options)
    assert fields(net, [layer], 299) == [expected]


class Follows(nn.Module):
    """A 3 x 3 convolution, an operation, a 3 x 3 convolution."""

    def __init__(self, operation):
        super().__init__()
        self.operation, self.a, self.b = operation, nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.b(self.operation(self.a(x)))


def beside(x):
    """The map, and behind its channels what a 5 x 5 convolution makes of it."""
    return torch.cat([x, F.conv2d(x, torch.ones(3, x.shape[1], 5, 5, device=x.device), padding=2)], 1)


@pytest.mark.parametrize(
    ("operation", "field", "stride"),
    [
        (F.relu, 5, 1),
        (lambda x: x + 1, 5, 1),
        (lambda x: 1 / (x + 2), 5, 1),
        (lambda x: 2**x, 5, 1),
        (lambda x: x * (x > 0), 5, 1),
        (lambda x: torch.multiply(torch.subtract(x, 1), -x).clip(min=0), 5, 1),
        (lambda x: F.logsigmoid(x) + F.tanhshrink(x) + x.expm1(), 5, 1),
        (lambda x: x.type(torch.float32).broadcast_to(x.shape), 5, 1),
        (lambda x: F.max_pool2d(x, 2), 3 + 1 + 4, 2),
        (lambda x: F.avg_pool2d(x, 3, 2, 1), 3 + 2 + 4, 2),
        (lambda x: F.pad(x, (1, 2, 3, 4)), 5, 1),
        (lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2), 3 + 1 + 2, 1),
        (lambda x: F.conv2d(x, torch.ones(3, 1, 3, 1, device=x.device), dilation=2, groups=3), 3 + 4 + 2, 1),
        (lambda x: F.adaptive_avg_pool2d(x, 8), 3 + 3 + 8, 4),
        (lambda x: beside(x)[:, :3], 5, 1),
        (lambda x: beside(x)[:, 2:5], 9, 1),
        (lambda x: F.max_pool2d(F.relu(beside(x)), 2).split([3, 3], 1)[0], 3 + 1 + 4, 2),
        (lambda x: F.max_pool2d(F.relu(beside(x)), 2).split([3, 3], 1)[1], 7 + 1 + 4, 2),
        (lambda x: (beside(x) + beside(x).flip(1))[:, :3], None, 1),
        (lambda x: beside(x).softmax(1)[:, :3], 9, 1),
        (lambda x: beside(beside(x))[:, :3], 5, 1),
        (lambda x: beside(beside(x))[:, 3:6], 9, 1),
        (lambda x: beside(beside(x)[:, :3])[:, 3:], 9, 1),
        (lambda x: torch.cat([x[..., 0::2, 0::2], x[..., 1::2, 1::2]], 1)[:, :3], 3 + 4, 2),
        (lambda x: torch.cat([x[..., 0::2, 0::2], x[..., 1::2, 1::2]], 1)[:, 2:5], 3 + 1 + 4, 2),
        (lambda x: F.unfold(x, 3, 1, 1, 2)[:, :3].unflatten(2, (16, 16)), 3 + 2 + 4, 2),
        (lambda x: x.unfold(2, 1, 1).squeeze(-1), None, 1),
        (lambda x: F.pixel_unshuffle(x, 1), None, 1),
        (lambda x: F.adaptive_avg_pool2d(x, 9), None, None),
        (lambda x: x * x.mean((2, 3), keepdim=True), None, 1),
        (lambda x: x.flatten(2).softmax(-1).view(x.shape), None, 1),
    ],
)
def test_each_operation_by_hand(operation: Any, field: Any, stride: int | None) -> None:
    found = survey(Follows(operation).eval(), torch.zeros(1, 3, 32, 32))
    assert (found["b"].receptive_field, found["b"].stride) == (field, stride)


def test_a_global_mean_is_a_kernel_of_the_grids_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert fields(net, ["0", "1", "3"], 32) == [2, 32, 32]


def test_attention_and_flattening_have_no_field() -> None:
    with torch.device("meta"):
        vit, vgg = torchvision.models.vit_b_16(weights=None), torchvision.models.vgg11(weights=None)
    block = "encoder.layers.encoder_layer_0"
    assert fields(vit, ["conv_proj", f"{block}.ln_1", f"{block}.self_attention", block]) == [16, 16, None, None]
    assert fields(vgg, ["classifier.0"]) == [None]


def positive(net):
    """Constant positive weights, no normalisation or saturation, average instead of maximum: no gradient can vanish."""
    for part in list(net.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(part, name, pool)
            if isinstance(child, nn.BatchNorm2d):
                child.reset_running_stats()
    for name, weight in net.named_parameters():
        nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1 / weight[0].numel())
    return net.double().eval()


class Reached(Exception):
    pass


def gradient_extent(net, layer, size):
    """Rows of the input that the middle row of a layer depends on; the image is narrow, its width plays no part."""
    x = torch.full((1, 3, size, 32), 1e-3, dtype=torch.float64, requires_grad=True)

    def stop(_, args, out):
        raise Reached(out)

    handle = net.get_submodule(layer).register_forward_hook(stop)
    with pytest.raises(Reached) as reached:
        net(x)
    handle.remove()
    out = reached.value.args[0]
    (gradient,) = torch.autograd.grad(out[:, :, out.shape[2] // 2].sum(), x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    return int(rows[-1] - rows[0] + 1)


FAST = [
    ("resnet18", ["conv1", "layer1", "layer2"], 256),
    ("mobilenet_v2", ["features.1", "features.7"], 192),
    ("googlenet", ["inception3a", "inception3b", "inception4a"], 256),
    ("timm:tf_efficientnet_lite0", ["blocks.1", "blocks.3"], 320),
    ("inception_v1", ["mixed3a_3x3", "mixed3a", "mixed3b_1x1", "mixed3b_pool_reduce", "mixed3b"], 256),
]
SLOW = [
    ("vgg16", ["features.2", "features.9", "features.16"], 96),
    ("densenet121", ["features.denseblock1", "features.denseblock2"], 448),
    ("resnet18", ["layer4"], 1024),
    ("mobilenet_v2", ["features.17"], 1152),
    ("googlenet", ["inception5b"], 1024),
    ("shufflenet_v2_x1_0", ["stage4"], 1152),
    ("timm:tf_efficientnet_lite0", ["blocks.6"], 1792),
]
CASES = [pytest.param(*row, id=row[0]) for row in FAST]
CASES += [pytest.param(*row, id=row[0] + "-slow", marks=pytest.mark.slow) for row in SLOW]


@pytest.mark.parametrize(("name", "layers", "size"), CASES)
def test_field_is_the_extent_of_the_gradient(name: Any, layers: Any, size: Any) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    if name.startswith("timm:"):
        net = positive(timm.create_model(name[5:], pretrained=False))
    elif name == "inception_v1":
        net = positive(InceptionV1())
    else:
        net = positive(getattr(torchvision.models, name)(weights=None, **options))
    expected = [gradient_extent(net, layer, size) for layer in layers]
    assert max(expected) < size - 32, "the image is too small to see the whole field"
    assert fields(net, layers, size, 32) == expected


def test_gates_from_the_whole_image_have_no_field_and_reach_everywhere() -> None:
    net = positive(torchvision.models.mobilenet_v3_small(weights=None))
    assert fields(net, ["features.0", "features.1"], 96, 32) == [3, None]
    assert gradient_extent(net, "features.1", 96) == 96
