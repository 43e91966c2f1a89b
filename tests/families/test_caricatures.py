"""Caricatures: more of what was found than the image itself has, and the closer to it the higher the cosine's power."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.probe import activations
from tapetum.types import MethodError


def test_the_numbers_of_a_caricature_are_dot_and_cosine_of_the_two_activations() -> None:
    model, images = shared("residual"), pictures(2)
    made = tp.caricature(model, images, layer="first", n_steps=20, cosine_power=0.5)
    a, g = (activations(model, one, "first").flatten(1) for one in (made.pixels, images))
    dot, cosine = (a * g).sum(1) / g.square().sum(1), torch.cosine_similarity(a, g)
    assert torch.allclose(made.numbers["dot"], dot)
    assert torch.allclose(made.numbers["cosine"], cosine)
    assert torch.allclose(made.scores, dot * cosine.clamp(min=0.1) ** 0.5)
    assert made.pixels.shape[-2:] == images.shape[-2:]


def test_places_compared_by_themselves_are_the_mean_over_places() -> None:
    model, images = shared("residual"), pictures(1)
    made = tp.caricature(model, images, layer="first", n_steps=3, cosine_power=2, compare="places")
    a, g = (activations(model, one, "first")[0] for one in (made.pixels, images))
    cosine = torch.cosine_similarity(a, g, dim=0).clamp(min=0.1)
    assert torch.allclose(made.scores[0], ((a * g).sum(0) * cosine**2).sum() / g.square().sum())


def test_an_activation_that_is_zero_cannot_be_exaggerated() -> None:
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).double()
    with pytest.raises(MethodError, match="image 1"):
        tp.caricature(tp.wrap(net, size=16), torch.stack([pictures(1)[0], -torch.ones(3, 16, 16).double()]), layer="0")


@pytest.mark.weights
@pytest.mark.slow
def test_a_caricature_of_a_photograph_has_more_of_it_than_the_photograph() -> None:
    model = tp.load("efficientnet_lite0")
    image = model.preprocess(tp.read_image(data.chelsea()))
    made = {p: tp.caricature(model, image, n_steps=96, cosine_power=p).numbers for p in (0, 2)}
    assert made[0]["dot"] > 1  # the photograph's own
    assert made[0]["dot"] > made[2]["dot"]
    assert made[2]["cosine"] > made[0]["cosine"]
