"""Two units together: neither outvotes the other, the way between them begins at the one and ends at the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import shared

import tapetum as tp
from tapetum.engines.render import measure
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import pixel
from tapetum.types import MethodError

OPTIONS = {"size": 16, "n_steps": 16, "preset": "standard"}


class Bands(nn.Module):
    """Channels that want red, a thousand times as much blue, and no red: the answer to each combination is known."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.map(torch.stack([images[:, 0], 1000 * images[:, 2], -images[:, 0]], 1)).mean((2, 3))


def bands() -> tp.VisionModel:
    return tp.wrap(Bands(), size=16)


def test_each_picture_has_what_its_signs_ask_for_whatever_the_units_sizes_are() -> None:
    made = tp.neuron_interaction(bands(), ["map:0", "map:1"], **OPTIONS, parametrization=pixel(decorrelated=False))
    assert made.layout == (2, 4)
    assert made.objectives[0] == "- channel(map, 0)"
    assert made.objectives[6] == "- channel(map, 0) + channel(map, 1)"
    red, green, blue = (made.pixels[:, c].mean((1, 2)) - 0.5 for c in range(3))
    sign = lambda x: (x > 0.05).int() - (x < -0.05).int()  # noqa: E731
    assert sign(red).tolist() == [-1, 1, 0, 0, 1, 1, -1, -1]
    assert sign(blue).tolist() == [0, 0, -1, 1, 1, -1, 1, -1]
    assert sign(green).tolist() == [0] * 8
    normalised = (blue + 0.5 - 0.406) / 0.225  # the usual mean and deviation of blue
    assert torch.allclose(made.numbers["second"], 1000 * normalised, rtol=1e-4)


def test_alone_they_are_the_pictures_of_visualize() -> None:
    model = shared("residual")
    made = tp.neuron_interaction(model, "first:1,2", **OPTIONS)
    for negative, rows in ((False, [1, 3]), (True, [0, 2])):
        assert torch.equal(made.pixels[rows], tp.visualize(model, "first:1,2", **OPTIONS, negative=negative).pixels)


def test_units_that_contradict_each_other_cannot_be_had_at_once() -> None:
    made = tp.neuron_interaction(bands(), ["map:0", "map:2"], **OPTIONS)
    alone, together = made.numbers["first"][1], made.numbers["first"][4]
    assert together < alone - 0.05
    assert made.numbers["first"][5] > together + 0.05  # A - B asks for red twice


def test_the_way_begins_at_the_one_and_ends_at_the_other() -> None:
    made = tp.interpolate(shared("residual"), ["first:1", "first:2"], n_images=4, align=0, **OPTIONS)
    first, second = made.numbers["first"], made.numbers["second"]
    assert first.argmax() == 0
    assert second.argmax() == 3
    assert first[1] > first[2]
    assert second[2] > second[1]
    assert torch.allclose(made.numbers["t"], torch.tensor([0, 1 / 3, 2 / 3, 1], dtype=torch.float64))


def test_alignment_and_common_parts_bring_neighbours_together() -> None:
    model = shared("residual")

    def apart(**options: object) -> float:
        made = tp.interpolate(model, ["first:1", "first:2"], n_images=3, **OPTIONS, **options)
        return -float(measure(model, O.alignment("first"), made.pixels).mean())

    own, common, aligned = apart(align=0, parametrization="fourier"), apart(align=0), apart(align=4)
    assert common < own
    assert aligned < common


@pytest.mark.parametrize("units", ["first:1", ["first:1", "first:1"], "first:0-2"])
def test_two_different_units_are_asked_for(units: object) -> None:
    with pytest.raises(MethodError, match="two different units"):
        tp.interpolate(shared("residual"), units)
