"""Made pictures are shown as they are: words where there is none, frames in order, films that read back."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from zoo import pictures as photographs
from zoo import shared

import tapetum as tp
from tapetum.figures import draw, png
from tapetum.figures.renderings import evenly, moved_apart
from tapetum.figures.theme import DARK, LIGHT
from tapetum.figures.tiles import checkerboard, collage, mosaic, tile, unit_words
from tapetum.types import Provenance, Rendering, Run, TapetumError


def plain(color: tuple[float, float, float], height: int = 24, width: int = 32) -> Tensor:
    return torch.tensor(color)[:, None, None].expand(3, height, width)


RED, GREEN, BLUE, GREY = (0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.2, 0.2, 0.9), (0.5, 0.5, 0.5)


def rendering(n: int = 3, frames: int = 0) -> Rendering:
    pixels = torch.stack([plain(color) for color in (RED, GREEN, BLUE)])[[i % 3 for i in range(n)]]
    ways = torch.linspace(0, 1, frames)[:, None, None, None, None] if frames else None
    return Rendering(
        pixels=pixels,
        scores=torch.arange(n) + 0.5,
        objectives=tuple(f"channel(layer.{i}, {i})" for i in range(n)),
        status=("ok",) * n,
        method="visualize",
        steps=(1, 4, 8),
        values=torch.arange(3.0)[:, None].expand(3, n),
        frames=None if ways is None else 0.5 + ways * (pixels - 0.5),
        frame_steps=tuple(round(8 * i / (frames - 1)) for i in range(frames)) if frames else (),
    )


def run() -> Run:
    return Run(rendering(3), Provenance("visualize", {}, (), "tiny", "", "", 0, "cpu", "float32", {}, "", 0.1))


def words(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def pictures(figure: Any) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


# --- tiles


def test_a_picture_that_is_not_ok_is_words_never_itself() -> None:
    made = replace(rendering(2), status=("silent", "ok"))
    assert not torch.isclose(tile(made, 0), made.pixels[0], atol=0.1).all((0,)).any()
    assert torch.equal(tile(made, 1), made.pixels[1])


def test_transparency_shows_the_checkerboard_and_opacity_hides_it() -> None:
    alpha = torch.zeros(1, 1, 24, 32)
    alpha[..., 16:] = 1
    made = replace(rendering(1), pixels=torch.cat([rendering(1).pixels, alpha], 1))
    shown = tile(made, 0)
    assert torch.equal(shown[:, :, :16], checkerboard(24, 32).expand(3, -1, -1)[:, :, :16])
    assert torch.equal(shown[:, :, 16:], made.pixels[0, :3, :, 16:])
    assert len(checkerboard(24, 32).unique()) == 2


def test_a_layout_is_one_picture_edge_to_edge() -> None:
    made = replace(rendering(6), layout=(2, 3))
    grid = mosaic(made)
    assert grid is not None
    assert grid.shape == (3, 48, 96)
    for row in range(6):
        top, left = 24 * (row // 3), 32 * (row % 3)
        assert torch.equal(grid[:, top : top + 24, left : left + 32], made.pixels[row])
    assert mosaic(rendering(6)) is None


def test_a_collage_leaves_the_page_between_and_in_empty_cells() -> None:
    page = collage([plain(RED)] * 3, 2, gap_px=4)
    assert page.shape == (3, 52, 68)
    ground = torch.tensor([int(LIGHT.card[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert torch.allclose(page[:, 25, 3], ground)
    assert torch.allclose(page[:, 40, 50], ground)


def test_objectives_are_written_as_units_are() -> None:
    assert unit_words("channel(blocks.3.0, 5) - 0.1 * channel(head, 2)") == "blocks.3.0:5 - 0.1 * head:2"
    assert unit_words("neuron(layer4, 7, 1, 2)") == "layer4:7@1,2"
    assert unit_words("neuron(layer4, 7)") == "layer4:7@middle"
    assert unit_words("class_logit(tabby)") == "class_logit(tabby)"


# --- figures


def test_a_sheet_names_every_unit_its_score_and_the_size() -> None:
    figure = draw(replace(rendering(3), status=("ok", "non_finite", "ok")))
    shown = words(figure)
    for part in (
        "visualize: 3 pictures",
        "layer.0:0",
        "layer.2:2",
        "score 0.5",
        "score 2.5",
        "non finite",
        "32 × 24 px",
        "8 steps",
    ):
        assert part in shown
    assert "score 1.5" not in shown
    assert np.allclose(pictures(figure)[0], plain(RED).movedim(0, -1).numpy())


def test_a_large_sheet_says_how_much_of_it_is_shown() -> None:
    figure = draw(rendering(70))
    assert "64 of 70 pictures" in words(figure)
    assert len(pictures(figure)) == 64


def test_a_mosaic_names_the_rows_or_columns_that_were_made_for_the_same() -> None:
    made = replace(rendering(20), layout=(5, 4))
    by_rows = words(draw(replace(made, objectives=tuple(f"channel(a, {i // 4})" for i in range(20)))))
    by_columns = words(draw(replace(made, objectives=tuple(f"channel(b, {i % 4})" for i in range(20)))))
    assert all(f"a:{row}" in by_rows for row in range(5))
    assert all(f"b:{column}" in by_columns for column in range(4))
    assert "layer.3:3" not in words(draw(made))
    assert len(pictures(draw(made))) == 1


def test_before_stands_before_after() -> None:
    photo = plain(GREY, 10, 20)
    first, second = pictures(draw(rendering(1), pixels=photo))
    assert np.allclose(first, photo.movedim(0, -1).numpy())
    assert np.allclose(second, plain(RED).movedim(0, -1).numpy())
    assert len(pictures(draw(rendering(2), pixels=[photo, photo.numpy().transpose(1, 2, 0)]))) == 4
    with pytest.raises(TapetumError, match="3 pictures need one photograph or 3, got 2"):
        draw(rendering(3), pixels=[photo, photo])


def test_frames_become_a_strip_with_its_first_and_last() -> None:
    made = rendering(2, frames=12)
    figure = draw(made)
    shown = pictures(figure)
    assert len(shown) == 16
    assert np.allclose(shown[0], 0.5)
    assert np.allclose(shown[15], plain(GREEN).movedim(0, -1).numpy(), atol=1e-6)
    assert "step 0" in words(figure)
    assert "step 8" in words(figure)
    assert len(pictures(draw(made, view="pictures"))) == 2
    with pytest.raises(TapetumError, match="frames=8"):
        draw(rendering(2), view="steps")


def test_the_curve_is_that_of_the_values() -> None:
    made = rendering(2)
    figure = draw(made, view="values")
    lines = figure.axes[0].get_lines()
    assert [list(line.get_ydata()) for line in lines] == [[0, 1, 2], [0, 1, 2]]
    assert list(lines[0].get_xdata()) == [1, 4, 8]
    assert "layer.1:1" in words(figure)


def test_labels_keep_apart_and_frames_are_chosen_evenly() -> None:
    assert moved_apart([1.0, 1.1, 5.0], 0.5) == [1.0, 1.5, 5.0]
    assert evenly(12, 4) == [0, 4, 7, 11]
    assert evenly(3, 8) == [0, 1, 2]


def test_every_view_is_a_png_and_matplotlib_stays_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    for options in ({}, {"view": "values"}, {"view": "pictures"}):
        assert png(rendering(3, frames=3), dpi=40, **options).startswith(b"\x89PNG")
    assert png(replace(rendering(4), layout=(2, 2)), dpi=40).startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


# --- films


def frames_of(file: Path) -> list[np.ndarray]:
    with Image.open(file) as film:
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")) / 255)
        return frames


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_holds_every_frame_of_every_picture(suffix: str, tmp_path: Path) -> None:
    made = rendering(2, frames=5)
    file = tp.animate(made, tmp_path / f"film{suffix}", seconds=2, note="how it was made")
    frames = frames_of(file)
    assert len(frames) == 5
    assert made.frames is not None
    for i, frame in enumerate(frames):
        expected = collage([made.frames[i, 0], made.frames[i, 1]], 2).movedim(0, -1).numpy()
        # away from the gap: WebP blurs edges, and a GIF's palette has 256 colours a frame
        assert np.abs(frame - expected)[4:20, 4:28].max() < 0.03
        assert np.abs(frame - expected)[4:20, 40:64].max() < 0.03
    with Image.open(file) as film:
        kept = film.info.get("comment") or film.info.get("xmp")
    assert kept == b"tapetum how it was made"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_pictures_without_frames_move_one_after_the_other(tmp_path: Path) -> None:
    frames = frames_of(tp.animate(run(), tmp_path / "film.gif"))
    assert [tuple(np.round(frame[5, 5], 1)) for frame in frames] == [RED, GREEN, BLUE]


class Strip(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "img":
            self.images.append(dict(attrs))


def test_the_page_holds_every_frame_in_words_too_and_loads_nothing(tmp_path: Path) -> None:
    made = replace(rendering(2, frames=3), objectives=("<script>alert(1)</script>", "channel(b, 1)"))
    text = tp.animate(made, tmp_path / "film.html").read_text("utf-8")
    page = Strip(text)
    assert len(page.images) == 6
    assert page.images[3]["alt"] == "b:1, step 0"
    assert all((one["src"] or "").startswith("data:image/webp;base64,") for one in page.images)
    assert "<script>alert" not in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    for palette in (LIGHT, DARK):
        assert palette.ink in text
    (slider,) = [given for tag, given in page.tags if tag == "input"]
    assert (slider["type"], slider["max"], slider["id"]) == ("range", "2", "moment")
    assert [given.get("for") for tag, given in page.tags if tag == "label"] == ["moment"]


def test_the_slider_runs_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium here")
    file = tp.animate(rendering(2, frames=3), tmp_path / "film.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("chromium does not start here")
    page = Strip(done.stdout)
    stage = page.images[:2]  # what the script put above the table: the last moment
    assert [one["alt"] for one in stage] == ["layer.0:0, step 8", "layer.1:1, step 8"]
    assert stage[0]["src"] == page.images[4]["src"]
    assert next(given for tag, given in page.tags if tag == "input")["aria-valuetext"] == "step 8"


def test_what_does_not_move_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TapetumError, match=r"frames=25"):
        tp.animate(rendering(1), tmp_path / "film.gif")
    with pytest.raises(TapetumError, match=r"is a \.gif, \.webp, \.html file, not 'film.mp4'"):
        tp.animate(rendering(2), tmp_path / "film.mp4")
    with pytest.raises(TapetumError, match="cannot be written"):
        tp.animate(rendering(2), tmp_path / "nowhere" / "film.gif")
    with pytest.raises(TapetumError, match="only made pictures"):
        tp.animate(replace(run(), value=3), tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())


def test_the_curve_of_an_inversion_is_its_feature_loss() -> None:
    made = tp.invert(shared("residual"), photographs(1).sigmoid(), layer="stem", n_steps=4)
    told = words(draw(made, view="values"))
    assert "relative feature loss" in told
    assert "best picture so far" in told
    assert "transforms" not in told
