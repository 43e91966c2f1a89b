"""Builds InceptionV1 (`szegedy2015going`) as TensorFlow published it, "inception5h"; feature visualisation began with it.

Many of its units have been described (`olah2017feature`), so pictures can be compared with published ones. The weights are
those of the TensorFlow graph, ported to PyTorch; the network is written after the graph, and each of its tensors has the name
in the graph with "_" for "/". Three things decide whether the ported weights do what they did in TensorFlow:

    padding  SAME, which for an even side and stride 2 pads the far side more than the near one
    LRN      x / sqrt(2 + 1e-4 * the sum of x² over 11 neighbouring channels)
    pixels   255 x - 117, for x in [0, 1]
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing
from tapetum.models.zoo.downloads import Published, fetched
from tapetum.models.zoo.families import built
from tapetum.models.zoo.weights import load_weights

PUBLISHED = Published(
    "inception5h.pth",
    "https://github.com/ProGamerGov/pytorch-old-tensorflow-models/raw/master/inception5h.pth",
    size=28_283_262,
    blob="119f77db85c8352960933e025312b507d9a96ed7",
)
PREPROCESSING = Preprocessing(size=(224, 224), resize=256, mean=(117 / 255,) * 3, std=(1 / 255,) * 3)

PARTS = ("1x1", "3x3_bottleneck", "3x3", "5x5_bottleneck", "5x5", "pool_reduce")
BRANCHES = ("1x1", "3x3", "5x5", "pool_reduce")
"""Branches of a block, in the order in which the block concatenates their maps."""

BLOCKS = {
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
"""{block: numbers of channels of its `PARTS`}. mixed4a gives 508 channels, in which TensorFlow differs from the paper."""

POOLED = {"mixed4a": "maxpool4", "mixed5a": "maxpool10"}
"""{block: name of the pooling before it}."""

SPREAD = 70
"""About the standard deviation of pixels in 0 to 255; dividing by it gives activations near 1 with random weights."""

CONVOLUTION = "_pre_relu_conv"


class InceptionV1(nn.Module):
    """InceptionV1, nine blocks of four branches: images (n, 3, h, w) with values 255 x - 117 to logits (n, 1008).

    7,066,380 parameters in 116 tensors. Layers have the published names: conv2d0 to conv2d2 and mixed3a to mixed5b give their
    maps after the ReLU, mixed3a_3x3 is a branch after its ReLU, mixed3a_3x3_pre_relu_conv the branch before it. Only the
    name mixed3a_pre_relu, all branches before the ReLU, is new here. Each layer lies on the way to the logits, so changes
    of its output take effect, and gradients reach it.

    The last pooling is the mean over all places, which for 224 px is the graph's 7 x 7; larger images give one row each too.
    softmax2 runs so that its output can be looked at; the network returns the logits, softmax2_pre_activation_matmul.
    """

    def __init__(self, classes: int = 1008) -> None:
        super().__init__()
        self._add_convolution("conv2d0", SameConv2d(3, 64, 7, 2))
        self._add(maxpool0=SameMaxPool2d(), localresponsenorm0=ResponseNorm())
        self._add_convolution("conv2d1", nn.Conv2d(64, 64, 1))
        self._add_convolution("conv2d2", nn.Conv2d(64, 192, 3, padding=1))
        self._add(localresponsenorm1=ResponseNorm(), maxpool1=SameMaxPool2d())
        channels = 192
        for name, widths in BLOCKS.items():
            if name in POOLED:
                self.add_module(POOLED[name], SameMaxPool2d())
            channels = self._add_block(name, channels, dict(zip(PARTS, widths, strict=True)))
        self._add(avgpool0=nn.AdaptiveAvgPool2d(1), softmax2_pre_activation_matmul=nn.Linear(channels, classes))
        self._add(softmax2=nn.Softmax(1))
        self.apply(_start)
        with torch.no_grad():
            self.get_parameter(f"conv2d0{CONVOLUTION}.weight").div_(SPREAD)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (n, 3, h, w) to logits (n, 1008)."""
        x = self._through(images, "conv2d0" + CONVOLUTION, "conv2d0", "maxpool0", "localresponsenorm0")
        x = self._through(x, "conv2d1" + CONVOLUTION, "conv2d1", "conv2d2" + CONVOLUTION, "conv2d2")
        x = self._through(x, "localresponsenorm1", "maxpool1")
        for name in BLOCKS:
            x = self._block(name, self._through(x, POOLED[name]) if name in POOLED else x)
        logits = self._through(self._through(x, "avgpool0").flatten(1), "softmax2_pre_activation_matmul")
        self._through(logits, "softmax2")
        return logits

    def _through(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x

    def _block(self, name: str, x: Tensor) -> Tensor:
        """Runs a block: concatenates its branches before their ReLU, then again after it, and returns the latter."""
        maps = {branch: self._through(x, *steps) for branch, steps in _branches(name)}
        before = self.get_submodule(f"{name}_pre_relu")(*(maps[branch] for branch in BRANCHES))
        parts = before.split([maps[branch].shape[1] for branch in BRANCHES], 1)
        return self.get_submodule(name)(*(self._through(part, f"{name}_{b}") for part, b in zip(parts, BRANCHES, strict=True)))

    # --- building

    def _add(self, **modules: nn.Module) -> None:
        for name, module in modules.items():
            self.add_module(name, module)

    def _add_convolution(self, name: str, convolution: nn.Conv2d) -> None:
        self.add_module(name + CONVOLUTION, convolution)
        self.add_module(name, nn.ReLU())

    def _add_block(self, name: str, channels: int, widths: dict[str, int]) -> int:
        for part in ("1x1", "3x3", "5x5"):
            before = channels
            if part != "1x1":
                before = widths[f"{part}_bottleneck"]
                self._add_convolution(f"{name}_{part}_bottleneck", nn.Conv2d(channels, before, 1))
            size = int(part[0])
            self.add_module(f"{name}_{part}{CONVOLUTION}", nn.Conv2d(before, widths[part], size, padding=size // 2))
        self.add_module(f"{name}_pool", nn.MaxPool2d(3, 1, 1))
        self.add_module(f"{name}_pool_reduce{CONVOLUTION}", nn.Conv2d(channels, widths["pool_reduce"], 1))
        self._add(**{f"{name}_pre_relu": Concat(), **{f"{name}_{branch}": nn.ReLU() for branch in BRANCHES}, name: Concat()})
        return sum(widths[branch] for branch in BRANCHES)


def _branches(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each branch of a block with its layers up to its ReLU, the branch with the largest receptive field last."""
    yield "1x1", (f"{name}_1x1{CONVOLUTION}",)
    yield "pool_reduce", (f"{name}_pool", f"{name}_pool_reduce{CONVOLUTION}")
    for size in ("3x3", "5x5"):
        narrow = f"{name}_{size}_bottleneck"
        yield size, (narrow + CONVOLUTION, narrow, f"{name}_{size}{CONVOLUTION}")


class Concat(nn.Module):
    """Concatenates maps along channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps tensors (n, c_i, h, w) to one of (n, sum of c_i, h, w)."""
        return torch.cat(maps, 1)


class SameConv2d(nn.Conv2d):
    """Convolution padded as by TensorFlow's SAME: gives ceil(side / stride) places; an odd zero goes to the far side."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (n, c, h, w) to (n, c', ceil(h / stride), ceil(w / stride))."""
        parts = zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True)  # the last axis first
        pads = [side for total in (_same(*part) for part in parts) for side in (total // 2, total - total // 2)]
        return F.conv2d(F.pad(input, pads), self.weight, self.bias, self.stride)


def _same(side: int, kernel: int, stride: int) -> int:
    """Number of places that SAME padding adds to a side, at both ends together."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling, 3 x 3 with stride 2, with windows where TensorFlow's SAME puts them.

    An odd side is padded by one place at both ends; on an even side the last window reaches one place beyond the end. torch
    ignores places outside the map, so no minus infinity enters the network.
    """

    def __init__(self) -> None:
        super().__init__(3, 2, ceil_mode=True)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (n, c, h, w) to (n, c, ceil(h / 2), ceil(w / 2))."""
        odd = input.shape[-2] % 2, input.shape[-1] % 2
        return F.max_pool2d(input, self.kernel_size, self.stride, odd, ceil_mode=self.ceil_mode)


class ResponseNorm(nn.LocalResponseNorm):
    """Local response norm with TensorFlow's depth_radius 5, bias 2, alpha 1e-4, beta .5.

    torch divides alpha by the 11 channels of the window, so alpha is 11e-4 here.
    """

    def __init__(self) -> None:
        super().__init__(size=11, alpha=11e-4, beta=0.5, k=2)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (n, c, h, w); computes in float32 if the type is too narrow for squares of activations."""
        wide = input if input.dtype in (torch.float32, torch.float64) else input.float()
        return super().forward(wide).to(input.dtype)


def _start(module: nn.Module) -> None:
    """Draws a layer's weights at random so that activations keep their size from layer to layer, `he2015delving`."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if isinstance(module, nn.Conv2d) else "linear")
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def build(pretrained: bool = True) -> nn.Module:
    """Builds the network in eval mode; its published weights are downloaded once, 28 MB, and checked."""

    def made() -> nn.Module:
        module = InceptionV1()
        if pretrained:
            load_weights(module, fetched(PUBLISHED))
        return module

    return built("inception_v1", made)
