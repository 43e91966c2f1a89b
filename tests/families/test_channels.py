"""One channel, and twelve bands: every method runs and its figure is drawn, or refuses by name; pictures are grey."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.engines.perturb.fills import as_fill
from tapetum.engines.render.parametrizations.choice import PARAMETRIZATIONS
from tapetum.types import ImageError, MethodError, TapetumError, TrainingError

SIZE = (24, 32)
QUICK = {"n_steps": 2, "n_samples": 80, "n_masks": 8, "n_views": 1, "n_iterations": 2, "n_octaves": 1}
REFUSALS = (
    "has no attention between tokens",
    "color_channels is about red, green and blue",
    "focus needs others=, images of other things",
)


def network(channels: int) -> tp.VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
        module = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU(), *head)
    constants = {"mean": (0.4,) * channels, "std": (0.2,) * channels}
    return tp.wrap(module.double().eval(), size=SIZE, labels=list("abcde"), name="mine", **constants)  # type: ignore[arg-type]


def pixels(channels: int, n: int = 2) -> Tensor:
    return torch.rand(n, channels, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def called(method: Any, model: tp.VisionModel, images: Tensor, pictures: Tensor) -> Any:
    signature = inspect.signature(method.function).parameters
    quick = {name: value for name, value in QUICK.items() if name in signature}
    if method.kind == "attribution":
        return method.function(model, images, 1, **quick)
    if method.kind == "metric":
        about = {"model": model, "images": images, "attribution": tp.saliency(model, images, 1), "masks": pixels(1)[:, 0] > 0.5}
        return method.function(**{place: about[place] for place in about if place in signature})
    if method.name == "style_transfer":
        quick["style"] = pictures[:1]
    two = method.name in ("neuron_interaction", "interpolate")
    subject = {"images": images, "pictures": pictures[:1], "units": ["2:1", "2:2"] if two else ["2:1"]}
    if method.kind == "rendering":
        return method.function(model, subject[method.takes], **quick)
    places = [p.name for p in signature.values() if p.kind is not p.KEYWORD_ONLY][1:]
    known = {"images": images, "pictures": pictures[0], "picture": pictures[0], "units": ["2:1"], "target": 1, "layer": "2"}
    return method.function(model, *(known[place] for place in places if place in known), **quick)


DRAWN: set[tuple[type, int, str]] = set()


@pytest.mark.parametrize("channels", [1, 12])
@pytest.mark.parametrize("method", [one for one in tp.methods() if one.kind != "survey"], ids=lambda method: method.name)
def test_every_method_runs_or_is_refused_by_name(method: Any, channels: int) -> None:
    model = network(channels)
    images = model.preprocess(pixels(channels))
    try:
        made = called(method, model, images, pixels(3 if channels == 1 else channels))
    except TapetumError as error:
        assert any(words in str(error) for words in REFUSALS), error
        return
    kind = (type(made), channels, made.reduce if method.kind == "attribution" else method.name)
    if kind not in DRAWN:  # maps of one kind are drawn by the same lines
        DRAWN.add(kind)
        tp.show(made)
        plt.close("all")
    if method.kind == "rendering":
        assert made.pixels.shape[1] == 3
        assert torch.equal(made.pixels[:, 0], made.pixels[:, 1])
        assert torch.equal(made.pixels[:, 0], made.pixels[:, 2])


@pytest.mark.parametrize("channels", [1, 12])
def test_maps_are_autograds_on_the_plain_module(channels: int) -> None:
    model, raw = network(channels), pixels(channels)
    ready = ((raw - 0.4) / 0.2).requires_grad_()
    (gradient,) = torch.autograd.grad(model.module(ready)[:, 3].sum(), ready)
    torch.testing.assert_close(model.preprocess(raw), ready.detach())
    torch.testing.assert_close(tp.saliency(model, model.preprocess(raw), 3).values, gradient.abs())
    found = tp.input_x_gradient(model, model.preprocess(raw), 3)
    torch.testing.assert_close(found.values, ready.detach() * gradient)


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_fills_have_the_networks_own_channels(channels: int) -> None:
    model = network(channels)
    images = model.preprocess(pixels(channels))
    assert torch.allclose(as_fill(model, images, "black"), torch.full_like(images, -2))
    assert torch.allclose(as_fill(model, images, "white"), torch.full_like(images, 3))
    noise = as_fill(model, images, "noise")
    assert noise.shape == images.shape
    values = noise[0].flatten() * 0.2 + 0.4
    assert values.std().item() == pytest.approx(12**-0.5, abs=0.03)  # uniform over [0, 1]


@pytest.mark.parametrize("fill", ["black", "blur", "noise"])
def test_occlusion_of_bands_is_the_difference_of_two_scores(fill: str) -> None:
    model = network(12)
    images = model.preprocess(pixels(12, 1))
    found = tp.occlusion(model, images, 2, window=24, stride=24, fill=fill)
    hidden = torch.cat([as_fill(model, images, fill)[..., :24], images[..., 24:]], -1)
    expected = model.module(images)[0, 2] - model.module(hidden)[0, 2]
    torch.testing.assert_close(found.values.flatten()[0], expected.detach(), rtol=1e-6, atol=1e-9)


def test_the_bands_of_a_rendering_are_what_the_network_saw() -> None:
    model = network(12)
    made = tp.visualize(model, ["2:1", "2:4"], size=SIZE, n_steps=3)
    bands = made.numbers["bands"]
    assert bands.shape == (2, 12, *SIZE)
    torch.testing.assert_close(made.pixels, bands.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    maps = model.module[:3](model.preprocessing.normalize(bands.double()))
    torch.testing.assert_close(made.scores.double(), maps[[0, 1], [1, 4]].mean((1, 2)).detach(), rtol=1e-5, atol=1e-6)
    assert any("the mean over the 12 bands" in one for one in made.notes)


def test_the_score_of_a_grey_rendering_is_that_of_its_grey_picture() -> None:
    model = network(1)
    made = tp.visualize(model, ["2:1"], size=SIZE, n_steps=3)
    maps = model.module[:3]((made.pixels[:, :1].double() - 0.4) / 0.2)
    torch.testing.assert_close(made.scores.double(), maps[:, 1].mean((1, 2)).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("channels", [1, 12])
def test_parametrizations_make_grey_and_bands_or_say_which_do(parametrization: str, channels: int) -> None:
    model = network(channels)
    if channels == 12 and parametrization in ("maco", "grayscale", "alpha"):
        with pytest.raises(MethodError, match=f"{parametrization} makes colours, and this network sees 12 bands: use fourier"):
            tp.visualize(model, ["2:1"], n_steps=1, parametrization=parametrization)
        return
    made = tp.visualize(model, ["2:1"], n_steps=1, size=16, parametrization=parametrization)
    assert torch.equal(made.pixels[:, 0], made.pixels[:, 2])


def test_a_folder_of_bands_is_scanned(tmp_path: Path) -> None:
    raw = pixels(12, 3)
    for i, one in enumerate(raw):
        np.save(tmp_path / f"{i}.npy", one.numpy())
    model = network(12)
    found = tp.scan(model, tmp_path, {"2": [tp.TopK(k=1)]}, workers=1)["2"][0]
    maps = model.module[:3](model.preprocess(raw)).amax((2, 3))
    assert [found.examples(c)[0].sample for c in range(6)] == maps.argmax(0).tolist()
    tops = tp.top_examples(model, tmp_path, "2:1", k=2, workers=1)
    assert tops.units[0].pictures.shape == (2, 3, *SIZE)


def test_training_on_bands_is_refused_by_name(tmp_path: Path) -> None:
    data = (pixels(3, 20) * 255).to(torch.uint8), torch.arange(20) % 5
    with pytest.raises((TrainingError, ImageError), match="12 bands"):
        tp.train(data, arch=network(12).module, out=tmp_path / "net", epochs=1)
