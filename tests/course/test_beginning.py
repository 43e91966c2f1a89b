"""What lessons begin with: claims are asserted, and told where the model or the picture is the learner's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image
from zoo import shared

import tapetum as tp
from tapetum.course import LessonError, start


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL", "WEIGHTS", "IMAGE", "FAST"):
        monkeypatch.delenv(f"LESSON_{name}", raising=False)


def test_a_claim_that_is_false_stops_the_lesson_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    here = start(6)
    here.see(True, "rings")
    assert "rings" in capsys.readouterr().out
    for claim in (here.see, here.holds):
        with pytest.raises(LessonError, match=r"lesson 6: .*stripes"):
            claim(False, "stripes")


def test_with_the_learners_own_model_what_you_see_is_told_and_mathematics_still_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LESSON_MODEL", "simple_cnn")
    monkeypatch.setenv("LESSON_WEIGHTS", "random")
    here = start(2)
    assert here.model().name == "simple_cnn"
    here.see(False, "stripes")
    assert "not so with simple_cnn: stripes" in capsys.readouterr().out
    with pytest.raises(LessonError, match="a sum"):
        here.holds(False, "a sum")


def test_the_learners_picture_takes_the_place_of_the_first_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.png"
    Image.new("RGB", (30, 20), (255, 0, 0)).save(file)
    monkeypatch.setenv("LESSON_IMAGE", str(file))
    here = start(1)
    mine, coffee, again = here.picture("cat"), here.picture("coffee"), here.picture("cat")
    assert mine.shape == again.shape == (1, 3, 20, 30)
    assert torch.equal(coffee, tp.read_image(skimage.data.coffee()))
    monkeypatch.setenv("LESSON_IMAGE", str(tmp_path / "none.png"))
    with pytest.raises(tp.TapetumError, match=r"none\.png"):
        start(1)


def test_quick_runs_take_the_smaller_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(1).quick(2, full=9) == 9
    monkeypatch.setenv("LESSON_FAST", "1")
    assert start(1).quick(2, full=9) == 2
    folder = start(1).folder
    assert folder.is_dir()


def test_pictures_are_made_at_the_size_asked_for_or_at_the_only_one_a_model_takes() -> None:
    here = start(1)
    assert here.side(shared("residual"), 24) == 24
    assert here.side(shared("vit_token"), 24) == 16  # learned places for 4 x 4 patches of 4 px
