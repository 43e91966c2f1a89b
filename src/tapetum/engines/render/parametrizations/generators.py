"""Pictures from a generator: optimises the input code of a network that was trained to draw natural pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.images import covering
from tapetum.models.zoo.weights import read_tensors, unlike
from tapetum.types import ModelError

_TAIL = {
    "conv5_1": (256, 512, 3), "deconv4": (512, 256, 4), "conv4_1": (256, 256, 3), "deconv3": (256, 128, 4),
    "conv3_1": (128, 128, 3), "deconv2": (128, 64, 4), "deconv1": (64, 32, 4), "deconv0": (32, 3, 4),
}  # fmt: skip
"""{name: (channels in, channels out, kernel)} of transposed convolutions; kernel 4 doubles the size of the picture."""

CODES: dict[str, tuple[int, ...]] = {"fc6": (4096,), "fc7": (4096,), "fc8": (1000,), "pool5": (256, 6, 6)}
"""Shape of the code of one picture, by the layer of CaffeNet that the generator inverts."""


class CodeGenerator(nn.Module):
    """Generator of dosovitskiy2016deepsim: maps codes (n, *code) to pictures (n, 3, 256, 256) in [0, 1].

    Layers, by the inverted layer of CaffeNet, with LeakyReLU(.3) in between; for convolutions (channels, kernel, stride):

    fc6, fc7, fc8   defc7 (4096 or 1000 -> 4096), defc6, defc5 (4096 -> 4096), as 256 x 4 x 4; deconv5 (256 -> 256, 4, /2)
    pool5           Rconv6 (256 -> 512, 3), Rconv7 (512 -> 512, 3), Rconv8 (512 -> 512, 3, no padding); deconv5 (512 -> 256)
    then            conv5_1, deconv4, conv4_1, deconv3, conv3_1, deconv2, deconv1, deconv0: 4, 8, 16, 32, 64, 128, 256 px
    """

    def __init__(self, code: tuple[int, ...]) -> None:
        super().__init__()
        self.code = code
        if len(code) == 1:
            self.defc7, self.defc6, self.defc5 = nn.Linear(code[0], 4096), nn.Linear(4096, 4096), nn.Linear(4096, 4096)
        else:
            self.Rconv6, self.Rconv7 = nn.Conv2d(256, 512, 3, padding=1), nn.Conv2d(512, 512, 3, padding=1)
            self.Rconv8 = nn.Conv2d(512, 512, 3)
        head = 256 if len(code) == 1 else 512
        for name, (a, b, kernel) in {"deconv5": (head, 256, 4), **_TAIL}.items():
            self.add_module(name, nn.ConvTranspose2d(a, b, kernel, 2 if kernel == 4 else 1, padding=1))

    def forward(self, code: Tensor) -> Tensor:
        for name, layer in self.named_children():
            code = code.unflatten(1, (256, 4, 4)) if name == "deconv5" and code.ndim == 2 else code
            code = layer(code)
            code = code if name == "deconv0" else nn.functional.leaky_relu(code, 0.3)
        # the network gives differences from this mean colour, from 0 to 255, in the order blue, green, red
        mean = torch.tensor((123.0, 117.0, 104.0), device=code.device, dtype=code.dtype)[:, None, None]
        return ((code.flip(1) + mean) / 255).clamp(0, 1)


def gan(weights: str | Path, *, sd: float | int = 1.0) -> Parametrization:
    """Parametrizes pictures G(x) by the codes x (n, *code) of a generator G; pictures are cropped and resized to the canvas.

    weights: file of a generator for fc6, fc7, fc8 or pool5 of CaffeNet (dosovitskiy2016deepsim), as PyTorch tensors; names such
    as "defc7.1.weight" are read as "defc7.weight". Codes start from N(0, sd^2). Source for units: nguyen2016synthesizing.
    Refuses a file of anything else, and names the tensor that does not fit.
    """
    generator = load_generator(Path(weights))

    def begin(at: Start) -> Canvas:
        at.in_colors("gan")
        tensors = {name: tensor.to(at.device, at.dtype) for name, tensor in generator.state_dict().items()}
        code = sd * at.noise(*generator.code)

        def pixels() -> Tensor:
            # picture by picture: a matrix product may add up in another order in another batch
            return covering(torch.cat([functional_call(generator, tensors, (one[None],)) for one in code]), at.size)

        return Canvas((code,), pixels)

    return Parametrization(f"gan({Path(weights).name})", begin)


def load_generator(path: Path) -> CodeGenerator:
    """Loads a generator from a file of weights; the first layer tells for which layer of CaffeNet it was made."""
    tensors = {name.replace(".1.", "."): tensor for name, tensor in read_tensors(path).items()}
    if "Rconv6.weight" in tensors:
        code = CODES["pool5"]
    elif "defc7.weight" in tensors:
        code = CODES["fc8" if tensors["defc7.weight"].shape[-1:] == CODES["fc8"] else "fc6"]
    else:
        raise ModelError(f"{path.name} is no generator for {', '.join(CODES)}: it has no defc7.weight and no Rconv6.weight")
    with torch.device("meta"):
        generator = CodeGenerator(code)
    own = generator.state_dict()
    for name, tensor in own.items():
        wrong = unlike(tensors[name], tensor) if name in tensors else f"missing, not {tuple(tensor.shape)}"
        if wrong:
            raise ModelError(f"{path.name} is no such generator: {name} is {wrong}")
    generator.load_state_dict({name: tensors[name] for name in own}, assign=True)
    return generator.eval().requires_grad_(False)
