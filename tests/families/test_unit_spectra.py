"""What units answer to over a data set: the pictures, the order and the places are those one can work out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import tapetum as tp
from tapetum.families.spectra import as_units, box_around
from tapetum.figures import draw
from tapetum.figures.spectra import short_number
from tapetum.models.vision_model import VisionModel
from tapetum.types import GROUPS, LayerError, TapetumError, TargetError

SIDE = 16
REDS = (10, 250, 90, 130, 126, 200, 60, 129, 40, 180)
"""The red of each picture of the data set, of 255; green is its complement, blue 128."""


class Colors(nn.Module):
    """Units of known value: red - 1/2, red, green - 1/2 behind a ReLU; then blocks of 4 px."""

    def __init__(self) -> None:
        super().__init__()
        self.colors, self.relu, self.blocks, self.linear = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Linear(3, 2)
        with torch.no_grad():
            self.colors.weight.copy_(torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])[:, :, None, None])
            self.colors.bias.copy_(torch.tensor([-0.5, 0, -0.5]))
            self.linear.weight.copy_(torch.tensor([[1.0, 0, 0], [0.3, -0.5, 0.8]]))
            self.linear.bias.copy_(torch.tensor([0.0, 0.1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.blocks(self.relu(self.colors(images))).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return tp.wrap(Colors().eval(), size=SIDE, resize=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, name="colors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures, one a colour."""
    place = tmp_path_factory.mktemp("plain")
    for i, red in enumerate(REDS):
        Image.new("RGB", (SIDE, SIDE), (red, 255 - red, 128)).save(place / f"{i}.png")
    return place


def spectra(model: VisionModel, folder: Path, units: Any, **options: Any) -> tp.UnitSpectra:
    return tp.activation_spectrum(model, folder, units, **{"k": 3, "optimize": False, "workers": 1, **options})


def ids(examples: tp.UnitExamples) -> list[str]:
    return [one.id for one in examples.examples]


def named(*reds: int) -> list[str]:
    return [f"{REDS.index(red)}.png" for red in reds]


def test_the_pictures_of_a_spectrum_are_those_of_the_formula(model: VisionModel, folder: Path) -> None:
    (one,) = spectra(model, folder, "colors:0")
    assert one.around == "zero"
    assert ids(one.minimum) == named(10, 40, 60)
    assert ids(one.slightly_negative) == named(126, 90, 60)  # 127.5 is zero
    assert ids(one.slightly_positive) == named(129, 130, 180)
    assert ids(one.maximum) == named(250, 200, 180)
    expected = [red / 255 - 0.5 for red in (250, 200, 180)]
    assert [example.score for example in one.maximum.examples] == pytest.approx(expected, abs=1e-6)  # float32
    assert one.histogram.counts.sum() == len(REDS)


def test_a_unit_that_is_never_negative_is_split_at_its_median(model: VisionModel, folder: Path) -> None:
    (one,) = spectra(model, folder, tp.Unit("colors", 1))
    assert one.around == "median"
    assert one.threshold == pytest.approx((126 + 129) / 2 / 255, abs=1e-6)
    assert ids(one.slightly_negative) == named(126, 90, 60)
    assert ids(one.slightly_positive) == named(129, 130, 180)


def test_the_pictures_are_what_the_model_saw(model: VisionModel, tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    seen = model.preprocessing.crop(tp.read_image(tmp_path / "wide.png"))
    (one,) = spectra(model, tmp_path, "colors:0", k=1)
    assert one.maximum.pictures.dtype == torch.uint8
    # 8-bit levels: half a level off
    torch.testing.assert_close(one.maximum.pixels, seen, rtol=0, atol=0.5 / 255 + 1e-6)


def test_a_layer_that_ends_in_a_relu_is_looked_at_in_front_of_it(model: VisionModel, folder: Path) -> None:
    """Behind it, half of the pictures would score zero; made pictures go on where the ReLU is silent."""
    found = spectra(model, folder, ["relu:2", "colors:2"], optimize=True, size=SIDE, n_steps=250, preset="plain")
    one, other = found
    assert (one.tap, other.tap) == ("pre-activation", "output")
    assert ids(one.minimum) == named(250, 200, 180)  # green is the complement
    assert one.minimum.examples[0].score == pytest.approx(5 / 255 - 0.5, abs=1e-6)
    for group in GROUPS:
        assert one.examples(group).examples == other.examples(group).examples
    assert one.optimized is not None
    assert other.optimized is not None
    assert torch.equal(one.optimized.pixels, other.optimized.pixels)
    assert one.optimized_scores is not None
    low, high = one.optimized_scores.tolist()
    figure = words(draw(replace(found, units=(one,), score="mean")))
    assert {
        f"mean {short_number(float(-one.optimized.scores[0]))}",
        f"mean {short_number(float(one.optimized.scores[1]))}",
    } <= set(figure)
    assert low < one.minimum.examples[0].score
    assert high > one.maximum.examples[0].score
    green = one.optimized.pixels[:, 1]
    assert green[0].amax() == pytest.approx(low + 0.5, abs=1e-5)
    assert one.optimized.status == ("ok", "ok")


def test_units_of_several_layers_come_in_the_order_they_were_asked_for(model: VisionModel, folder: Path) -> None:
    found = spectra(model, folder, ["relu:1", "colors:0-1", "relu:1", tp.Unit("colors", 2)], k=1)
    assert [one.unit for one in found] == ["relu:1", "colors:0", "colors:1", "colors:2"]
    assert found[1].unit == "colors:0"
    assert (found.n, len(found)) == (len(REDS), 4)


def test_what_cannot_be_read_is_named_and_left_out(model: VisionModel, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "broken.png").write_text("no picture")
    found = spectra(model, tmp_path, "colors:0")
    assert list(found.skipped) == ["broken.png"]
    assert found.n == len(REDS)
    assert spectra(model, tmp_path, "colors:0", limit=4).n == 4


# --- where


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Black pictures with a red square of 4 px, brighter from picture to picture, each elsewhere."""
    place = tmp_path_factory.mktemp("squares")
    for i, (row, column) in enumerate([(0, 0), (1, 3), (3, 2), (2, 1)]):
        levels = np.zeros((SIDE, SIDE, 3), np.uint8)
        levels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, 0] = 150 + 30 * i
        Image.fromarray(levels).save(place / f"{row}-{column}.png")
    return place


def test_the_strongest_pictures_come_first_with_their_place_and_its_crop(model: VisionModel, squares: Path) -> None:
    found = tp.top_examples(model, squares, "blocks:1", k=3, workers=1)
    (one,) = found
    assert ids(one) == ["2-1.png", "3-2.png", "1-3.png"]
    assert [example.position for example in one.examples] == [(2, 1), (3, 2), (1, 3)]
    assert found.receptive_field == (4,)
    assert found.crop_px == (4,)
    assert one.boxes is not None
    assert one.boxes.tolist() == [[8, 4, 12, 8], [12, 8, 16, 12], [4, 12, 8, 16]]
    for row, level in enumerate((240, 210, 180)):
        assert torch.equal(one.crop(row)[0], torch.full((4, 4), level / 255))
    (wide,) = tp.top_examples(model, squares, "blocks:1", k=1, crop_px=10, workers=1)
    assert wide.crop(0).shape == (3, 10, 10)
    with pytest.raises(TargetError, match="crop_px is a side from 1 to 16 px"):
        tp.top_examples(model, squares, "blocks:1", crop_px=17, workers=1)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_crop_lies_in_the_picture_and_holds_its_place(rows: int, columns: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(rows, 300)), data.draw(st.integers(columns, 300))
    side = data.draw(st.integers(1, min(size)))
    place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    top, left, bottom, right = box_around(place, (rows, columns), size, side)
    assert bottom - top == right - left == side
    assert top >= 0 <= left
    assert bottom <= size[0]
    assert right <= size[1]
    y, x = ((one + 0.5) * px / cells for one, cells, px in zip(place, (rows, columns), size, strict=True))
    assert top - 0.5 <= y <= bottom + 0.5  # whole px
    assert left - 0.5 <= x <= right + 0.5


# --- refusals


@pytest.mark.parametrize(
    ("units", "error", "words"),
    [
        ("colors:0@1,1", TargetError, r"one place of a map: give the whole channel, 'colors:0'"),
        ("colors:9", TargetError, "has 3 channels, 0 to 2"),
        ("colours:0", LayerError, "close names: colors"),
        ("cat", TargetError, "'cat' is no unit of colors"),
        (3, TargetError, "3 is no unit of colors"),
        ([], TargetError, "no unit was given"),
    ],
)
def test_what_is_no_unit_is_refused(model: VisionModel, units: Any, error: type[TapetumError], words: str) -> None:
    with pytest.raises(error, match=words):
        as_units(model, units)


# --- saved and drawn


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_what_is_saved_opens_again(model: VisionModel, folder: Path, tmp_path: Path) -> None:
    found = spectra(model, folder, "relu:0-1", optimize=True, size=SIDE, n_steps=1)
    again = tp.open(tp.save(found, tmp_path / "spectra"))
    assert isinstance(again, tp.UnitSpectra)
    assert again[1].maximum.examples == found[1].maximum.examples
    assert torch.equal(again[0].minimum.pictures, found[0].minimum.pictures)
    assert words(draw(again)) == words(draw(found))
    tops = tp.top_examples(model, folder, "blocks:1", workers=1)
    assert words(draw(tp.open(tp.save(tops, tmp_path / "tops")))) == words(draw(tops))


def test_the_figure_says_the_scores_the_threshold_and_what_is_missing(model: VisionModel, folder: Path) -> None:
    said = words(draw(spectra(model, folder, "colors:0")))
    assert said.count("Minimum") == said.count("Slightly negative") == said.count("zero") == 1
    for value in ("0.48", "0.284", "0.206", "\N{MINUS SIGN}0.461", "\N{MINUS SIGN}0.00588", "0.00588", "0.0098"):
        assert value in said
    assert not {"Negative optimized", "Positive optimized"} & set(said)
    assert any("10 pictures of" in text for text in said)

    said = words(draw(spectra(model, folder, "colors:1", optimize=True, size=SIDE, n_steps=1)))
    assert {"Negative optimized", "Slightly below the median", "Slightly above the median", "Positive optimized"} <= set(said)
    assert sum(text.startswith("mean ") and " · highest " in text for text in said) == 2
    assert any("median 0.5, since no score is negative" in text for text in said)


def test_a_unit_that_is_never_positive_says_that_none_is(model: VisionModel, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").symlink_to(folder / "0.png")
    said = words(draw(spectra(model, tmp_path, "colors:0")))
    assert "no picture has\na score above zero" in said


def test_many_units_are_cut_off_and_the_title_says_so(model: VisionModel, folder: Path) -> None:
    said = words(draw(spectra(model, folder, ["colors:*", "relu:*"], k=1)))
    assert "Activation spectra (4 of 6 units) · colors" in said
    assert {"colors:0", "colors:1", "colors:2", "relu:0"} <= set(said)
    assert "relu:1" not in said


def test_the_marks_of_a_figure_are_where_the_crops_are(model: VisionModel, squares: Path) -> None:
    figure = draw(tp.top_examples(model, squares, "blocks:1", k=2, workers=1))
    marks = [axes.patches[0].get_bbox().bounds for axes in figure.axes if axes.patches]
    assert marks == [(3.5, 7.5, 4.0, 4.0), (7.5, 11.5, 4.0, 4.0)]  # the corners of pixels lie half a pixel out
    assert {"0.941", "0.824", "2-1", "3-2", "above: crops of 4 px, all that a place sees"} <= set(words(figure))


def test_a_scans_own_results_are_drawn_with_the_pictures_of_the_source(model: VisionModel, folder: Path, squares: Path) -> None:
    scan = tp.scan(model, folder, {"colors": [tp.Spectrum(3), tp.TopK(3)]}, workers=1)
    spectrum, top = scan["colors"]
    assert words(draw(spectrum, model=model, source=folder, channels=[0])) == words(draw(spectra(model, folder, "colors:0")))
    assert "0.48" in words(draw(top, model=model, source=folder))
    with pytest.raises(TapetumError, match="a scan keeps names, not pictures"):
        draw(spectrum)
    with pytest.raises(TapetumError, match="is not what was scanned: picture"):
        draw(spectrum, model=model, source=squares)


def test_a_layer_without_places_has_whole_pictures(model: VisionModel, folder: Path) -> None:
    """The linear layer sees the mean of (relu(red - 1/2), red, relu(green - 1/2)): known for plain pictures."""
    (one,) = spectra(model, folder, "linear:1", optimize=True, size=SIDE, n_steps=2)
    weight, bias = (0.3, -0.5, 0.8), 0.1
    parts = {red: (max(red / 255 - 0.5, 0), red / 255, max(0.5 - red / 255, 0)) for red in REDS}
    expected = {red: sum(w * x for w, x in zip(weight, part, strict=True)) + bias for red, part in parts.items()}
    assert ids(one.maximum) == named(*sorted(REDS, key=lambda red: -expected[red])[:3])
    assert one.maximum.examples[0].score == pytest.approx(max(expected.values()), abs=1e-6)
    assert one.optimized_scores is not None
    assert one.optimized_scores.shape == (2,)
    tops = tp.top_examples(model, folder, "linear:1", k=2, workers=1)
    assert tops[0].boxes is None
    assert tops.crop_px == (None,)
    assert torch.equal(tops[0].crop(0), tops[0].pixels[0])
    assert words(draw(tops))
