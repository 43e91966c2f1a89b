"""Networks whose circuits are known, since their weights are written by hand: convolutions, and a vision transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.families.circuits.planted_training import CLASSES, PlantedEdge

WIDE = 24
"""Channels of each convolution: enough beside the planted ones that edges can be compared with 19 random ones."""

NOISE = 0.01
"""Standard deviation of all weights that are not planted, which are about 1."""

M = TypeVar("M", bound=nn.Module)


def _noise(network: M, generator: torch.Generator) -> M:
    """Fills all weights with small random numbers, and biases with zeros."""
    for name, weight in network.named_parameters():
        if name.endswith("bias") or weight.ndim == 1:
            nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1.0)
        else:
            with torch.no_grad():
                weight.copy_(NOISE * torch.randn(weight.shape, generator=generator))
    return network


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=generator).tolist()


def _bars(conv: nn.Conv2d, horizontal: int, vertical: int, generator: torch.Generator) -> None:
    """Makes two channels of a 5 x 5 convolution answer bars: the mean of a row or a column of white less a half."""
    with torch.no_grad():
        for channel in (horizontal, vertical):
            conv.weight[channel] = 0
            assert conv.bias is not None
            conv.bias[channel] = -0.5 - 0.05 * torch.rand((), generator=generator)
        conv.weight[horizontal, :, 2] = conv.weight[vertical, :, :, 2] = 1 / 15


class _Convolutions(nn.Module):
    """Convolutions with what is put between them, a mean over places, and a linear answer of three classes."""

    def __init__(self, *parts: tuple[str, nn.Module], channels: int = WIDE) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for name, part in parts:
            self.body.add_module(name, part)
        self.answer = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.body(images).mean((2, 3)))


def _set(weight: Tensor, value: float, *at: int) -> None:
    """Sets one weight; of a convolution's kernel the middle."""
    with torch.no_grad():
        middle = [size // 2 for size in weight.shape[len(at) :]]
        weight[(*at, *middle)] = value


def _made_of_bars(generator: torch.Generator, second: float, bias: float = 0.0) -> tuple[nn.Module, list[PlantedEdge]]:
    """A detector that hears horizontal bars with weight 1.5, and vertical ones with weight `second`."""
    one, two = nn.Conv2d(3, WIDE, 5, padding=2), nn.Conv2d(WIDE, WIDE, 3, padding=1)
    network = _noise(_Convolutions(("one", one), ("relu1", nn.ReLU()), ("two", two), ("relu2", nn.ReLU())), generator)
    (h, v, *_), (x, *_) = _shuffled(WIDE, generator), _shuffled(WIDE, generator)
    _bars(one, h, v, generator)
    _set(two.weight, 1.5, x, h)
    _set(two.weight, second, x, v)
    _set(network.answer.weight, 40.0, 0, x)
    assert two.bias is not None
    with torch.no_grad():
        two.bias[x] = bias
    sign = 1 if second > 0 else -1
    return network, [
        (f"body.one:{h}", f"body.two:{x}", 1),
        (f"body.one:{v}", f"body.two:{x}", sign),
        (f"body.two:{x}", "class 0", 1),
    ]


def _cross(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    return _made_of_bars(generator, 1.5, bias=-0.4)  # one bar alone gives less than both


def _inhibited(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    return _made_of_bars(generator, -1.6)


def _chain(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    one, two, three = nn.Conv2d(3, WIDE, 5, padding=2), nn.Conv2d(WIDE, WIDE, 3, padding=1), nn.Conv2d(WIDE, WIDE, 3, padding=1)
    norms = nn.BatchNorm2d(WIDE), nn.BatchNorm2d(WIDE), nn.BatchNorm2d(WIDE)
    steps = [one, norms[0], nn.ReLU(inplace=True), nn.MaxPool2d(2), two, norms[1], nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    names = ["one", "norm1", "relu1", "pool1", "two", "norm2", "relu2", "pool2", "three", "norm3", "relu3"]
    steps += [three, norms[2], nn.ReLU(inplace=True)]
    network = _noise(_Convolutions(*zip(names, steps, strict=True)), generator)
    (a, other, *_), (b, *_), (c, *_) = (_shuffled(WIDE, generator) for _ in range(3))
    _bars(one, a, other, generator)
    for norm, channel in zip(norms, (a, b, c), strict=True):
        assert norm.running_var is not None
        assert norm.running_mean is not None
        norm.running_var.uniform_(0.5, 1.5, generator=generator)
        norm.running_mean.uniform_(-0.02, 0.02, generator=generator)
        norm.running_mean[channel] = 0
    _set(two.weight, -1.5, b, a)
    _set(norms[1].weight, -1.0, b)
    _set(three.weight, 2.0, c, b)
    _set(network.answer.weight, 40.0, 0, c)
    return network, [
        (f"body.norm1:{a}", f"body.norm2:{b}", 1),
        (f"body.norm2:{b}", f"body.norm3:{c}", 1),
        (f"body.norm3:{c}", "class 0", 1),
    ]


class _Past(nn.Module):
    """Two convolutions, of which the second one is added to the first, and a third one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (
            nn.Conv2d(3, WIDE, 5, padding=2), nn.Conv2d(WIDE, WIDE, 3, padding=1), nn.Conv2d(WIDE, WIDE, 3, padding=1)
        )  # fmt: skip
        self.answer = nn.Linear(WIDE, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.one(images))
        out = self.two(x)
        out += x
        return self.answer(F.relu(self.three(F.relu(out))).mean((2, 3)))


def _residual(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    network = _Past()
    _noise(network, generator)
    (a, q, *_), (c, *_) = _shuffled(WIDE, generator), _shuffled(WIDE, generator)
    _bars(network.one, a, q, generator)
    with torch.no_grad():
        network.one.weight[q] = 0  # so that the channel q of the sum is the second convolution's alone
        network.two.weight[a] = 0
    _set(network.two.weight, 1.0, q, a)
    _set(network.three.weight, 2.0, c, a)
    _set(network.three.weight, -1.2, c, q)
    _set(network.answer.weight, 40.0, 0, c)
    return network, [
        (f"one:{a}", f"three:{c}", 1),
        (f"one:{a}", f"two:{q}", 1),
        (f"two:{q}", f"three:{c}", -1),
        (f"three:{c}", "class 0", 1),
    ]


def _depthwise(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    one, three = nn.Conv2d(3, WIDE, 5, padding=2), nn.Conv2d(WIDE, WIDE, 1)
    two = nn.Conv2d(WIDE, WIDE, 3, padding=1, groups=WIDE)
    relus = [(f"relu{i}", nn.ReLU6()) for i in (1, 2, 3)]
    network = _Convolutions(("one", one), relus[0], ("two", two), relus[1], ("three", three), relus[2])
    _noise(network, generator)
    (h, v, *_), (x, *_) = _shuffled(WIDE, generator), _shuffled(WIDE, generator)
    _bars(one, h, v, generator)
    for channel, own in ((h, 2.0), (v, 1.5)):
        _set(two.weight, own, channel, 0)
    _set(three.weight, 1.5, x, h)
    _set(three.weight, -1.0, x, v)
    _set(network.answer.weight, 40.0, 0, x)
    return network, [
        (f"body.one:{h}", f"body.two:{h}", 1),
        (f"body.one:{v}", f"body.two:{v}", 1),
        (f"body.two:{h}", f"body.three:{x}", 1),
        (f"body.two:{v}", f"body.three:{x}", -1),
        (f"body.three:{x}", "class 0", 1),
    ]


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = _Attention(width, 2)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class _Tokens(nn.Module):
    """A vision transformer of two blocks with two heads, without normalisation."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 6, stride=6)
        self.first, self.second = _Block(width), _Block(width)
        self.answer = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.second(self.first(self.embed(images).flatten(2).transpose(1, 2))).mean(1))


def _two_heads(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge]]:
    """Colours are read into the stream; a head passes red on to a head of the next block, the other one takes green away."""
    network = _Tokens()
    _noise(network, generator)
    red, green, blue, after_red, after_green, last, *_ = _shuffled(8, generator)
    (first, second), (third, _) = _shuffled(2, generator), _shuffled(2, generator)
    with torch.no_grad():
        for color, place in enumerate((red, green, blue)):
            network.embed.weight[place, color] = 1 / 36
    _passed(network.first.attn, first, red, after_red, 2.0)
    _passed(network.first.attn, second, green, after_green, 1.5)
    _passed(network.second.attn, third, after_red, last, 2.0)
    _set(network.answer.weight, 2.0, 0, last)
    _set(network.answer.weight, -2.0, 0, after_green)
    return network, [
        (f"first.attn head {first}", f"second.attn head {third}", 1),
        (f"second.attn head {third}", "class 0", 1),
        (f"first.attn head {second}", "class 0", -1),
    ]


def _passed(attention: _Attention, head: int, source: int, target: int, weight: float) -> None:
    """Lets a head read one number of the stream and write it to another one."""
    width = attention.proj.in_features
    each = width // attention.heads
    _set(attention.qkv.weight, 1.0, 2 * width + head * each, source)
    _set(attention.proj.weight, weight, target, head * each)


MAKERS: dict[str, Callable[[torch.Generator], tuple[nn.Module, list[PlantedEdge]]]] = {
    "cross": _cross,
    "inhibited": _inhibited,
    "chain": _chain,
    "residual": _residual,
    "depthwise": _depthwise,
    "two_heads": _two_heads,
}
