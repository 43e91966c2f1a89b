"""Photographs that a network redraws: octaves by their formula, styles and accents by their distances, nothing left behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor, nn
from zoo import shared, vision_model

import tapetum as tp
from tapetum.engines.render import transforms
from tapetum.engines.render.parametrizations.images import covering
from tapetum.families.dreams.octaves import octave_sizes


def photographs(n: int = 2, size: tuple[int, int] = (96, 160)) -> list[Tensor]:
    """Parts of a photograph, (1, 3, h, w), float32 numbers in float64: what reading a picture keeps."""
    cat = tp.read_image(skimage.data.chelsea())
    return [covering(cat[..., 40 * i :], size).double() for i in range(n)]


class Maps(nn.Module):
    """Two layers with maps and known values: the picture itself, and halved in size."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.same.weight)
        self.pooled = nn.AvgPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.pooled(self.same(images)).mean((2, 3))


def plain() -> tp.VisionModel:
    """Its layers see pixels as they are, in [0, 1]."""
    return tp.wrap(Maps().double(), size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_a_photograph_of_more_pixels_than_are_held_as_floats_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(tp.TapetumError, match="6000 x 6000, more than 32 million pixels"):
        tp.deep_dream(plain(), Image.new("1", (6000, 6000)))


# --- dreams


def test_octaves_are_the_picture_divided_by_powers_of_the_scale() -> None:
    # 96 / 1.4^4 = 25 would be below 32 px
    assert octave_sizes((96, 160), 5, 1.4) == [(35, 58), (49, 82), (69, 114), (96, 160)]
    assert octave_sizes((128, 64), 2, 2.0) == [(64, 32), (128, 64)]
    assert octave_sizes((16, 16), 3, 2.0) == [(16, 16)]


def test_a_dream_of_brightness_adds_the_same_number_of_steps_at_every_octave() -> None:
    # the gradient of the mean of one channel is the same everywhere, so g / mean|g| is 3 in this channel, 0 in the others
    (picture,) = photographs(1)
    made = tp.deep_dream(plain(), [picture / 2], units="same:1", n_octaves=3, n_steps=4, step_size=0.01)
    expected = picture / 2
    expected[:, 1] += 3 * 0.01 * 4 * 3
    assert torch.allclose(made.pixels, expected, rtol=0, atol=1e-12)  # float64, 12 steps
    assert torch.allclose(made.scores - made.numbers["before"], torch.tensor([0.36], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["in_place", "residual", "channels_last"])
def test_the_objective_rises_at_every_octave(name: str) -> None:
    made = tp.deep_dream(shared(name), photographs(1), n_octaves=3, n_steps=8, step_size=0.004, jitter_px=0)
    assert made.values is not None
    octaves = made.values.view(3, 8)
    assert (octaves[:, -1] > octaves[:, 0]).all()
    assert (made.scores > made.numbers["before"]).all()
    assert made.pixels.shape[-2:] == (96, 160)


@pytest.mark.bits
def test_the_dream_of_two_pictures_is_two_dreams() -> None:
    model, pictures = shared("residual"), photographs(2, (48, 64))
    together = tp.deep_dream(model, pictures, n_octaves=2, n_steps=2, frames=(0, 3))
    alone = [tp.deep_dream(model, [one], n_octaves=2, n_steps=2, frames=(0, 3)) for one in pictures]
    assert torch.equal(together.pixels, torch.cat([one.pixels for one in alone]))
    assert together.frames is not None
    assert torch.equal(together.frames[0], torch.cat(pictures))
    assert torch.equal(together.frames, torch.cat([one.frames for one in alone if one.frames is not None], 1))
    assert not torch.equal(together.frames[1], together.pixels)


def test_a_network_of_one_size_dreams_of_the_middle_at_one_octave_and_says_so() -> None:
    made = tp.deep_dream(shared("vit_token"), photographs(1, (48, 64)), n_steps=2)
    assert made.pixels.shape[-2:] == (16, 16)
    assert any("the middle of the picture" in one for one in made.notes)
    assert any("octaves" in one for one in made.notes)


def test_large_pictures_are_made_smaller_and_pictures_of_several_sizes_need_one() -> None:
    model, (a, b) = plain(), (*photographs(1, (40, 80)), *photographs(1, (64, 64)))
    made = tp.deep_dream(model, [a], layer="pooled", longest_px=60, n_octaves=1, n_steps=1)
    assert made.pixels.shape[-2:] == (30, 60)
    assert any("longest_px" in one for one in made.notes)
    with pytest.raises(tp.TapetumError, match="2 sizes"):
        tp.deep_dream(model, [a, b], layer="pooled", n_steps=1)
    assert len(tp.deep_dream(model, [a, b], layer="pooled", n_octaves=1, n_steps=1, size="96x160")) == 2


def test_a_dream_has_a_layer_or_units() -> None:
    with pytest.raises(tp.TapetumError, match="one of the two"):
        tp.deep_dream(plain(), photographs(1), layer="pooled", units="same:1")


def test_a_dream_of_what_no_gradient_reaches_is_the_photograph_and_says_so() -> None:
    (picture,) = photographs(1)
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1)).double()
    nn.init.constant_(net[0].bias, -1e3)
    made = tp.deep_dream(tp.wrap(net, size=32), [picture], layer="1", n_octaves=2, n_steps=2)
    assert made.status == ("silent",)
    assert torch.allclose(made.pixels, picture, rtol=0, atol=1e-15)  # what an octave adds to its base is taken off again


# --- styles


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b**2).sum())


def gram(picture: Tensor) -> np.ndarray:
    """Of pixels, by the definition, place by place."""
    flat = picture[0].flatten(1).numpy()
    return np.mean([np.outer(place, place) for place in flat.T], 0)


def test_content_and_style_are_those_of_the_definition() -> None:
    p, s = photographs(2, (16, 24))
    made = tp.style_transfer(
        plain(), [p], style=s, content_layer="same", style_layers=["same", "pooled"], style_weight=3, n_steps=4, jitter_px=0
    )
    content = relative(made.pixels[0].numpy(), p[0].numpy())
    style = []
    for at in (lambda x: x, lambda x: nn.functional.avg_pool2d(x, 2)):
        grams = [gram(at(picture)) for picture in (made.pixels, p, s)]
        style.append(relative(grams[0], grams[2]) / relative(grams[1], grams[2]))
    assert made.numbers["content"].item() == pytest.approx(content, rel=1e-9)
    assert made.numbers["style"].item() == pytest.approx(np.mean(style), rel=1e-9)
    assert made.scores.item() == pytest.approx(-content - 3 * np.mean(style), rel=1e-9)


@pytest.mark.parametrize("name", ["in_place", "residual"])
def test_style_comes_nearer_while_content_stays_nearer_than_noise(name: str) -> None:
    model, (p, s) = shared(name), photographs(2, (32, 48))
    noise = torch.rand(p.shape, generator=torch.Generator().manual_seed(0), dtype=p.dtype)
    made = tp.style_transfer(model, [p], style=s.flip(-1) ** 2, n_steps=20)
    assert made.numbers["style"].item() < 0.5
    at_any_price = tp.style_transfer(model, [p], style=noise, style_weight=1e6, n_steps=20)
    assert made.numbers["content"].item() < at_any_price.numbers["content"].item()


def test_without_style_weight_the_photograph_stays() -> None:
    p, s = photographs(2, (48, 64))
    made = tp.style_transfer(shared("residual"), [p], style=s, style_weight=0, n_steps=3, jitter_px=0)
    assert torch.equal(made.pixels, p)  # at its own content the gradient is zero, to the last bit


def test_two_pictures_in_one_style_are_two_runs() -> None:
    model, (a, b) = shared("residual"), photographs(2, (32, 48))
    together = tp.style_transfer(model, [a, b], style=b.flip(-2) ** 2, n_steps=3, frames=(0, 2))
    alone = [tp.style_transfer(model, [one], style=b.flip(-2) ** 2, n_steps=3, frames=(0, 2)) for one in (a, b)]
    assert torch.equal(together.pixels, torch.cat([one.pixels for one in alone]))
    assert torch.equal(together.numbers["style"], torch.cat([one.numbers["style"] for one in alone]))
    assert together.frames is not None
    assert torch.equal(together.frames[0], torch.cat([a, b]))


def test_one_picture_gives_the_style() -> None:
    with pytest.raises(tp.TapetumError, match="not 2"):
        tp.style_transfer(shared("residual"), photographs(1, (32, 32)), style=photographs(2, (32, 32)))


# --- accents


def test_held_firmly_the_picture_stays_and_let_go_it_drives_the_unit() -> None:
    model, (picture,) = shared("residual"), photographs(1, (32, 48))
    free, held = (tp.accentuate(model, [picture], units=2, hold=hold, n_steps=25, n_views=1) for hold in (0, 1e6))
    far, near = ((one.pixels - picture).square().mean().sqrt() for one in (free, held))
    assert free.scores > free.numbers["before"]
    assert near < 0.25 * far  # Adam's steps of .05 leave it swaying about the photograph
    assert torch.equal(free.numbers["before"], held.numbers["before"])


@pytest.mark.parametrize("parametrization", ["fourier", "phase", "pixel"])
def test_accents_of_two_pictures_are_two_runs(parametrization: str) -> None:
    model, pictures = shared("residual"), photographs(2, (32, 48))
    options = {"n_steps": 2, "n_views": 2, "frames": (0, 1), "parametrization": parametrization}
    together = tp.accentuate(model, pictures, **options)
    alone = [tp.accentuate(model, [one], **options) for one in pictures]
    assert torch.equal(together.pixels, torch.cat([one.pixels for one in alone]))
    assert together.objectives == tuple(one.objectives[0] for one in alone)  # each its predicted class
    assert together.frames is not None
    # a photograph's blacks and whites are moved inside by 1e-4, and frequencies round
    assert torch.allclose(together.frames[0], torch.cat(pictures), rtol=0, atol=1.01e-4)


def test_a_network_of_one_size_looks_at_views_of_the_whole_picture() -> None:
    (picture,) = photographs(1, (32, 48))
    made = tp.accentuate(shared("vit_token"), [picture], units=1, hold=0, n_steps=6)
    assert made.pixels.shape == picture.shape
    assert (made.scores > made.numbers["before"]).all()


def test_an_accent_of_what_no_gradient_reaches_is_the_photograph_and_says_so() -> None:
    (picture,) = photographs(1, (32, 48))
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1)).double()
    nn.init.constant_(net[0].bias, -1e3)  # the layer that holds it is zero everywhere, too
    made = tp.accentuate(tp.wrap(net, size=32), [picture], units="2:1", layer="1", n_steps=3)
    assert made.status == ("silent",)
    assert torch.allclose(made.pixels, picture, rtol=0, atol=1.01e-4)  # black and white are moved inside by 1e-4


class Bright(nn.Module):
    """Answers to what is brighter than a half, wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.map.weight)
        nn.init.constant_(self.map.bias, -0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.map(images).relu().mean((2, 3))


def test_what_the_unit_never_asked_for_is_transparent() -> None:
    model = tp.wrap(Bright().double(), size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    picture = torch.full((1, 3, 48, 64), 0.1)
    picture[..., 32:] = 0.9
    made = tp.accentuate(
        model, [picture], units=0, layer="map", n_steps=12, noise_sd=0, transparency=True, parametrization="pixel"
    )
    alpha = made.pixels[0, 3]
    assert made.pixels.shape == (1, 4, 48, 64)
    assert alpha[:, :26].max() < 0.01  # 5 px are the reach of the blur
    assert alpha[8:-8, 40:-8].min() > 0.4


def test_units_are_one_for_all_or_one_each() -> None:
    model, pictures = shared("residual"), photographs(2, (32, 32))
    made = tp.accentuate(model, pictures, units=[1, 3], n_steps=1, n_views=1)
    assert made.objectives == ("class_logit(class 1)", "class_logit(class 3)")
    with pytest.raises(tp.TapetumError, match="one for all, or one each"):
        tp.accentuate(model, pictures, units=[1, 2, 3], n_steps=1)


def test_a_view_is_a_square_part_at_the_size_that_was_asked_for() -> None:
    ramp = torch.arange(96).double().expand(1, 1, 64, 96) / 96
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        view = transforms.random_view(16, 0.5, 0.75).apply(ramp, generator)
        slopes = view[0, 0, :, 3:-3].diff(dim=-1)  # at the edges of the part the mean has no pixels beyond
        assert view.shape[-2:] == (16, 16)
        assert torch.allclose(slopes, slopes.mean(), rtol=0.05, atol=0)  # triangles at fractions of a pixel: a ripple of 3 %
        assert 32 / 16 - 0.1 <= 96 * slopes.mean() <= 48 / 16 + 0.1


# --- all three


@pytest.mark.parametrize("name", ["deep_dream", "style_transfer", "accentuate"])
def test_the_users_model_is_left_as_it_came(name: str) -> None:
    model = vision_model("in_place")
    module = model.module
    before, mode = copy.deepcopy(module.state_dict()), [part.training for part in module.modules()]
    (picture,) = photographs(1, (32, 48))
    tp.run(name, model, [picture], n_steps=1, **({"style": picture.flip(-1)} if name == "style_transfer" else {}))
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    assert mode == [part.training for part in module.modules()]
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


# --- the built-in network


@pytest.mark.weights
@pytest.mark.slow
def test_a_dream_nearly_doubles_what_the_layer_sees() -> None:
    made = tp.deep_dream(tp.load("efficientnet_lite0"), skimage.data.chelsea(), longest_px=256)
    assert made.scores > 1.8 * made.numbers["before"]  # 2.03 times with one thread, 1.97 with two: last bits grow


@pytest.mark.weights
@pytest.mark.slow
def test_a_cat_accentuated_towards_a_tiger_is_one_to_the_network_and_held_stays_nearer() -> None:
    model, cat = tp.load("efficientnet_lite0"), tp.read_image(skimage.data.chelsea())
    options = {"units": "tiger", "n_steps": 12, "n_views": 2, "longest_px": 224}
    free, held = (tp.accentuate(model, [cat], hold=hold, **options) for hold in (0, 1))
    assert tp.predict(model, held.pixels[0])[0][0].label == "tiger"
    photograph = covering(cat, (int(held.pixels.shape[-2]), 224))
    far, near = ((one.pixels - photograph).square().mean() for one in (free, held))
    assert near < far


@pytest.mark.weights
@pytest.mark.slow
def test_a_photograph_gets_most_of_the_way_to_a_style() -> None:
    photo, style = skimage.data.chelsea(), skimage.data.immunohistochemistry()
    made = tp.style_transfer(tp.load("efficientnet_lite0"), photo, style=style, n_steps=60, longest_px=192)
    assert made.numbers["style"].item() < 0.3
    assert made.numbers["content"].item() < 1  # 1 is what a picture without content has
