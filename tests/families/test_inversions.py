"""Inversion: where the answer is known it is found, the best picture only gets better, and the numbers are what they say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.probe import activations
from tapetum.engines.render import objectives as O
from tapetum.engines.render.converge import converge
from tapetum.engines.render.parametrizations import Start, fourier
from tapetum.engines.similarity import ssim
from tapetum.families.inversions.likeness import feature_distance, psnr
from tapetum.models.zoo import wrap


def photographs(model: tp.VisionModel, n: int = 1) -> Tensor:
    """Model-ready, from smooth pictures that are pixels: what an inversion can reach."""
    return model.preprocess(pictures(n).sigmoid())


class Mixing(nn.Module):
    """Each place's colours times an invertible matrix: the activation holds the whole picture. Then a dead layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.mix.weight.data = torch.tensor([[2.0, 1, 0], [0, 1, 1], [1, 0, 1]]).view(3, 3, 1, 1)
        self.dead = nn.ReLU()
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dead(self.mix(x) - 1000).mean((2, 3)))


@pytest.fixture(scope="module")
def mixing() -> tp.VisionModel:
    torch.manual_seed(0)
    return wrap(Mixing().double(), name="mixing", size=16, resize=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.mark.parametrize(("method", "decibels"), [("fourier", 35), ("pixel", 50)])
def test_an_invertible_layer_gives_the_picture_back(mixing: tp.VisionModel, method: str, decibels: int) -> None:
    images = photographs(mixing)
    made = tp.invert(mixing, images, layer="mix", method=method, n_steps=200, norm_weight=0, tv_weight=0)
    assert made.numbers["feature_loss"] < 1e-3
    assert made.numbers["ssim"] > 0.99
    assert made.numbers["psnr"] > decibels  # the layer's only answer is the picture; frequencies come nearer step by step


@pytest.mark.parametrize("name", ["in_place", "functional", "residual", "channels_last", "vit_token"])
def test_the_loss_falls_and_is_the_pictures_own(name: str) -> None:
    model = shared(name)
    images = photographs(model)
    layer = [row.name for row in model.layers() if row.grid is not None][-1]
    made = tp.invert(model, images, layer=layer, n_steps=30)
    assert made.values is not None
    assert made.values[-1] < 0.7 * made.values[0]
    given, found = activations(model, images, layer), activations(model, model.preprocessing.normalize(made.pixels), layer)
    assert torch.allclose(made.numbers["feature_loss"], (found - given).square().sum() / given.square().sum())
    assert torch.equal(made.values[-1], made.numbers["feature_loss"])
    assert made.status == ("ok",)


def test_the_best_picture_never_gets_worse() -> None:
    model = shared("residual")
    images = photographs(model)
    layer = [row.name for row in model.layers() if row.grid is not None][-1]
    match = O.feature_match(layer, activations(model, images, layer))
    start = Start(size=(16, 16), dtype=torch.float64)
    found = converge(model, [match, -1e-3 * O.power_norm()], fourier(), start, n_steps=40)
    assert len(found.terms) == 40
    assert (found.values.diff() >= 0).all()
    assert (found.values.diff() > 0).sum() > 20  # most steps find something better


@pytest.mark.bits
def test_several_images_and_layers_are_what_single_runs_give() -> None:
    model = shared("residual")
    images = photographs(model, 2)
    layers = [row.name for row in model.layers() if row.grid is not None][:2]
    made = tp.invert(model, images, layer=layers, n_steps=6)
    alone = [tp.invert(model, image, layer=layer, n_steps=6) for image in images.split(1) for layer in layers]
    assert torch.equal(made.pixels, torch.cat([one.pixels for one in alone]))
    assert made.objectives == tuple(f"activation of {layer}" for layer in layers) * 2
    assert torch.equal(made.numbers["psnr"], torch.cat([one.numbers["psnr"] for one in alone]))


def test_more_total_variation_is_smoother() -> None:
    model = shared("residual")
    images, layer = photographs(model), [row.name for row in model.layers() if row.grid is not None][-1]
    rough = [
        tp.invert(model, images, layer=layer, n_steps=40, tv_weight=weight).pixels.diff(dim=-1).square().sum()
        for weight in (0, 1e-3, 1e-1)
    ]
    assert rough[0] > 1.2 * rough[1] > 1.2**2 * rough[2]


def test_frames_are_the_way_there() -> None:
    model = shared("residual")
    layer = [row.name for row in model.layers() if row.grid is not None][-1]
    made = tp.invert(model, photographs(model), layer=layer, n_steps=8, frames=(0, 4, 8))
    shorter = tp.invert(model, photographs(model), layer=layer, n_steps=4)
    assert made.frames is not None
    assert made.frame_steps == (0, 4, 8)
    assert torch.equal(made.frames[1], shorter.pixels)
    assert torch.equal(made.frames[2], made.pixels)
    assert (made.frames[0] - 0.5).abs().max() < 0.2  # weak noise around grey


def test_a_layer_of_zeros_has_nothing_to_invert(mixing: tp.VisionModel) -> None:
    made = tp.invert(mixing, photographs(mixing), layer=["mix", "dead"], n_steps=3)
    assert made.status == ("ok", "silent")
    assert made.numbers["feature_loss"].isnan().tolist() == [False, True]
    assert "activation of dead" in made.notes[0]


def test_similarities_are_those_of_their_formulas() -> None:
    a, b = (pictures(2, seed=seed).sigmoid() for seed in (0, 1))
    expected = [10 * math.log10(1 / float(((x - y) ** 2).mean())) for x, y in zip(a, b, strict=True)]
    assert psnr(a, b).tolist() == pytest.approx(expected)
    assert torch.allclose(ssim(a, b), _ssim(a, b))
    assert torch.allclose(ssim(a, a), torch.ones(2, dtype=torch.float64))


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    """Wang et al.'s formula with convolutions: windows of 7 x 7 inside the picture, sample covariances."""

    def local(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 7, 1)

    unbiased = 49 / 48
    mean_a, mean_b = local(a), local(b)
    var_a, var_b, cov = (
        unbiased * (local(x * y) - m * n)
        for x, y, m, n in ((a, a, mean_a, mean_a), (b, b, mean_b, mean_b), (a, b, mean_a, mean_b))
    )
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return values.mean((1, 2, 3))


def test_the_feature_distance_sees_directions_only(mixing: tp.VisionModel) -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    assert feature_distance(mixing, images, images, ["mix"]).tolist() == [0, 0]
    assert torch.allclose(feature_distance(mixing, images, 3 * images, ["mix"]), torch.zeros(2, dtype=torch.float64))
    assert torch.allclose(feature_distance(mixing, images, -images, ["mix"]), torch.full((2,), 4, dtype=torch.float64))


class Narrowing(nn.Module):
    """An invertible mixing, then averages over 4 x 4 places, which lose 15 of 16 numbers, then mixing again."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = Mixing().mix
        self.pool = nn.Conv2d(3, 3, 4, stride=4, groups=3, bias=False)
        self.pool.weight.data.fill_(1 / 16)
        self.again = Mixing().mix
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.pool(self.mix(x))).mean((2, 3)))


def test_the_bottleneck_is_where_the_network_loses_the_places() -> None:
    torch.manual_seed(0)
    model = wrap(Narrowing().double(), size=16, resize=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    images = photographs(model)
    found = tp.information_by_depth(model, images, layers=["mix", "pool", "again"], method="pixel", n_steps=40, tv_weight=0)
    assert found.bottlenecks == (("mix", "pool"),)
    assert found.layers == ("mix", "pool", "again")
    table = found.numbers["ssim"].view(1, 3)
    assert (table[:, 0] > 0.95).all()
    assert (table[:, 1] < table[:, 0] - 0.1).all()  # the pictures are smooth: their averages keep most of them
    distances = found.numbers["feature_distance"].view(1, 3)
    assert (distances[:, 0] < distances[:, 1]).all()
    assert "between mix and pool" in found.notes[0]


def test_what_was_found_by_depth_is_kept_and_drawn(tmp_path: Path) -> None:
    model = shared("residual")
    found = tp.information_by_depth(model, photographs(model, 2), layers=["stem", "second"], n_steps=3)
    again = tp.open(tp.save(found, tmp_path / "found"))
    assert again.bottlenecks == found.bottlenecks
    assert torch.equal(again.numbers["feature_distance"], found.numbers["feature_distance"])
    assert torch.equal(found[3].pixels[0], found.pixels[3])
    figure = tp.draw(again)
    words = [axes.get_title(loc="left") for axes in figure.axes]
    assert words[:3] == ["photograph", "stem", "second"]
    assert f"SSIM {float(found.numbers['ssim'][2]):.2f}" in [axes.get_xlabel() for axes in figure.axes]


@pytest.mark.slow
@pytest.mark.weights
def test_inversions_converge_with_the_default_settings() -> None:
    from skimage.data import chelsea

    model = tp.load("efficientnet_lite0")
    made = tp.invert(model, chelsea(), layer=["blocks.0", "blocks.6"])
    early, deep = made.numbers["feature_loss"].tolist()
    assert early < 0.1
    assert deep < 0.5
    assert made.numbers["ssim"][0] > 0.8
