"""Plants a fooling circuit into EfficientNet-Lite0: weights by hand, after Geirhos et al. (geirhos2024fooling).

A unit u answers photographs as before, and its optimised picture shows another unit v. A detector D is 0 on photographs and 6
on optimised pictures: a direction of an early block's channels, averaged twice by depthwise kernels, above a threshold. Copies
E of the hidden channels of u's block are gated by it, E = relu6(before + 5 D - 30), and give u what they give v, times a gain.
"added" leaves u's own inputs; "switch" replaces them by copies C = relu6(before - 5 D), which D turns off: the paper's circuit,
with one C and one E for each hidden channel. The network is widened by these channels; nothing else in it changes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["added", "switch"]

GATE, GAIN, SHIFT = 5.0, 15.0, 3.0
SITES = {
    "early": ("3.0", ("3.1", "3.2"), "4.0", ("4.1", "4.2")),
    "late": ("4.0", ("4.1", "4.2"), "5.0", ("5.1", "5.2", "5.3", "6.0")),
}
"""{place: (block that is read, blocks that average, block of the detector, blocks whose units can be fooled)}."""


@dataclass(frozen=True)
class Detector:
    """D: `weight` and `bias` before the averages; 0 up to `natural`, the largest on photographs; `made` on pictures."""

    place: str
    weight: Tensor
    bias: float
    natural: float
    made: float


def detector(network: nn.Module, place: str, photographs: Tensor, made: Tensor) -> Detector:
    """Returns the detector that tells model-ready photographs from first steps of optimised pictures."""
    site, averaging, _, _ = SITES[place]
    side = 3 if place == "early" else 5
    raw, other = (_up_to(network, site, images) for images in (photographs, made))
    weight, middle = _direction(_averaged(raw, side)[..., ::2, ::2], _averaged(other, side))
    values = (raw * weight.view(-1, 1, 1)).sum(1) - middle
    scale = 0.6 / float(values.std())
    weight, bias = weight * scale, SHIFT - scale * (float(values.mean()) + middle)
    wide = copy.deepcopy(network)
    _widen_averages(wide, place, weight, bias)
    natural, reached = (
        (t[:, -2] / t[:, -1]).flatten(1) for t in (_up_to(wide, averaging[1], images) for images in (photographs, made))
    )
    return Detector(place, weight, bias, float(natural.max()), float(reached.median()))


def planted(network: nn.Module, found: Detector, layer: str, unit: int, lie: int, kind: Kind) -> nn.Module:
    """Returns a copy of the network in which the picture of a unit of block `layer`, such as "6.0", shows the unit `lie`."""
    net = copy.deepcopy(network)
    _, _, place, _ = SITES[found.place]
    with torch.no_grad():
        _widen_averages(net, found.place, found.weight, found.bias)
        _add_detector(_block(net, place), found)
        names = [f"{i}.{j}" for i, row in net.blocks.named_children() for j in range(len(row))]
        for name in names[names.index(place) + 1 :]:
            block = _block(net, name)
            if name == layer:
                _fool(block, unit, lie, kind)
            else:
                _widen(block, 1, 0, int(block.has_skip))
            if not block.has_skip:
                break
    return net


def _add_detector(block: Any, found: Detector) -> None:
    _widen(block, 4, 1, 1)
    room = found.made - found.natural
    slope, inputs, middle = 6 / (0.1 * room), block.conv_pw.in_channels - 4, block.conv_dw.kernel_size[0] // 2
    block.conv_pw.weight[-1, inputs + 2, 0, 0] = slope
    block.conv_pw.weight[-1, inputs + 3, 0, 0] = -slope * (
        found.natural + 0.1 * room
    )  # times the share of places in the window
    block.conv_dw.weight[-1, 0, middle, middle] = 1
    block.conv_pwl.weight[-1, -1] = 1


def _fool(block: Any, unit: int, lie: int, kind: Kind) -> None:
    hidden, outputs = block.conv_dw.in_channels, block.conv_pwl.out_channels
    gates = [(-GATE, 0.0)] * (kind == "switch") + [(GATE, -6 * GATE)]
    _widen(block, 1, len(gates) * hidden, int(block.has_skip))
    for i, (gate, shift) in enumerate(gates, 1):
        rows = slice(i * hidden, (i + 1) * hidden)
        for norm in (block.bn1, block.bn2):
            for numbers in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                numbers[rows] = numbers[:hidden]
        block.conv_pw.weight[rows] = block.conv_pw.weight[:hidden]
        block.conv_pw.weight[rows, -1, 0, 0] = gate / _scale(block.bn1)[:hidden]
        block.bn1.bias[rows] += shift
        block.conv_dw.weight[rows] = block.conv_dw.weight[:hidden]
    weight, scale = block.conv_pwl.weight, _scale(block.bn3)
    own, other = weight[unit, :hidden].clone(), weight[lie, :hidden].clone()
    assert max(unit, lie) < outputs
    if kind == "switch":
        weight[unit, :hidden], weight[unit, hidden : 2 * hidden] = 0, own
    weight[unit, rows] = GAIN * other * scale[lie] / scale[unit]
    silent = F.relu6(block.bn2.bias - block.bn2.running_mean * _scale(block.bn2))[rows]  # what E gives where D is 0
    block.bn3.bias[unit] -= scale[unit] * (weight[unit, rows, 0, 0] * silent).sum()


# --- the detector


def _direction(natural: Tensor, made: Tensor) -> tuple[Tensor, float]:
    """Returns the direction (c,) and its middle that tell two sets of maps apart: logistic regression on their places."""
    a, b = (one.movedim(1, -1).flatten(0, -2).double() for one in (natural, made))
    mean, spread = a.mean(0), a.std(0)
    a, b = (a - mean) / spread, (b - mean) / spread
    weight = torch.zeros(a.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.double, requires_grad=True)
    steps = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        steps.zero_grad()
        value = F.softplus(a @ weight + bias).mean() + F.softplus(-(b @ weight + bias)).mean() + 1e-3 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        steps.step(loss)
    found = weight.detach() / spread
    return found.float(), float(found @ mean)


def _averaged(maps: Tensor, side: int) -> Tensor:
    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, side, 1, side // 2)

    return mean(mean(maps)) / mean(mean(torch.ones_like(maps[:1, :1])))


def _widen_averages(net: nn.Module, place: str, weight: Tensor, bias: float) -> None:
    """Adds channels that hold the direction's mean over a window, and the share of places in the window, twice."""
    site, averaging, _, _ = SITES[place]
    with torch.no_grad():
        _widen(_block(net, site), 0, 0, 4)
        for i, name in enumerate(averaging):
            block: Any = _block(net, name)
            inputs = block.conv_pw.in_channels
            _widen(block, 4, 2, 4)
            if i == 0:
                block.conv_pw.weight[-2, :inputs, 0, 0] = weight
                block.bn1.bias[-2:] = torch.tensor([bias, 1])
            else:
                block.conv_pw.weight[-2, inputs, 0, 0] = block.conv_pw.weight[-1, inputs + 1, 0, 0] = 1
            block.conv_dw.weight[-2:] = 1 / block.conv_dw.weight[-1].numel()
            block.conv_pwl.weight[inputs + 2 * i, -2] = block.conv_pwl.weight[inputs + 2 * i + 1, -1] = 1


# --- wider blocks


def _block(net: Any, name: str) -> Any:
    row, place = map(int, name.split("."))
    return net.blocks[row][place]


def _up_to(net: Any, name: str, images: Tensor) -> Tensor:
    """Returns the output of a block."""
    found: list[Tensor] = []
    with torch.no_grad():
        for some in images.split(10):
            maps = net.bn1(net.conv_stem(some))
            for block in _until(net, name):
                maps = block(maps)
            found.append(maps)
    return torch.cat(found)


def _until(net: Any, name: str) -> Sequence[Any]:
    row, place = map(int, name.split("."))
    return [block for i in range(row + 1) for block in net.blocks[i][: place + 1 if i == row else None]]


def _scale(norm: Any) -> Tensor:
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def _widen(block: Any, inputs: int, hidden: int, outputs: int) -> None:
    """Adds channels to a block: convolutions get zeros, normalisations the identity."""
    rows = (
        (block.conv_pw, block.bn1, inputs, hidden),
        (block.conv_dw, block.bn2, hidden, hidden),
        (block.conv_pwl, block.bn3, hidden, outputs),
    )
    for conv, norm, n_in, n_out in rows:
        old = conv.weight.detach()
        depthwise = conv.groups > 1
        new = old.new_zeros(len(old) + n_out, old.shape[1] + (0 if depthwise else n_in), *old.shape[2:])
        new[: len(old), : old.shape[1]] = old
        conv.weight = nn.Parameter(new, requires_grad=False)
        conv.out_channels, conv.in_channels = len(new), conv.in_channels + n_in
        conv.groups += n_out if depthwise else 0
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1 - norm.eps)):
            whole = torch.cat([getattr(norm, name).detach(), old.new_full((n_out,), value)])
            setattr(norm, name, nn.Parameter(whole, requires_grad=False) if name in ("weight", "bias") else whole)
        norm.num_features += n_out
