"""Any size and any number of channels: what a network takes is found, said, and never torch's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from zoo import vision_model

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.trained import ABOUT


class Spectrogram(nn.Module):
    """One channel, 64 x 128, and a linear layer that takes no other size."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(6 * 8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def build(module: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module().double().eval()


def test_blank_and_noise_are_model_ready() -> None:
    model = tp.wrap(build(Spectrogram), size=(64, 128))
    assert model.blank(2).shape == (2, 1, 64, 128)
    assert model.noise(3, size=(8, 9)).shape == (3, 1, 8, 9)
    assert model.noise().dtype == torch.float64
    assert torch.equal(model.noise(2, seed=4), model.noise(2, seed=4))
    assert not torch.equal(model.noise(2, seed=4), model.noise(2, seed=5))
    assert not model.blank().any()


@pytest.mark.parametrize("size", ["64x128", (64, 128), [64, 128]])
def test_a_rectangle_goes_through_wrap_to_the_map(size: object) -> None:
    module = build(Spectrogram)
    model = tp.wrap(module, size=size, mean=(0.5,), std=(0.25,))  # type: ignore[arg-type]
    assert (model.preprocessing.size, model.preprocessing.resize) == ((64, 128), "crop")
    pixels = torch.rand(2, 1, 64, 128, generator=torch.Generator().manual_seed(0))
    images = ((pixels.double() - 0.5) / 0.25).requires_grad_()
    (expected,) = torch.autograd.grad(module(images)[:, 2].sum(), images)
    found = tp.saliency(model, images.detach(), 2)
    torch.testing.assert_close(found.values, expected.abs())
    assert model.survey.image_size == (64, 128)


def test_squash_goes_through_wrap() -> None:
    model = tp.wrap(build(Spectrogram), size=(64, 128), resize="squash")
    assert model.preprocess(torch.rand(1, 3, 300, 50)).shape == (1, 1, 64, 128)
    assert model.preprocessing.resize == "squash"


@pytest.mark.parametrize(("saved", "expected"), [(16, (16, 16)), ([16, 24], (16, 24))])
def test_saved_sizes_load_as_a_number_or_a_pair(tmp_path: Path, saved: object, expected: tuple[int, int]) -> None:
    data = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tp.train((data, torch.arange(8) % 2), out=tmp_path / "net", epochs=1)
    about = json.loads((tmp_path / "net" / ABOUT).read_text())
    about["preprocessing"] |= {"size": saved, "resize": None}  # None is how networks that squash were saved before
    (tmp_path / "net" / ABOUT).write_text(json.dumps(about))
    assert tp.load(str(tmp_path / "net")).preprocessing.size == expected
    assert tp.load(str(tmp_path / "net")).preprocessing.resize == "squash"


def test_the_networks_of_the_zoo_keep_what_was_published() -> None:
    lite = tp.load("efficientnet_lite0", weights="random").preprocessing
    assert lite == Preprocessing((224, 224), 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert tp.load("resnet18", weights="random").preprocessing == Preprocessing((224, 224), 256)


def test_a_model_shows_its_size() -> None:
    model = VisionModel(vision_model("reused").module, "net", Preprocessing((16, 24), "squash"))
    assert repr(model) == "VisionModel(net, 16 x 24 px, no labels)"
