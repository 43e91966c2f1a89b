"""The steps of preprocessing are what preprocessing does; channels and patches are the numbers of the picture."""

from __future__ import annotations

from typing import Any

import pytest
import skimage.data
import torch
from torchvision.transforms.v2 import functional as TF
from zoo import pictures, shared

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.types import ImageError

PHOTO = tp.read_image(skimage.data.chelsea())
MODEL = tp.load("simple_cnn")


def steps(way):
    return {step.name: step.values for step in way.steps}


def test_the_own_way_is_what_preprocess_does() -> None:
    own, squash, none, random = tp.preprocessing_steps(MODEL, PHOTO).ways[0]
    assert [way.name for way in (own, squash, none, random)] == ["the model's own", "squash", "none", "random crop"]
    assert torch.equal(steps(own)["normalised"], MODEL.preprocess(PHOTO)[0])
    assert torch.equal(steps(own)["as read"], PHOTO[0])
    assert steps(own)["resized"].shape == (3, 146, 219)
    cut = TF.center_crop(steps(own)["resized"], [128, 128])
    assert torch.allclose(steps(own)["cropped"], cut, atol=1e-6)  # the crop alone is computed in another order


def test_back_again_is_what_was_cut_in_every_way() -> None:
    for way in tp.preprocessing_steps(MODEL, PHOTO).ways[0]:
        before, after = way.steps[-3].values, way.steps[-1].values
        assert torch.allclose(before, after, atol=1e-6)  # a multiplication and an addition in float32
        mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MODEL.preprocessing.mean, MODEL.preprocessing.std))
        assert torch.allclose(way.steps[-2].values, (before - mean) / std, atol=1e-6)


def test_squash_keeps_everything_and_none_its_size() -> None:
    _, squash, none, _ = tp.preprocessing_steps(MODEL, PHOTO, side=64).ways[0]
    assert steps(squash)["normalised"].shape == (3, 64, 64)
    assert (squash.kept(), squash.stretched) == (1, pytest.approx(300 / 451))
    assert steps(none)["normalised"].shape == (3, 300, 451)
    assert none.kept() == 1


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (20, 900)])
def test_the_frame_of_the_random_crop_is_what_the_crop_shows(shape: Any) -> None:
    """A picture whose values say where they are: its crop's corners say where it was cut."""
    height, width = shape
    rows = torch.linspace(0, 1, height)[:, None].expand(height, width)
    columns = torch.linspace(0, 1, width).expand(height, width)
    picture = torch.stack([rows, columns, rows])[None].contiguous()
    way = tp.preprocessing_steps(MODEL, picture, seed=5, crop_px=32).ways[0][3]
    top, left, bottom, right = way.box
    crop = steps(way)["cropped"]
    pixel = max(height, width) / 36  # crops of 32 px from a side of 37: one of theirs, in the photograph's
    assert crop.shape == (3, 32, 32)
    assert float(crop[0, 0].mean()) * (height - 1) == pytest.approx(top, abs=pixel)
    assert float(crop[0, -1].mean()) * (height - 1) == pytest.approx(bottom, abs=pixel)
    assert float(crop[1, :, 0].mean()) * (width - 1) == pytest.approx(left, abs=pixel)
    assert float(crop[1, :, -1].mean()) * (width - 1) == pytest.approx(right, abs=pixel)


def test_the_crops_place_is_seeded() -> None:
    def box(seed):
        return tp.preprocessing_steps(MODEL, PHOTO, seed=seed).ways[0][3].box

    assert box(1) == box(1)
    assert len({box(seed) for seed in range(6)}) > 3


def test_several_photographs_of_several_sizes() -> None:
    made = tp.preprocessing_steps(MODEL, [PHOTO, PHOTO[..., :200, :100]])
    assert [ways[0].steps[0].shape for ways in made.ways] == [(3, 300, 451), (3, 200, 100)]
    assert str(made).count("random crop") == 2


def test_a_large_photograph_is_kept_small_and_its_size_and_range_are_told() -> None:
    picture = torch.rand(1, 3, 900, 2100, generator=torch.Generator().manual_seed(0))
    own = tp.preprocessing_steps(MODEL, [picture]).ways[0][0]
    first = own.steps[0]
    assert first.values.shape == (3, 439, 1024)
    assert first.shape == (3, 900, 2100)
    assert first.range == (float(picture.min()), float(picture.max()))
    assert own.kept() == pytest.approx(128**2 / 146**2 * 900 / 2100, rel=0.01)  # whole pixels of the resized side


def test_resized_is_what_crop_cuts_from() -> None:
    for how in (Preprocessing((64, 64), 80), Preprocessing((64, 64), "squash"), Preprocessing((64, 64), 80, "bicubic")):
        resized = how.resized(PHOTO)
        cut = TF.center_crop(resized, [64, 64])
        assert torch.allclose(how.crop(PHOTO), cut, atol=1e-6)


def test_channels_are_the_numbers_of_what_the_model_saw() -> None:
    images = MODEL.preprocess(PHOTO)
    made = tp.color_channels(MODEL, images, at=(10, 20), patch_px=4)
    seen = MODEL.preprocessing.crop(PHOTO)
    assert torch.allclose(made.photographs, seen, atol=1e-6)
    assert torch.allclose(made.patch(0), seen[0, :, 10:14, 20:24] * 255, atol=1e-3)
    assert f"{float(seen[0, 1].mean()):.3f}" in str(made)
    assert "128 x 128 x 3 = 49,152 numbers" in str(made)


def test_the_patch_lies_where_brightness_varies_most() -> None:
    images = torch.full((2, 3, 16, 16), 0.5, dtype=torch.float64)
    images[0, :, 9:11, 3:5] = 1
    images[1, :, 2:4, 12:14] = 1
    made = tp.color_channels(shared("residual"), images, patch_px=2)
    assert torch.equal(made.photographs, images)
    for (row, column), (y, x) in zip(made.places, [(9, 3), (2, 12)], strict=True):
        assert abs(row - y) <= 1
        assert abs(column - x) <= 1
        assert float(made.patch(0).max()) == 255


def test_a_patch_outside_the_image_is_refused() -> None:
    for at in ((11, 0), (0, 11), (-1, 0), (1,)):
        with pytest.raises(ImageError, match="row 0 to 10"):
            tp.color_channels(shared("residual"), pictures(), at=at)


def test_a_tensor_of_pixels_is_taken_as_pictures_and_a_normalised_one_as_the_model_sees_it() -> None:
    of_pixels = tp.preprocessing_steps(MODEL, PHOTO).ways[0][0]
    assert torch.equal(of_pixels.steps[0].values, PHOTO[0])
    ready = MODEL.preprocess(PHOTO)
    of_ready = tp.preprocessing_steps(MODEL, ready).ways[0][0]
    assert torch.allclose(of_ready.steps[0].values, MODEL.denormalize(ready)[0], atol=1e-6)


def test_images_that_nobody_normalised_are_said_to_be() -> None:
    with pytest.warns(tp.TapetumWarning, match="use model.preprocess"):
        made = tp.color_channels(tp.load("simple_cnn"), torch.rand(1, 3, 128, 128))
    assert "use model.preprocess" in made.notes[0]
