"""Networks of usual size with seeded random weights, for comparing numbers with the peers."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import vgg

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap


class FunctionalNet(nn.Module):
    """Functional ReLUs of several spellings, a residual sum, max-pooling: 3 x 32 x 32 to five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 12)))
        self.linear = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.one(images))
        out = self.two(x)
        out += x
        x = F.max_pool2d(torch.relu(out), 2)
        x = self.three(x).relu()
        return self.linear(x.mean((2, 3)))


def _resnet18() -> nn.Module:
    return torchvision.models.resnet18(num_classes=20)


def _vgg16() -> nn.Module:
    """VGG-16's features with one linear layer behind: its three would take most of the time and hold no map."""
    features = vgg.make_layers(vgg.cfgs["D"])
    for part in features:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
            nn.init.uniform_(part.bias, -0.1, 0.1)
    head = {"pool": nn.AdaptiveAvgPool2d(7), "flatten": nn.Flatten(), "classifier": nn.Linear(512 * 49, 20)}
    return nn.Sequential(OrderedDict(features=features, **head))


def _chain() -> nn.Module:
    """Modules in a row, each used once, and no maximum: what every peer can follow."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12 * 64, 20),
    )  # fmt: skip


def _googlenet() -> nn.Module:
    return torchvision.models.googlenet(num_classes=20, init_weights=False, aux_logits=False)


BUILD: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (_resnet18, 96),
    "vgg16": (_vgg16, 64),
    "googlenet": (_googlenet, 64),
    "functional": (FunctionalNet, 32),
    "chain": (_chain, 32),
}


@functools.cache
def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """In eval mode, without gradients of its weights.

    A few passes in training mode first: with fresh batch-norm statistics the activations of a deep random network die out
    or explode, and every map would be degenerate.
    """
    build, side = BUILD[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build()
        module.train()
        with torch.no_grad():
            for _ in range(4):
                if name != "vgg16":  # which has no batch-norm
                    module(torch.randn(8, 3, side, side))
    return module.eval().requires_grad_(False).to(dtype)


@functools.cache
def model(name: str, dtype: torch.dtype = torch.float32) -> VisionModel:
    return wrap(network(name, dtype), size=BUILD[name][1], mean=(0.0,) * 3, std=(1.0,) * 3, name=name)


def side(name: str) -> int:
    return BUILD[name][1]


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest value: of a map that is not zero."""
    scale = float(theirs.abs().max())
    assert scale > 0
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / scale
