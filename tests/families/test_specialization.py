"""Filter specialization: the channels that are shown are the most active ones, and their numbers are those of their maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.probe import activations
from tapetum.models.zoo import wrap


class Known(nn.Module):
    """Six channels whose activations are known: a constant, what is right of the middle, and brightness times 1 to 4."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Planes()
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x).mean((2, 3)))


class Planes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean(1)
        half = torch.zeros_like(bright)
        half[..., 8:] = 1
        planes = [10 + 0 * bright, 20 * half + 0 * bright, *(k * bright for k in (1, 2, 3, 4))]
        return torch.stack(planes, 1)


def known() -> tuple[tp.VisionModel, Tensor]:
    torch.manual_seed(0)
    model = wrap(Known().double(), size=16, resize=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return model, pictures(2).sigmoid()


def test_the_most_active_channels_and_their_numbers() -> None:
    model, images = known()
    found = tp.filter_specialization(model, images, layers="maps", k=3, n_steps=2)
    assert found.channels.tolist() == [[[1, 0, 5]]] * 2  # peaks of 20, 10 and 4 x brightness
    assert found.numbers["extent"].view(2, 3)[:, :2].tolist() == [[0.5, 1.0]] * 2
    bright = images.mean((1, 2, 3))
    activation = found.numbers["activation"].view(2, 3)
    assert torch.allclose(activation[:, 2], 4 * bright)
    assert torch.allclose(found.numbers["share"].view(2, 3), activation / (20 + 10 * bright)[:, None])
    assert "3 top channels" in found.notes[0]


def test_each_way_of_ranking_is_its_own() -> None:
    model, images = known()
    by_variance = tp.filter_specialization(model, images, layers="maps", k=1, n_steps=1, by="variance")
    assert by_variance.channels.flatten().tolist() == [1, 1]
    assert tp.filter_specialization(model, images, layers="maps", k=6, n_steps=1, by="mean").channels.shape == (2, 1, 6)


def test_pictures_are_those_of_visualize_and_maps_those_of_the_image() -> None:
    model = shared("residual")
    images = model.preprocess(pictures(2).sigmoid())
    found = tp.filter_specialization(model, images, layers=["stem", "second"], k=1, size=16, n_steps=3)
    units = [
        f"{layer}:{c}" for row in found.channels.tolist() for layer, some in zip(found.layers, row, strict=True) for c in some
    ]
    assert torch.equal(found.pixels, torch.cat([tp.visualize(model, unit, size=16, n_steps=3).pixels for unit in units]))
    assert found.objectives == tuple(f"channel({unit.replace(':', ', ')})" for unit in units)
    maps = activations(model, images, "second")
    assert torch.allclose(found.maps[1][1], maps[1, found.channels[1, 1]])
    figure = tp.draw(found)
    shown = [axes.get_title(loc="left") for axes in figure.axes]
    assert shown.count("stem") == 2  # one a photograph
    assert shown.count(f"channel {int(found.channels[0, 1, 0])}") >= 1
