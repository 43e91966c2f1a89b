"""A heatmap lies where it belongs, zero looks like zero, and what is no map is not drawn as one."""

import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from tapetum.figures import colorize, overlay, picture, theme
from tapetum.figures.overlay import limit, with_words
from tapetum.figures.words import WORDS, describe, half_area, where
from tapetum.types import Attribution, Reduce, TapetumError


def photo(h=48, w=64):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(0))


def attribution(values, reduce="positive", status="ok"):
    return Attribution(
        values=values,
        method="grad_cam",
        status=(status,),
        target=("cat",),
        size=(48, 64),
        reduce=reduce,
        layer="layer4",
    )


def contrast_ratio(a: str, b: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in theme.rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("kind", ["sum", "positive", "max_abs"])
def test_a_single_hot_pixel_changes_only_its_own_place(kind: str) -> None:
    heatmap = torch.zeros(48, 64)
    bare = overlay(photo(), heatmap, kind)
    heatmap[5, 60] = 1.0
    changed = (overlay(photo(), heatmap, kind) - bare).abs().amax(0) > 1e-6
    assert changed.nonzero().tolist() == [[5, 60]]


@pytest.mark.parametrize("size", [(64, 48), (47, 64), (7, 7)])
def test_a_map_of_another_size_is_refused(size: Any) -> None:
    with pytest.raises(TapetumError, match="does not lie over pixels of 48 × 64"):
        overlay(photo(), torch.rand(size), "positive")


def test_zero_of_a_signed_map_is_the_neutral_color_however_lopsided_the_map() -> None:
    colors = colorize(torch.tensor([[-0.1, 0.0, 7.0]]), "sum")
    neutral = torch.tensor(theme.rgb(theme.DIVERGING[len(theme.DIVERGING) // 2]))
    torch.testing.assert_close(colors[:, 0, 1], neutral)


def test_a_signed_map_is_symmetric_blue_against_and_red_for() -> None:
    colors = colorize(torch.tensor([[-2.0, 2.0]]), "sum")
    torch.testing.assert_close(colors[:, 0, 0], torch.tensor(theme.rgb(theme.DIVERGING[0])))
    torch.testing.assert_close(colors[:, 0, 1], torch.tensor(theme.rgb(theme.DIVERGING[-1])))
    assert colors[2, 0, 0] > colors[0, 0, 0]
    assert colors[0, 0, 1] > colors[2, 0, 1]


def test_where_a_positive_map_is_zero_the_photo_shows_without_color() -> None:
    ground = overlay(photo(), torch.zeros(48, 64), "positive")
    torch.testing.assert_close(ground[0], ground[1])
    luma = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), photo())
    assert np.corrcoef(ground[0].flatten(), luma.flatten())[0, 1] > 0.999


def test_one_extreme_pixel_does_not_darken_the_others() -> None:
    values = torch.ones(100, 100)
    values[0, 0] = 1e6
    assert limit(values) == pytest.approx(1.0)


def test_a_map_with_few_values_still_has_a_scale() -> None:
    values = torch.zeros(100, 100)
    values[0, 0] = 3.0
    assert limit(values) == 3.0
    assert limit(torch.zeros(4, 4)) == 1.0


def test_the_sequential_ramp_is_inferno_to_a_few_hundredths() -> None:
    # matplotlib's table is the reference; ours keeps every 15th of its colours
    reference = matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]
    ours = colorize(torch.linspace(0, 1, 256)[None], "positive", top=1.0)[:, 0].T.numpy()
    assert np.abs(reference - ours).max() < 0.03


@pytest.mark.parametrize("status", ["no_positive_evidence", "constant", "non_finite"])
def test_what_is_no_map_is_words_over_the_dimmed_photo(status: str) -> None:
    broken = attribution(torch.full((1, 1, 7, 7), float("nan")), status=status)
    shown = picture(broken, photo())
    torch.testing.assert_close(shown, with_words(photo(), WORDS[status]))
    assert shown.isfinite().all()
    assert shown.max() > 0.5, "no words were written; the photo alone stays below 0.3"
    torch.testing.assert_close(shown[0], shown[2])  # no colour, so no heatmap


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "card"])
@pytest.mark.parametrize("text", ["ink", "muted", "accent", "caution"])
def test_every_text_color_can_be_read(palette: Any, ground: str, text: str) -> None:
    assert contrast_ratio(getattr(palette, text), getattr(palette, ground)) >= 4.5


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast_ratio("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "upper left"),
        (0, 32, "top"),
        (24, 63, "right"),
        (24, 32, "centre"),
        (47, 32, "bottom"),
        (47, 63, "lower right"),
    ],
)
def test_the_peak_is_named_by_its_place(row: int, column: int, words: str) -> None:
    heatmap = torch.zeros(48, 64)
    heatmap[row, column] = 1
    assert where(heatmap) == words


def test_half_of_a_flat_map_is_half_the_picture_and_of_a_point_one_pixel() -> None:
    assert half_area(torch.ones(10, 10)) == pytest.approx(0.5)
    assert half_area(torch.eye(10)[:1]) == pytest.approx(0.1)


def test_words_of_a_map_say_where_it_is_strong_or_why_it_is_none() -> None:
    values = torch.zeros(1, 1, 48, 64)
    values[..., :8, :8] = 1
    assert "upper left" in describe(attribution(values))
    assert describe(attribution(values, status="constant")) == "the map is constant"
    assert "against" in describe(attribution(-values, reduce="sum"))


@pytest.mark.parametrize("kind", ["sum", "positive", "max_abs"])
def test_a_map_is_laid_over_some_rows_at_a_time_with_the_same_bits(kind: Reduce, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels, heatmap = torch.rand(3, 333, 71, generator=generator), torch.randn(333, 71, generator=generator)
    heatmap[:9] = torch.nan  # where the model saw nothing
    at_once = overlay(pixels, heatmap, kind)
    monkeypatch.setattr(sys.modules["tapetum.figures.overlay"], "ROWS", 64)  # the package exports a function of that name
    assert torch.equal(overlay(pixels, heatmap, kind), at_once)
