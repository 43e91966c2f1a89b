"""Gradients that torch itself gets wrong, and completeness where it can be had."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from zoo import CLASSES, SIDE, pictures, shared, wrapped

import tapetum as tp


class TokensBehindNorm(nn.Module):
    """Convolution, batch-norm, then tokens: the gradient reaches the batch-norm transposed (LeViT, XCiT, EfficientFormer)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8)
        self.mix, self.head = nn.Linear(8, 8), nn.Linear(8, CLASSES)
        nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(self.stem(images)).flatten(2).transpose(1, 2)
        return self.head((tokens + self.mix(tokens).sigmoid() * tokens.roll(1, 1)).mean(1))


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "guided_integrated_gradients", "deep_lift", "lrp"])
def test_one_image_alone_has_the_gradient_that_it_has_in_a_batch(method: str) -> None:
    torch.manual_seed(0)
    model, images = wrapped(TokensBehindNorm().double()), pictures(2)
    explain = tp.lookup(method).function
    pair = explain(model, images, [1, 3], batch=2).values
    alone = torch.cat([explain(model, images[i : i + 1], [1, 3][i]).values for i in (0, 1)])
    torch.testing.assert_close(alone, pair, rtol=1e-9, atol=1e-12)


def test_saliency_behind_a_norm_is_the_slope_that_finite_differences_see() -> None:
    torch.manual_seed(0)
    model, image = wrapped(TokensBehindNorm().double()), pictures(1)
    values = tp.saliency(model, image, 2).values[0]
    for c, row, column in ((0, 0, 0), (1, 7, 3), (2, SIDE - 1, SIDE - 1)):
        step = torch.zeros_like(image)
        step[0, c, row, column] = 1e-5
        with torch.no_grad():
            slope = (model(image + step) - model(image - step))[0, 2] / 2e-5
        assert abs(float(slope)) == pytest.approx(float(values[c, row, column]), rel=1e-6)


@pytest.mark.parametrize("target", [3, 281])
def test_integrated_gradients_of_a_new_resnet18_are_complete_to_1e_4(target: int) -> None:
    """50 Gauss-Legendre nodes. As torchvision makes it, all its biases but the last are zero, so along the path from zero
    the score is a straight line: what is left is rounding. Trained networks have kinks on the way; the docstring has numbers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torchvision.models.resnet18(weights=None)
    model = tp.wrap(module, size=96, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = pictures(1, 96, dtype=torch.float32)
    total = float(tp.integrated_gradients(model, image, target, n_steps=50).values.double().sum())
    with torch.no_grad():
        difference = float((model(image) - model(torch.zeros_like(image)))[0, target])
    assert abs(total - difference) <= 1e-4 * abs(difference)


@pytest.mark.parametrize("method", ["integrated_gradients", "blur_integrated_gradients", "guided_integrated_gradients"])
def test_a_sum_that_falls_short_is_told_with_its_size(method: str) -> None:
    model, images = shared("functional"), pictures(2)
    explain = tp.lookup(method).function
    told = [note for note in explain(model, images, [1, 3], n_steps=1).notes if "score's change" in note]
    assert len(told) == 1
    assert told[0].endswith("%: more n_steps come closer")
    linear = explain(shared("linear"), images, [1, 3], n_steps=64).notes
    assert not [note for note in linear if "score's change" in note]


def test_the_told_gap_is_the_gap() -> None:
    model, images = shared("functional"), pictures(1)
    result = tp.integrated_gradients(model, images, 1, n_steps=1, baseline=0.3)
    with torch.no_grad():
        change = (model(images) - model(torch.full_like(images, 0.3)))[0, 1]
    gap = abs(float((result.values.sum() - change) / change))
    assert f"but for {gap:.0%}:" in " ".join(result.notes)
