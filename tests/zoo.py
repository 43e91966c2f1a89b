"""The test zoo: tiny seeded float64 networks for 3 x 16 x 16 images and five classes, one for every shape of code we claim.

vision_model("residual")     a fresh VisionModel;   shared("residual")     the same one every time (do not change it)
pictures(2)                  (2, 3, 16, 16), smooth and seeded
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap

SIDE = 16
CLASSES = 5


def conv(a: int, b: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(a, b, 3, stride, padding=1)


class Head(nn.Module):
    """Mean over places, then linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, CLASSES)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(maps.mean((2, 3)))


class Linear(nn.Sequential):
    """One weight per value: every attribution has a closed form. No map."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES))


class LinearConv(nn.Sequential):
    """A convolution without a nonlinearity."""

    def __init__(self) -> None:
        super().__init__(conv(3, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES))


class InPlace(nn.Module):
    """In-place ReLU modules, batch-norm and dropout; its author left it in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.3),
            conv(6, 8, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.drop = nn.Dropout(0.5)
        self.head = Head(8)
        for part in self.features:
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.3, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.features(images)))


class Functional(nn.Module):
    """Four spellings of ReLU, none of them a module."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = conv(3, 6), conv(6, 6, 2), conv(6, 6), conv(6, 8)
        self.head = Head(8)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.one(images))
        x = self.two(x).relu()
        x = torch.clamp(self.three(x), min=0)
        x = self.four(x).clamp_(min=0)
        return self.head(x)


class Reused(nn.Module):
    """One nn.ReLU for every place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(3, 6), conv(6, 6, 2), conv(6, 8)
        self.relu = nn.ReLU(inplace=True)
        self.head = Head(8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.one(images))
        x = self.relu(self.two(x))
        return self.head(self.relu(self.three(x)))


class Block(nn.Module):
    """A residual block that adds in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two, self.relu = conv(channels, channels), conv(channels, channels), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.two(self.relu(self.one(x)))
        out += identity
        return self.relu(out)


class Residual(nn.Module):
    """`out += identity`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.down, self.second = conv(3, 6), Block(6), conv(6, 8, 2), Block(8)
        self.head = Head(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.down(self.first(self.stem(images)))))


class LastBlock(nn.Module):
    """ConvNeXt-like: (n, h, w, c) inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand, self.project = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """Patches, two channels-last blocks, mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2, 2)
        self.first, self.second = LastBlock(8), LastBlock(8)
        self.head = Head(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.stem(images))))


class Attention(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """4 x 4 patches of 4 px; read from a class token, or from the mean of the patches."""

    def __init__(self, class_token: bool) -> None:
        super().__init__()
        width = 8
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width)) if class_token else None
        self.positions = nn.Parameter(torch.randn(1, 16 + class_token, width))
        self.blocks = nn.Sequential(Attention(width), Attention(width))
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        x = self.norm(self.blocks(x + self.positions))
        return self.linear(x.mean(1) if self.token is None else x[:, 0])


@dataclass
class Answer:
    """What Hugging Face's networks return, in short."""

    hidden: Tensor
    logits: Tensor


class AsDict(nn.Module):
    """{"logits": ...}."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Reused()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(images)}


class AsDataclass(nn.Module):
    """An object with `.logits`, which are not its first tensor; a layer that returns a tuple."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = conv(3, 6), conv(6, 8, 2)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            early = self.one(images).relu()
            return self.two(early).relu(), early

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = self.Encoder(), Head(8)

    def forward(self, images: Tensor) -> Answer:
        maps, early = self.encoder(images)
        return Answer(early, self.head(maps))


class Branches(nn.Module):
    """Branches with max-pooling, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.wide, self.narrow = conv(6, 4, 2), nn.Conv2d(6, 4, 1, 2)
        self.pool, self.pooled = nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(6, 4, 1)
        self.relu = nn.ReLU()
        self.last = conv(12, 8)
        self.head = Head(8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.stem(images))
        x = torch.cat([self.wide(x), self.narrow(x), self.pooled(self.pool(x))], 1)
        return self.head(F.relu(self.last(self.relu(x))))


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": Linear,
    "linear_conv": LinearConv,
    "in_place": InPlace,
    "functional": Functional,
    "reused": Reused,
    "residual": Residual,
    "channels_last": ChannelsLast,
    "vit_token": lambda: ViT(True),
    "vit_mean": lambda: ViT(False),
    "as_dict": AsDict,
    "as_dataclass": AsDataclass,
    "branches": Branches,
}

EARLY = {
    "linear_conv": "0",
    "in_place": "features.2",
    "functional": "two",
    "reused": "two",
    "residual": "first.two",  # its output is what `out += identity` overwrites
    "channels_last": "first.norm",
    "vit_token": "blocks.0.up",
    "vit_mean": "blocks.0",
    "as_dict": "net.one",
    "as_dataclass": "encoder",
    "branches": "narrow",
}
"""A layer of each network that is not the one chosen for a CAM."""


def net(name: str, seed: int = 0) -> nn.Module:
    """A fresh float64 network; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[name]().double()


def wrapped(module: nn.Module, name: str = "net", **about: Any) -> VisionModel:
    """With an identity for preprocessing: images are what the network sees."""
    return wrap(module, size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, name=name, **about)


def vision_model(name: str, seed: int = 0) -> VisionModel:
    return wrapped(net(name, seed), name)


@functools.cache
def shared(name: str) -> VisionModel:
    return vision_model(name)


def pictures(n: int = 1, side: int = SIDE, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Smooth random images of standard deviation one: coarse noise, upsampled, with a little fine noise on top."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 3, 4, 4, generator=generator, dtype=torch.float64)
    fine = torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)
    images = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False) + 0.1 * fine
    return (images / images.std((1, 2, 3), keepdim=True)).to(dtype)
