"""torch-lucent 0.1.8: the same pictures from the same numbers, the same values of objectives, up to sign and scale as said."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.engines.render import measure
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import fourier
from tapetum.engines.render.parametrizations.base import Start

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def lucent() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kornia 0.4.1, which it pins, is older than today's torch
        import lucent.optvis.objectives as objectives
        import lucent.optvis.param as param

        yield type("Lucent", (), {"objectives": objectives, "param": param})


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_the_same_frequencies_are_the_same_picture(lucent: Any, size: tuple[int, int]) -> None:
    parameters, image = lucent.param.image(w=size[1], h=size[0], fft=True, decorrelate=True)
    canvas = fourier()(Start(size))
    with torch.no_grad():
        canvas.parameters[0].copy_(parameters[0].detach().cpu())
    # float32 on both sides: two FFTs and a sigmoid
    torch.testing.assert_close(canvas.pixels().detach(), image().detach().cpu(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_noise_begins_as_large(lucent: Any, size: tuple[int, int]) -> None:
    theirs = torch.stack([lucent.param.image(w=size[1], h=size[0])[0][0].detach().std() for _ in range(8)]).mean()
    ours = fourier()(Start(size)).parameters[0].detach().std()
    assert ours == pytest.approx(float(theirs), rel=0.05)  # the standard deviation of 4800 numbers or more is known to 1 %


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))


NAMES = ["channel", "neuron", "direction", "diversity"]


@pytest.mark.parametrize("name", NAMES)
def test_objectives_have_its_values(lucent: Any, name: str) -> None:
    """Lucent's are to be lowered, ours to be raised: the sign is turned, but for diversity, which it gives to be subtracted."""
    model = tp.wrap(Net().eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    acts = model.module.maps(pixels).detach()
    vector = torch.randn(6, generator=torch.Generator().manual_seed(2))
    theirs, ours, sign = {
        "channel": (lambda: lucent.objectives.channel("maps", 2), O.channel("maps", 2), -1),
        "neuron": (lambda: lucent.objectives.neuron("maps", 2), O.neuron("maps", 2), -1),
        "direction": (lambda: lucent.objectives.direction("maps", vector), O.cosine_direction("maps", vector), -1),
        "diversity": (lambda: lucent.objectives.diversity("maps"), O.diversity("maps"), 1),
    }[name]
    mine = measure(model, ours, pixels)
    value = sign * torch.as_tensor(theirs()(lambda layer: acts))
    torch.testing.assert_close(mine.mean(), value.mean().to(mine), rtol=1e-5, atol=1e-6)
