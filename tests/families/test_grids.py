"""Grids of what a layer found: each cell is of its own place, groups are those that were planted, sheets put things right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import SIDE, pictures, shared

import tapetum as tp
from tapetum.engines.probe import activations
from tapetum.engines.render import Recipe, places_over, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import pixel
from tapetum.engines.render.sheets import colors
from tapetum.families.compositions.directions import factorize
from tapetum.types import MethodError

# --- non-negative factors


def planted(seed: int, k: int = 4) -> tuple[Tensor, Tensor]:
    """Shares (60, k) and directions (k, 30), half of each zero, so that there is one factorisation alone."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.rand(60, k, generator=generator, dtype=torch.float64), torch.rand(k, 30, generator=generator).double()
    w, h = (side * (torch.rand(side.shape, generator=generator) < 0.5) for side in sides)
    return w, h


@pytest.mark.parametrize("seed", range(3))
def test_planted_factors_are_found_up_to_order_and_scale(seed: int) -> None:
    w, h = planted(seed)
    found = factorize(w @ h, 4, n_steps=2000)
    likeness = found.directions @ nn.functional.normalize(h, dim=1).T
    order = likeness.argmax(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert likeness.amax(1).min() > 0.999
    scaled = w[:, order] * h[order].norm(dim=1)
    assert torch.allclose(found.shares, scaled, atol=0.02 * float(scaled.max()))  # multiplicative updates end slowly


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_factors_never_rises_and_is_that_of_the_factors(seed: int) -> None:
    values = torch.rand(20, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values[3], values[:, 5] = 0, 0  # a place and a channel without anything
    found = factorize(values, 3, seed=seed)
    assert (found.errors.diff() <= 1e-12).all()  # rounding of a sum of 240 squares near 1
    assert found.errors[-1] < found.errors[0]
    assert torch.allclose(found.errors[-1], (values - found.shares @ found.directions).norm() / values.norm())
    assert (found.shares >= 0).all()
    assert torch.allclose(found.directions.norm(dim=1), torch.ones(3, dtype=torch.float64))
    assert (found.shares.norm(dim=0).diff() <= 0).all()
    assert torch.equal(found.shares, factorize(values, 3, seed=seed).shares)


@pytest.mark.parametrize(
    ("values", "n_groups"), [(-torch.eye(3), 1), (torch.zeros(3, 3), 1), (torch.eye(3) / 0, 1), (torch.eye(3), 4)]
)
def test_what_has_no_factors_is_refused(values: Tensor, n_groups: int) -> None:
    with pytest.raises(MethodError):
        factorize(values, n_groups)


# --- grids


RGB = pixel(decorrelated=False)


class Colours(nn.Module):
    """Its map is the image's own red, green and blue, as means of 4 x 4 px: what a place shows is known."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.AvgPool2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.map(images).mean((2, 3))


def coloured() -> tuple[tp.VisionModel, Tensor, Tensor]:
    """Bands of colour in a picture of 16 x 24 px, and which of the three is where, (4, 6)."""
    which = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [2, 2, 2, 2, 2, 1]])
    picture = nn.functional.one_hot(which, 3).permute(2, 0, 1).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return tp.wrap(Colours(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3), picture[None].float(), which


def test_every_cell_has_the_colour_of_its_place_in_an_image_that_is_not_square() -> None:
    model, image, which = coloured()
    made = tp.activation_grid(model, image, layer="map", size=16, n_steps=10, parametrization=RGB)
    assert made.layout == (4, 6)
    assert made.objectives[8] == "map @ 1,2"
    assert torch.equal(made.pixels.mean((2, 3)).argmax(1).view(4, 6), which)


@pytest.mark.bits
def test_a_cell_is_the_picture_of_the_direction_at_its_place() -> None:
    model = shared("residual")
    image = pictures(1)[..., :6, :]
    made = tp.activation_grid(model, image, layer="first", size=16, n_steps=3, cosine_power=2)
    maps = activations(model, image, "first")[0]
    rows, columns = maps.shape[1:]
    assert made.layout == (rows, columns)
    assert rows != columns
    for row, column in [(0, 1), (1, columns - 1), (rows - 1, 2)]:
        vector = maps[:, row, column].contiguous()  # sums over strides may have other last bits
        alone = render(model, [O.direction("first", vector / vector.norm(), cosine_power=2)], Recipe(n_steps=3), size=(16, 16))
        cell = made[row * columns + column]
        assert torch.equal(cell.pixels, alone.pixels)
        seen = activations(model, cell.pixels, "first")[0].flatten(1)
        dot, cosine = vector @ seen / vector.norm(), torch.cosine_similarity(seen, vector[:, None], dim=0)
        assert torch.allclose(cell.scores[0], (dot * cosine.clamp(min=0.1) ** 2).mean())
        assert torch.allclose(cell.numbers["magnitude"][0], vector.norm())


def test_a_place_where_the_layer_is_zero_is_silent_and_the_others_are_not() -> None:
    model, image, which = coloured()
    image = image * (nn.functional.interpolate(which[None, None].float(), scale_factor=4) > 0)
    made = tp.activation_grid(model, image, layer="map", size=16, n_steps=2)
    assert made.status == tuple("ok" if there else "silent" for there in (which > 0).flatten().tolist())
    assert torch.equal(made.numbers["magnitude"].view(4, 6) > 0, which > 0)


@pytest.mark.bits
@pytest.mark.parametrize("method", ["activation_grid", "neuron_groups", "caricature"])
def test_two_images_are_two_single_ones(method: str) -> None:
    model, images = shared("in_place"), pictures(2)[..., :8, :10]
    options = {"layer": "features.6", "n_steps": 2} | ({"size": 16, "batch": 9} if method != "caricature" else {})
    one = getattr(tp, method)
    both, single = one(model, images, **options), [one(model, images[i : i + 1], **options) for i in range(2)]
    assert torch.equal(both.pixels, torch.cat([s.pixels for s in single]))
    for name, values in both.numbers.items():
        assert torch.allclose(values, torch.cat([s.numbers[name] for s in single]))


def test_cells_have_the_size_of_a_network_that_takes_no_smaller_one() -> None:
    made = tp.activation_grid(shared("vit_mean"), pictures(1), layer="blocks.0", n_steps=1)
    assert made.pixels.shape == (16, 3, SIDE, SIDE)


# --- groups


def test_groups_are_the_regions_of_the_image() -> None:
    model, image, which = coloured()
    made = tp.neuron_groups(model, image, layer="map", n_groups=3, size=16, n_steps=10, parametrization=RGB)
    colour = made.pixels.mean((2, 3)).argmax(1)
    assert colour.tolist() == which.flatten().bincount().argsort(descending=True).tolist()  # the largest region first
    assert torch.allclose(made.numbers["places"], (which == colour[:, None, None]).float(), atol=1e-3)  # places of 4 x 4 px
    assert (made.numbers["missed"] < 1e-3).all()


def test_negative_activations_count_as_zero_in_groups_and_this_is_said() -> None:
    model = shared("linear_conv")
    made = tp.neuron_groups(model, pictures(1), layer="0", n_groups=2, size=16, n_steps=2)
    assert any("negative activations" in one for one in made.notes)


# --- sheets


def test_a_sheet_has_every_picture_at_its_place_and_size() -> None:
    model, image, _ = coloured()
    made = tp.activation_grid(model, image, layer="map", size=16, n_steps=2)
    page = tp.sheet(made, gap_px=2)
    assert page.shape == (3, 4 * 18 - 2, 6 * 18 - 2)
    assert torch.equal(page[:, 18:34, 36:52], made.pixels[8])
    assert (page[:, 16:18] == 1).all()
    made.numbers["magnitude"][8] = 0.25 * made.numbers["magnitude"].max()
    small = tp.sheet(made, by="magnitude")[:, 16:32, 32:48]
    assert (small.amin(0) < 1).sum() == 64  # a quarter of the area
    with pytest.raises(MethodError, match="magnitude"):
        tp.sheet(made, by="size")


def test_places_over_a_photograph_are_in_the_colours_of_their_groups() -> None:
    photograph, places = torch.full((3, 8, 8), 0.5), torch.zeros(2, 8, 8)
    places[0, :4], places[1, 4:6] = 2, 1
    page = places_over(photograph, places, opacity=1)
    assert torch.allclose(page[:, 0, 0], colors(2)[0].float())
    assert torch.allclose(page[:, 5, 0], 0.5 * colors(2)[1].float() + 0.25)  # half as much was found there
    assert torch.allclose(page[:, 7, 0], torch.full((3,), 0.5))


# --- the layer


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer3"), ("squeezenet1_1", "features")])
def test_the_layer_of_grids_is_the_last_module_of_fourteen_cells_a_side(name: str, layer: str) -> None:
    from tapetum.models.choice import detailed_layer

    assert detailed_layer(tp.load(name, weights=None).survey)[0] == layer


def test_where_no_map_has_ten_cells_a_side_the_layer_is_that_of_cams() -> None:
    from tapetum.models.choice import choose_layer, detailed_layer

    survey = shared("vit_mean").survey
    assert detailed_layer(survey) == choose_layer(survey)
