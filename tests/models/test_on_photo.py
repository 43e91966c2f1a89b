"""Maps are laid back where the model's crop was: exactly, and nowhere else."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.data.images import write_png
from tapetum.figures.overlay import overlay, picture
from tapetum.types import Crop, TapetumError


class Total(nn.Module):
    """The sum of all pixels: input times gradient is the picture itself."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).sum(1, keepdim=True).expand(-1, 2)


def model(size: Any, resize: Any) -> tp.VisionModel:
    return tp.wrap(Total(), size=size, resize=resize, mean=(0.0,) * 3, std=(1.0,) * 3)


def slope(height: int, width: int) -> Tensor:
    """A photograph whose brightness is a plane over its pixels: resizing keeps a plane, so the map must lie on it again."""
    rows, columns = (torch.arange(side) + 0.5 for side in (height, width))
    return (0.1 + 0.5 * rows[:, None] / height + 0.3 * columns[None] / width).expand(1, 3, height, width)


# photograph, size of the input, resize, and by hand: top, left, bottom, right of what the model sees
CASES = [
    ((96, 128), (48, 48), "squash", (0, 0, 96, 128)),
    ((96, 128), (24, 64), "squash", (0, 0, 96, 128)),
    ((96, 160), (24, 24), 32, (12, 42, 84, 115)),  # from columns 14 to 38 of 53, each 160/53 px: 42.3 to 114.7
    ((160, 96), (24, 24), 32, (42, 12, 115, 84)),
    ((64, 64), (32, 32), 64, (16, 16, 48, 48)),  # pixels as they are
    ((40, 40), (80, 80), 100, (4, 4, 36, 36)),  # enlarged
    ((64, 64), (64, 64), "crop", (0, 0, 64, 64)),
]


@pytest.mark.parametrize(("photo", "size", "resize", "box"), CASES)
def test_the_map_lies_where_the_crop_was(photo: Any, size: Any, resize: Any, box: Any) -> None:
    network, pixels = model(size, resize), slope(*photo)
    for images in (network.preprocess(pixels), network.preprocess([pixels[0]]), pixels[0]):
        result = tp.input_x_gradient(network, images, 0)
        heatmap = result.heatmap(on="photo")[0]
        assert heatmap.shape == photo
        (crop,) = result.photos
        assert (crop.top, crop.left, crop.bottom, crop.right) == pytest.approx(box, abs=1.0 if photo[0] != photo[1] else 1e-9)
        seen = ~heatmap.isnan()
        rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
        found = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        assert [int(one) for one in found] == pytest.approx(box, abs=1)
        assert seen.sum() == len(rows) * len(columns)
        inner = torch.zeros_like(seen)  # bilinear maps are flat in the outer half of their border places
        margin = [2 + (box[2] - box[0]) // size[0], 2 + (box[3] - box[1]) // size[1]]
        inner[box[0] + margin[0] : box[2] - margin[0], box[1] + margin[1] : box[3] - margin[1]] = True
        plane = 3 * pixels[0, 0]  # three channels, summed
        torch.testing.assert_close(heatmap[inner], plane[inner], rtol=0, atol=3 * 0.8 / min(photo) / 4)  # a quarter of a pixel


def test_a_spot_of_the_photograph_is_found_there() -> None:
    pixels = torch.zeros(1, 3, 100, 150)
    pixels[..., 60:66, 45:51] = 1
    result = tp.input_x_gradient(model(64, 80), pixels[0], 0)
    heatmap = result.heatmap(on="photo")[0].nan_to_num(0)
    mass = heatmap / heatmap.sum()
    rows, columns = torch.arange(100) + 0.5, torch.arange(150) + 0.5
    assert float((mass.sum(1) * rows).sum()) == pytest.approx(63, abs=0.1)
    assert float((mass.sum(0) * columns).sum()) == pytest.approx(48, abs=0.1)


def test_each_image_has_its_photograph() -> None:
    network = model(32, "squash")
    result = tp.saliency(network, [slope(40, 60)[0], slope(50, 50)[0]], 0)
    assert [crop.size for crop in result.photos] == [(40, 60), (50, 50)]
    with pytest.raises(TapetumError, match="the photographs differ in size: take one image at a time"):
        result.heatmap(on="photo")
    assert [tuple(one.heatmap(on="photo").shape) for one in result] == [(1, 40, 60), (1, 50, 50)]
    assert result[::-1].photos == result.photos[::-1]


def test_images_of_unknown_photographs_are_refused_and_may_be_said() -> None:
    network = shared("residual")
    result = tp.saliency(network, pictures(1), 1)
    assert result.photos == ()
    with pytest.raises(TapetumError, match="where these images lie in their photographs is not known: give the method photo"):
        result.heatmap(on="photo")
    said = result.heatmap(on=[Crop((40, 40), 4, 4, 36, 36)])
    assert torch.equal(said.isnan().sum((1, 2)), torch.tensor([40 * 40 - 32 * 32]))
    with pytest.raises(TapetumError, match=r"is not known"):
        tp.saliency(network, pictures(2), 1).heatmap(on=[Crop((40, 40), 4, 4, 36, 36)])


def test_images_that_were_changed_are_no_longer_those_of_the_photograph() -> None:
    network = wrapped(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double())
    images = network.preprocess(slope(40, 60))
    assert len(tp.saliency(network, images, 1).photos) == 1
    assert tp.saliency(network, images.flip(3), 1).photos == ()
    images.mul_(0.5)
    assert tp.saliency(network, images, 1).photos == ()
    assert pickle.loads(pickle.dumps(network)).batches.of(images)[0] == ()


@pytest.mark.usefixtures("unchecked")
def test_another_place_is_refused() -> None:
    with pytest.raises(TapetumError, match="on is one of crop, photo, not 'paper'"):
        tp.saliency(shared("residual"), pictures(1), 1).heatmap(on="paper")  # type: ignore[arg-type]


def test_a_result_comes_back_from_disk_with_its_photographs(tmp_path: Path) -> None:
    result = tp.saliency(model(32, 40), slope(50, 60)[0], 0)
    again = tp.open(tp.save(result, tmp_path / "a"))
    assert again.photos == result.photos
    assert torch.equal(again.heatmap(on="photo").nan_to_num(7), result.heatmap(on="photo").nan_to_num(7))


def test_the_figure_is_that_of_the_pixels_that_are_given() -> None:
    network, pixels = model(32, 40), slope(100, 60)
    result = tp.input_x_gradient(network, pixels[0], 0)
    for photo, on in ((pixels, "photo"), (network.denormalize(network.preprocess(pixels)), "crop")):
        figure = tp.show(result, pixels=photo)
        shown = figure.axes[2].get_images()[0].get_array()
        assert shown.shape[:2] == photo.shape[2:]
        wanted = overlay(photo[0], result.heatmap(on=on)[0], "sum")
        torch.testing.assert_close(torch.as_tensor(shown.data).movedim(-1, 0).float(), wanted, atol=1e-5, rtol=0)
    unseen = result.heatmap(on="photo")[0].isnan()
    over = picture(result, pixels[0], on="photo")
    assert unseen.any()
    assert float(over[:, unseen].std(0).max()) == 0  # grey outside of what was seen


def test_run_shows_the_map_on_the_whole_photograph_and_reproduces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from tapetum.cli import main

    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "photo.png", slope(50, 90)[0])
    network = ["--model", "simple_cnn", "--weights", "random"]
    for words in (
        ["run", "saliency", "photo.png", *network, "--on", "photo", "--out", "whole"],
        ["run", "saliency", "photo.png", *network, "--out", "cut"],
        ["reproduce", "whole/photo.png"],
        ["reproduce", "whole/photo.png", "--out", "again.png"],
        ["reproduce", "again.png"],
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0, capsys.readouterr()
    with Image.open("whole/photo.png") as whole, Image.open("cut/photo.png") as cut:
        assert (whole.size, cut.size) == ((90, 50), (128, 128))
        assert json.loads(whole.text["tapetum"])["on"] == "photo"  # type: ignore[attr-defined]
    with pytest.raises(SystemExit):
        main(["run", "saliency", "photo.png", *network, "--on", "wall", "--out", "x"])
    assert "Invalid value for '--on': 'wall'" in capsys.readouterr().err
