"""torchattacks 3.5.1: the same pixels at the same seed, and the same distances, on networks that carry a normalisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import SIDE, net, pictures

import tapetum as tp
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap

pytestmark = pytest.mark.oracle

torchattacks: Any = pytest.importorskip("torchattacks")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ROUNDED = 1e-12
"""In float64: they add eps and clip, we clip to rounded ends; the sign of a gradient is no matter of rounding here."""

NAMES = ("residual", "functional", "channels_last", "vit_mean", "linear")


def problem(name: str) -> tuple[VisionModel, Tensor, Tensor]:
    """A network that is sure of its answers, pixels of two pictures near a border, and the answers."""
    module = net(name)
    with torch.no_grad():
        [part for part in module.modules() if isinstance(part, nn.Linear)][-1].weight.mul_(4 if name == "linear" else 40)
    model = wrap(module, size=SIDE, mean=MEAN, std=STD, name=name)
    pixels = (0.5 + 0.2 * pictures(2)).clamp(0, 1)
    return model, pixels, model.module.eval()(model.preprocessing.normalize(pixels)).argmax(1)


class WithPixels(nn.Module):
    """The network behind its normalisation, as their users write it."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.module, self.how = model.module, model.preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        return self.module(self.how.normalize(pixels))


def theirs(kind: str, model: VisionModel, **about: Any) -> Any:
    return getattr(torchattacks, kind)(WithPixels(model), **about)


def ready(model: VisionModel, pixels: Tensor) -> Tensor:
    return model.preprocessing.normalize(pixels)


@pytest.mark.parametrize("name", NAMES)
def test_fgsm_makes_the_same_pixels(name: str) -> None:
    model, pixels, answers = problem(name)
    ours = tp.fgsm(model, ready(model, pixels), eps="8/255")
    there = theirs("FGSM", model, eps=8 / 255)(pixels, answers)
    assert ours.success.all()
    torch.testing.assert_close(ours.pixels, there, rtol=0, atol=ROUNDED)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("aim", [None, 3])
def test_pgd_makes_the_same_pixels_at_the_same_seed(name: str, aim: int | None) -> None:
    model, pixels, answers = problem(name)
    settings: dict[str, Any] = {"eps": 8 / 255, "step": 2 / 255, "n_steps": 7, "seed": 5, "keep": "last"}
    for row in range(2):  # they draw the noise of a whole batch, we that of each image
        one = pixels[row : row + 1]
        attack = theirs("PGD", model, eps=8 / 255, alpha=2 / 255, steps=7)
        wanted = answers[row : row + 1]
        if aim is not None:
            attack.set_mode_targeted_by_label(quiet=True)
            wanted = torch.tensor([aim])
        torch.manual_seed(5)
        there = attack(one, wanted)
        ours = tp.pgd(model, ready(model, one), aim, **settings)
        torch.testing.assert_close(ours.pixels, there, rtol=0, atol=ROUNDED)


@pytest.mark.parametrize("name", NAMES)
def test_pgd_of_length_makes_the_same_pixels_at_the_same_seed(name: str) -> None:
    model, pixels, answers = problem(name)
    for row in range(2):
        one = pixels[row : row + 1]
        torch.manual_seed(2)
        there = theirs("PGDL2", model, eps=0.7, alpha=0.2, steps=6)(one, answers[row : row + 1])
        ours = tp.pgd(model, ready(model, one), eps=0.7, step=0.2, norm="2", n_steps=6, seed=2, keep="last")
        # they add 1e-10 to the length of every gradient, and we take what rounding adds to eps off the change
        torch.testing.assert_close(ours.pixels, there, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_deep_fool_makes_the_same_pixels(name: str) -> None:
    model, pixels, answers = problem(name)
    ours = tp.deep_fool(model, ready(model, pixels), n_steps=20)
    there = theirs("DeepFool", model, steps=20)(pixels, answers)
    assert ours.success.any()
    torch.testing.assert_close(ours.pixels, there, rtol=0, atol=1e-9)  # logits there, log probabilities here: the same slopes
