"""Filters are the layer's own weights; their answers lie where on the image they belong; random filters are noise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import NETS, SIDE, pictures, shared, vision_model, wrapped

import tapetum as tp
from tapetum.engines.probe import activations
from tapetum.families.filters.weights import convolutions
from tapetum.types import LayerError

CONVOLVED = [name for name in NETS if name != "linear"]


# --- weights


def test_filters_are_the_weights_of_the_layer() -> None:
    model = vision_model("residual")
    made = tp.filters(model, layer="second.one", k=5)
    assert torch.equal(made.weights, model.module.second.one.weight[:5].detach())
    assert torch.allclose(made.norms, model.module.second.one.weight.detach().square().sum((1, 2, 3)).sqrt())
    assert (made.channels, made.groups, made.stride, made.padding, made.colors) == (8, 1, (1, 1), "1", False)
    assert tp.filters(model).layer == "stem"
    assert tp.filters(model).colors


@pytest.mark.parametrize("name", CONVOLVED)
def test_any_convolution_of_the_zoo_has_a_figure(name: Any) -> None:
    model = shared(name)
    for layer in convolutions(model):
        made = tp.filters(model, layer=layer)
        assert made.weights.shape[0] == made.channels
        assert tp.draw(made).get_axes()


def test_each_transposed_filter_is_the_stamp_of_its_output_channel() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)
    model = tp.wrap(nn.Sequential(nn.Conv2d(3, 4, 1), layer), size=SIDE)
    made = tp.filters(model, layer="1")
    for channel in range(4):
        spot = torch.zeros(1, 4, 1, 1)
        spot[:, channel] = 1
        stamp = layer(spot)[0].detach()
        group, inside = divmod(channel, 2)
        assert torch.allclose(stamp[3 * group : 3 * group + 3], made.weights[3 * group : 3 * group + 3, inside])


def test_a_later_convolution_with_three_inputs_reads_no_colours() -> None:
    model = tp.wrap(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 2, 3)), size=SIDE)
    assert tp.filters(model).colors
    assert not tp.filters(model, layer="1").colors


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        ("linear", None, "has no convolution"),
        ("vit_token", "blocks.0.up", "is a Linear: .*; convolutions: patches"),
        ("residual", "first", "is a Block: .*; convolutions: first.one, first.two"),
        ("residual", "first.*", "is 2 convolutions: name one; convolutions: first.one, first.two"),
        ("residual", "frist.one", "close names: first.one"),
    ],
)
def test_what_has_no_filters_is_refused(name: str, layer: str | None, words: str) -> None:
    with pytest.raises(LayerError, match=words):
        tp.filters(shared(name), layer=layer)


# --- responses


def test_maps_are_the_layers_own_output_also_before_an_activation_in_place() -> None:
    model, images = vision_model("in_place"), pictures(2)
    made = tp.filter_responses(model, images, k=6, by="order")
    layer = model.module.features[0]
    assert torch.allclose(made.maps, layer(images).detach())
    assert made.channels.tolist() == list(range(6))
    strongest = tp.filter_responses(model, images, k=2)
    spread = made.maps.var((0, 2, 3), correction=0)
    assert strongest.channels.tolist() == spread.topk(2).indices.tolist()
    assert torch.equal(strongest.filters.weights, layer.weight[strongest.channels].detach())


def _support(model: tp.VisionModel, layer: str, row: int, column: int) -> torch.Tensor:
    """(h, w) over the image: 1 where the layer's answer to a bright spot differs from that to black."""
    side = model.preprocessing.size[0]
    dark = torch.zeros(1, 3, side, side, dtype=model.dtype)
    spot = dark.clone()
    spot[..., row, column] = 2  # brighter than any pixel in [0, 1]: these are model-ready
    changed = (activations(model, spot, layer) - activations(model, dark, layer)).abs().amax(1) > 1e-12
    made = tp.filter_responses(model, spot, layer=layer, k=1)
    return tp.types.filters.laid_over(changed.to(model.dtype), made.centres, made.strides, (side, side))[0]


def _centroid(heat: torch.Tensor) -> tuple[float, float]:
    places = torch.arange(len(heat), dtype=heat.dtype)
    return float((heat.sum(1) * places).sum() / heat.sum()), float((heat.sum(0) * places).sum() / heat.sum())


@pytest.mark.parametrize("name", CONVOLVED)
@pytest.mark.parametrize(("row", "column"), [(7, 10), (5, 4)])
def test_the_overlay_lies_where_the_spot_is(name: Any, row: int, column: int) -> None:
    model = shared(name)
    for layer in convolutions(model):
        field = model.survey[layer].receptive_field
        if model.survey[layer].grid is None or field is None or field > 2 * min(row, column, 15 - row, 15 - column) + 1:
            continue  # no map, or the border cuts off cells that would see the spot
        stride = max(tp.filter_responses(model, pictures(), layer=layer, k=1).strides)
        down, right = _centroid(_support(model, layer, row, column))
        # the cells that see the spot lie around it, the middle of their places within a cell of it
        assert abs(down - row) <= stride, layer
        assert abs(right - column) <= stride, layer


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), (3, 1, 0, 1), (7, 2, 3, 1), (7, 2, 0, 1), (4, 4, 0, 1), (3, 1, 2, 2), (5, 3, 1, 1)],
)
def test_a_filter_that_looks_for_one_pixel_is_laid_over_that_pixel(
    kernel: int, stride: int, padding: int, dilation: int
) -> None:
    """The weight is in the middle, so the answer to a spot is one cell; where it lies is known."""
    layer = nn.Conv2d(3, 2, kernel, stride, padding, dilation, bias=False).double()
    middle = (kernel - 1) // 2
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, :, middle, middle] = 1
    model = wrapped(nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    cell = 1
    at = cell * stride - padding + middle * dilation  # the pixel that this weight meets at that cell
    images = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64)
    images[..., at, at] = 1
    made = tp.filter_responses(model, images, k=1)
    down, right = _centroid(made.heatmaps()[0, 0])
    between = 0.5 if kernel % 2 == 0 else 0  # an even filter has its middle between two pixels
    assert down == right == pytest.approx(at + between, abs=1e-9)


@pytest.mark.slow
def test_resnet18s_first_layer_is_laid_over_the_spot() -> None:
    model = tp.load("resnet18", weights=None)
    for row, column in ((100, 60), (30, 201)):
        down, right = _centroid(_support(model, "conv1", row, column))
        assert abs(down - row) <= 1  # half a cell of 2 px
        assert abs(right - column) <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_answers_and_figures_too(dtype: Any) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(dtype))
    made = tp.filter_responses(model, pictures().to(dtype))
    assert made.heatmaps().dtype == dtype
    assert tp.draw(made).get_axes()
    compared = tp.compare_filters(model)
    assert not compared.low_learned.isnan().any()
    assert tp.draw(compared).get_axes()
    assert tp.draw(tp.color_channels(model, pictures().to(dtype))).get_axes()


def test_bilinear_between_cells_and_the_border_repeated() -> None:
    maps = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    laid = tp.types.filters.laid_over(maps, (1.0, 1.0), (4.0, 4.0), (8, 8))[0, 0]
    assert laid[1].tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
    assert laid[:, 1].tolist() == [0, 0, 2, 4, 6, 8, 8, 8]


def test_for_cells_without_gaps_it_is_torchs_upsampling() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    laid = tp.types.filters.laid_over(maps, (1.5, 1.5), (4.0, 4.0), (16, 16))
    assert torch.allclose(laid, F.interpolate(maps, (16, 16), mode="bilinear", align_corners=False), atol=1e-6)


def test_places_that_see_everything_are_spread_evenly_and_it_is_said() -> None:
    model = wrapped(nn.Sequential(Mixed(), nn.Conv2d(3, 2, 2, 2).double()))
    made = tp.filter_responses(model, pictures(), layer="1")
    assert made.centres == (0.5, 0.5)
    assert "may see the whole image" in made.notes[0]


class Mixed(nn.Module):
    """Each place becomes the mean of all, times itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((2, 3), keepdim=True)


# --- before and after


def test_the_random_filters_are_those_of_untrained_and_the_learned_ones_the_models() -> None:
    model = vision_model("residual")
    made = tp.compare_filters(model, seed=4)
    assert torch.equal(made.learned.weights, model.module.stem.weight.detach())
    assert torch.equal(made.random.weights, tp.untrained(model, 4).module.stem.weight.detach())
    assert made.random.layer == made.learned.layer == "stem"


@pytest.mark.slow
@pytest.mark.weights
def test_real_filters_are_smoother_than_noise_and_random_ones_are_noise() -> None:
    model = tp.load("efficientnet_lite0")
    for layer in ("conv_stem", "blocks.5.0.conv_dw"):
        made = tp.compare_filters(model, layer=layer)
        low = made.low_random
        error = float(low.std()) / math.sqrt(len(low))
        assert abs(float(low.mean()) - made.expected) < 4 * error
        assert float(made.low_learned.nanmean()) > made.expected + 8 * error
    assert tp.filters(model).alive.sum() < 32  # some of its first filters are next to zero
    assert tp.filters(model).padding == "as Conv2dSame does it"  # its attribute says 0, its forward pads
    assert "next to zero" in tp.compare_filters(model).notes[0]


def test_filters_without_a_pattern_in_space_are_refused() -> None:
    with pytest.raises(LayerError, match="1 x 1"):
        tp.compare_filters(shared("branches"), layer="narrow")


def test_a_network_that_has_not_learned_is_said_to_be_one() -> None:
    model = tp.untrained(vision_model("residual"))
    made = tp.compare_filters(model)
    assert "random weights itself" in made.notes[0]
    assert "learned" not in str(made)
    assert "nothing is learned yet" in tp.draw(made).title
    assert "learned" in str(tp.compare_filters(vision_model("residual")))
