"""What only the user can know is warned of once, and stays with the result."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import net, pictures, shared, wrapped

import tapetum as tp
from tapetum.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tapetum.notes import RAW

PIXELS = pictures(1).sigmoid()
ASSUMED = "mean and std are assumed to be ImageNet's, since the model brings none: give those that it was trained with"


def normalising() -> tp.VisionModel:
    return tp.wrap(net("residual"), size=16, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def warned(work: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    assert {one.category for one in caught} <= {tp.TapetumWarning}
    return [str(one.message) for one in caught]


METHODS = {
    "attribution": lambda model, images: tp.saliency(model, images, 1),
    "rendering": lambda model, images: tp.caricature(model, images, layer="second", n_steps=1),
    "inspection": lambda model, images: tp.layer_progression(model, images),
    "best layer": lambda model, images: tp.grad_cam(model, images, 1, layer="best"),
}


@pytest.mark.parametrize("method", METHODS)
def test_raw_pixels_as_model_ready_images_are_warned_of_once_and_noted(method: str) -> None:
    model, results = normalising(), []
    ask = METHODS[method]
    assert warned(lambda: [results.append(ask(model, PIXELS)) for _ in range(3)]) == [RAW]
    assert all(RAW in one.notes for one in results)
    assert warned(lambda: ask(normalising(), PIXELS)) == [RAW]
    assert RAW in warned(lambda: tp.predict(normalising(), PIXELS))


@pytest.mark.parametrize(
    ("model", "images"),
    [
        (normalising(), pictures(1)),  # normalised
        (normalising(), torch.zeros_like(PIXELS)),  # blank: no range to go by
        (shared("residual"), PIXELS),  # the model takes pixels
        (normalising(), 0.2 + 0.8 * PIXELS),  # a bright picture, as networks with mean .5 and std .5 see it
    ],
)
def test_other_images_are_not_warned_of(model: tp.VisionModel, images: Tensor) -> None:
    assert warned(lambda: tp.saliency(model, images, 1)) == []


def test_constants_that_are_assumed_are_warned_of_with_the_first_picture() -> None:
    model = tp.wrap(net("residual"), size=16)
    assert model.notes == (ASSUMED,)
    assert (model.preprocessing.mean, model.preprocessing.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert warned(lambda: tp.saliency(model, pictures(1), 1)) == []  # the user's own normalisation
    assert warned(lambda: [model.preprocess(PIXELS), model.preprocess([PIXELS[0]]), tp.predict(model, PIXELS[0])]) == [ASSUMED]
    assert tp.saliency(model, pictures(1), 1).notes == (ASSUMED,)
    assert warned(lambda: pickle.loads(pickle.dumps(model)).preprocess(PIXELS)) == []  # a worker's copy has been warned of


def test_what_is_assumed_is_said_as_it_is() -> None:
    module = net("residual")
    one = (0.5,) * 3
    assert tp.wrap(module, size=16, mean=one, std=one).notes == ()
    assert (
        tp.wrap(module, size=16, std=one).notes[0].startswith("mean and std are assumed to be (0.485, 0.456, 0.406) and (0.5")
    )
    assert "assumed to be (0.0,) and (1.0,)" in tp.wrap(nn.Conv2d(1, 2, 3), size=16).notes[0]
    for name in ("simple_cnn", "torchvision:resnet18", "timm:resnet18"):
        assert tp.load(name, weights="random").notes == ()


def test_the_warning_points_at_the_users_own_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tp.saliency(normalising(), PIXELS, 1)
        tp.wrap(net("residual"), size=16).preprocess(PIXELS)
    assert [one.filename for one in caught] == [__file__] * 2


def test_figures_show_what_a_reader_must_know(tmp_path: Path) -> None:
    model = normalising()
    with pytest.warns(tp.TapetumWarning, match="the images lie in"):
        result = tp.grad_cam(model, PIXELS, 1)
    assert len(result.notes) == 2  # and the layer that was chosen
    plain = tp.show(tp.grad_cam(wrapped(net("residual")), PIXELS, 1, layer="second"))
    for drawn in (tp.show(result), tp.show([result, result])):
        lines = {text.get_text().replace("\n", " "): text for text in drawn.texts}
        assert set(result.notes) <= set(lines)
        assert lines[RAW].get_color() != lines[next(one for one in result.notes if one != RAW)].get_color()
        assert drawn.get_figheight() > plain.get_figheight()
