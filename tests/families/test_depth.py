"""Inspections by depth: closed forms on nets whose activations are known, and what a hidden box cannot change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from zoo import SIDE, pictures, shared, vision_model, wrapped

import tapetum as tp
from tapetum.models.zoo import SimpleCNN
from tapetum.types import ImageError, LayerError, MethodError


class Known(nn.Module):
    """Two channels: the sum of the colours and its negative; ReLU; a mean over 4 x 4 places; the two means."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=inplace)
        self.pool = nn.AvgPool2d(4)
        with torch.no_grad():
            self.mix.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.relu(self.mix(images))).mean((2, 3))


def known():
    return wrapped(Known().double().eval(), "known")


def test_the_layer_table_of_a_net_in_closed_form() -> None:
    images = pictures(3)
    table = tp.layer_table(known(), images)
    mix, relu, pool = table.rows
    total = images.sum(1)
    assert [row.name for row in table.rows] == ["mix", "relu", "pool"]
    assert [row.shape for row in table.rows] == [(2, 16, 16), (2, 16, 16), (2, 4, 4)]
    assert [(row.parameters, row.receptive_field, row.stride) for row in table.rows] == [(6, 1, 1), (0, 1, 1), (0, 4, 4)]
    assert mix.mean == pytest.approx(0, abs=1e-12)  # the in-place ReLU behind it has not overwritten what it gave
    assert relu.mean == pytest.approx(float(total.abs().mean()) / 2)
    # of each place exactly one channel is negative before the ReLU, and 0 behind it
    assert (mix.zeros, mix.not_positive, relu.zeros, relu.not_positive) == (0, 0.5, 0.5, 0.5)
    assert torch.allclose(table.means[1], total.abs().mean((1, 2)) / 2)
    assert pool.mean == pytest.approx(relu.mean)
    assert "mix    Conv2d     2 x 16 x 16  6           1      1       0.0 %   50.0 %" in str(table)


def test_layers_that_only_pass_on_are_left_out_of_the_table_unless_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model = wrapped(net.double().eval())
    assert [row.name for row in tp.layer_table(model, pictures(1)).rows] == ["0", "3", "5"]
    assert [row.name for row in tp.layer_table(model, pictures(1), layers="5,1").rows] == ["1", "5"]


def test_shapes_are_those_of_the_given_images() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
    table = tp.layer_table(wrapped(net.double().eval()), pictures(1, side=40))
    assert (table.size, table.rows[0].shape) == ((40, 40), (4, 19, 19))


def test_the_progression_is_the_mean_over_channels() -> None:
    images = pictures(2)
    strip = tp.layer_progression(known(), images, layers=["relu", "pool"])
    half = images.sum(1, keepdim=True).abs() / 2
    assert torch.allclose(strip.maps[0], half[:, 0])
    assert torch.allclose(strip.maps[1], F.avg_pool2d(half, 4)[:, 0])
    assert strip.channels == (2, 2)


def test_the_progression_of_vgg16_has_the_stages_that_are_asked_for() -> None:
    stages = [4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M"]  # VGG-16's, with few channels
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers(stages), num_classes=2, init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(4 * 49, 2))
    asked = (0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 30)
    model = tp.wrap(net, size=32)
    strip = tp.layer_progression(model, torch.zeros(1, 3, 32, 32), layers=",".join(f"features.{i}" for i in asked))
    sides = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2, 1]
    assert [one.shape[-1] for one in strip.maps] == sides
    assert [model.survey[f"features.{i}"].receptive_field for i in (0, 2, 16, 28)] == [3, 5, 44, 196]


def test_mean_activations_keep_channels_and_images_apart() -> None:
    images = pictures(3)
    found = tp.mean_activations(known(), images, layers="relu")
    total = images.sum(1)
    expected = torch.stack([total.clamp(min=0).mean((1, 2)), (-total).clamp(min=0).mean((1, 2))], 1)
    assert torch.allclose(found.means[0], expected)


def test_simple_cnn_and_resnet18_have_their_stages_by_default() -> None:
    model = tp.wrap(SimpleCNN(), size=32)
    assert tp.mean_activations(model, torch.zeros(1, 3, 32, 32)).layers == ("features.0.2", "features.1.2", "features.2.2")
    resnet = tp.load("resnet18", weights=None)
    found = tp.mean_activations(resnet, torch.zeros(1, 3, 64, 64), layers=["layer1", "layer2", "layer3", "layer4"])
    assert [one.shape[1] for one in found.means] == [64, 128, 256, 512]


def test_depth_properties_are_computed_on_the_images() -> None:
    images = pictures(2)
    (row,) = tp.depth_properties(known(), images, layers="relu").rows
    assert (row.grid, row.channels, row.per_pixel) == ((16, 16), 2, 2.0)
    assert (row.field, row.measured, row.effective, row.zeros) == (1, 1, 1, 0.5)


# --- the occlusion probe


def test_a_hidden_box_is_really_black_and_the_change_is_what_was_there() -> None:
    images = pictures(1).abs()
    probe = tp.occlusion_probe(known(), images, box=(4, 8, 8, 14), layers=["relu", "pool"])
    assert probe.after[0, :, 4:8, 8:14].abs().max() == 0
    assert torch.equal(probe.after[0, :, :4], probe.before[0, :, :4])
    change = images.sum(1).abs() / 2  # of the one channel that was not 0, the mean over two
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.float64)
    mask[:, 4:8, 8:14] = 1
    assert torch.allclose(probe.changes[0], change * mask)
    assert probe.under == ((4, 7, 8, 13), (1, 1, 2, 3))
    assert probe.reach == probe.under
    assert torch.equal(probe.share_under, torch.ones(2, 1, dtype=torch.float64))
    assert probe.words() == "rows 4:8, columns 8:14"


@pytest.mark.parametrize("name", ["in_place", "functional", "reused", "residual", "channels_last", "branches", "linear_conv"])
def test_outside_the_theoretical_reach_nothing_changes_at_all(name: str) -> None:
    model, images = shared(name), pictures(2)
    layers = [layer.name for layer in model.layers() if layer.name in model.survey.spans and min(layer.grid or (0,)) > 1]
    probe = tp.occlusion_probe(model, images, box=(2, 6, 9, 13), fill="noise", layers=layers)
    outside = 0
    for change, reach in zip(probe.changes, probe.reach, strict=True):
        top, bottom, left, right = reach
        beyond = change.clone()
        assert beyond[:, top : bottom + 1, left : right + 1].max() > 0
        beyond[:, top : bottom + 1, left : right + 1] = 0
        outside += change[0].numel() - (bottom - top + 1) * (right - left + 1)
        assert beyond.max() == 0
    assert outside > 0
    assert torch.allclose(probe.share_reached, torch.ones_like(probe.share_reached))


def test_every_fill_is_named_for_what_it_is() -> None:
    model, images = tp.load("simple_cnn"), torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = {fill: tp.occlusion_probe(model, images, fill=fill) for fill in ("black", "grey", "blur", "noise")}
    boxes = {fill: probe.after[0, :, 40:80, 40:80] for fill, probe in found.items()}
    assert boxes["black"].max() == 0
    assert torch.allclose(boxes["grey"], torch.full_like(boxes["grey"], 0.5))
    assert found["grey"].fill == "the training set's mean colour (RGB 128, 128, 128)"
    assert float(boxes["blur"].std()) < 0.5 * float(found["blur"].before[0, :, 40:80, 40:80].std())
    assert abs(float(boxes["noise"].mean()) - 0.5) < 0.02  # 4800 draws: a standard error of 0.004
    assert found["black"].box == (29, 85, 34, 90)  # 50:150 and 60:160 of 224, at 128


def test_the_answer_before_and_after_is_the_models_own() -> None:
    model, images = vision_model("residual"), pictures(2)
    probe = tp.occlusion_probe(model, images, box="0,16,0,16", layers="stem")
    assert probe.classes is not None
    before, after = (model(x).softmax(1).detach() for x in (images, torch.zeros_like(images)))
    first = before.argmax(1)
    assert torch.allclose(probe.probabilities[:, 0], before.amax(1))
    assert torch.allclose(probe.probabilities[:, 1], after[torch.arange(2), first])
    assert torch.allclose(probe.probabilities[:, 2], after.amax(1))


def test_attention_carries_the_change_everywhere_and_this_is_said() -> None:
    probe = tp.occlusion_probe(shared("vit_token"), pictures(1), box=(0, 4, 0, 4), layers=["patches", "blocks.1"])
    patches, block = probe.changes
    assert probe.reach == ((0, 0, 0, 0), None)
    assert patches[0, 0, 0] == patches.sum()
    assert block.min() > 0
    assert "blocks.1: every place may see the whole image" in probe.notes[0]


@pytest.mark.parametrize(
    ("box", "kind", "words"),
    [
        ((0, 17, 0, 4), ImageError, "the box 0,17,0,4 does not lie in an image of 16 x 16 px"),
        ((4, 4, 0, 4), ImageError, "0 <= top < bottom <= 16"),
        ((-2, 4, 0, 4), ImageError, "does not lie"),
        ("1,2,3", MethodError, "four whole numbers"),
        ("a,b,c,d", MethodError, "four whole numbers"),
        ("0.5,4,0,4", MethodError, "four whole numbers"),
    ],
)
def test_a_box_that_is_none_is_refused(box: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        tp.occlusion_probe(shared("residual"), pictures(1), box=box)


def test_a_layer_without_places_is_refused() -> None:
    for method in (tp.layer_progression, tp.mean_activations, tp.receptive_fields, tp.depth_properties, tp.occlusion_probe):
        with pytest.raises(LayerError, match=r"head.linear of residual gives no map"):
            method(shared("residual"), pictures(1), layers="head.linear")


def test_activation_maps_rank_channels_by_their_variance_over_places() -> None:
    images = pictures(2)
    (maps,) = tp.activation_maps(shared("residual"), images, layers="stem", k=64)
    with tp.capture(shared("residual"), "stem") as acts:
        shared("residual")(images)
    variances = acts["stem"].var((2, 3), correction=0)
    assert maps.values.shape == (2, 6, 16, 16)  # a layer of six channels has no more
    assert torch.equal(maps.channels, variances.argsort(1, descending=True))
    assert str(maps).startswith("stem, 16 x 16 places, channels by variance: ")
    assert math.isclose(float(maps.values[1, 0].var(correction=0)), float(variances[1].max()))
