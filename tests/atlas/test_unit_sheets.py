"""Sheets of rendered units: the right tile for every channel, the same bits for any workers, nothing stale, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from zoo import SIDE, vision_model, wrapped

import tapetum as tp
from tapetum.atlas import painting
from tapetum.atlas.painting import Canvases, paint
from tapetum.atlas.units import choose_layers, read_units, render_units, units_job
from tapetum.keeping.keyed import Kept, Key
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching


def colour_network(weights: torch.Tensor) -> VisionModel:
    """Unit i is the dot product of a pixel with row i of the weights."""
    first = nn.Conv2d(3, len(weights), 1, bias=False)
    net = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(len(weights), 2)).double()
    with torch.no_grad():
        first.weight.copy_(weights[:, :, None, None])
    return wrapped(net, "colours")


def tiles_of(folder: Path, sprite: Any) -> NDArray[np.uint8]:
    """(n, t, t, 3): every place of every sheet."""
    found = []
    for name in sprite["sheets"]:
        page = np.asarray(Image.open(folder / name).convert("RGB"))
        t, columns, rows = sprite["tile"], sprite["columns"], sprite["rows"]
        assert page.shape == (rows * t, columns * t, 3)
        found.append(page.reshape(rows, t, columns, t, 3).swapaxes(1, 2).reshape(-1, t, t, 3))
    return np.concatenate(found)


@pytest.mark.parametrize(("units", "sign", "factor"), [(258, "positive", 1), (20, "negative", -1)])
def test_tile_i_shows_what_unit_i_likes_or_dislikes(tmp_path: Path, units: int, sign: Any, factor: int) -> None:
    """Each unit is the dot product with a colour of its own: the tile's mean colour points along it. 258 are two sheets."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.nn.functional.normalize(torch.randn(units, 3, generator=generator, dtype=torch.float64), dim=1)
    model = colour_network(weights)
    made = render_units(model, "0", None, [sign], folder=tmp_path, size=8, n_steps=8, tile=16)
    tiles = tiles_of(tmp_path, made.sprites[sign])[:units]
    assert len(made.sprites[sign]["sheets"]) == -(-units // 256)
    colours = torch.from_numpy(tiles.reshape(units, -1, 3).mean(1)).double() / 255 - 0.5
    likeness = torch.nn.functional.normalize(factor * colours, dim=1) @ weights.T  # (tiles, units), cosines
    assert likeness.diagonal().min() > 0  # no more: decorrelated colours turn the way of steepest ascent
    for channel in (0, 17, units - 2, units - 1):
        alone = tp.visualize(model, f"0:{channel}", size=8, n_steps=8, preset="clear", negative=factor < 0)
        inside = tiles[channel, 4:-4, 4:-4].mean((0, 1)) / 255  # WebP halves the colours' grain, across tiles too
        assert np.abs(inside - alone.pixels[0, :, 2:-2, 2:-2].mean((1, 2)).numpy()).max() < 0.06


def test_pictures_do_not_depend_on_workers_or_interruptions(tmp_path: Path) -> None:
    model = vision_model("residual")
    job = units_job(model, "second", n_steps=3)
    job = Canvases(model, job.objectives, job.recipe, job.size, batch=5)
    whole = [paint(job, Kept(tmp_path / str(workers), Key({"of": "k"})), workers=workers) for workers in (1, 3)]
    with pytest.raises(tp.TapetumError, match="power"):
        stopped_after(job, tmp_path / "cut", 2)
    again = paint(job, Kept(tmp_path / "cut", Key({"of": "k"})), workers=2)
    for other in (*whole[1:], again):
        assert np.array_equal(other.pixels, whole[0].pixels)
        assert (other.scores, other.status) == (whole[0].scores, whole[0].status)


def stopped_after(job: Canvases, folder: Path, batches: int) -> None:
    """A run that breaks down when so many batches are on the disk."""
    done = []

    class Breaking(Canvases):
        def make(self, rows: range) -> painting.Painted:
            if len(done) == batches:
                raise tp.TapetumError("the power went out")
            done.append(rows)
            return super().make(rows)

    paint(
        Breaking(job.model, job.objectives, job.recipe, job.size, job.seed, job.batch),
        Kept(folder, Key({"of": "k"})),
        workers=1,
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each batch that is really made has."""
    found: list[int] = []
    make = Canvases.make

    def counting(self: Canvases, rows: range) -> painting.Painted:
        found.append(len(rows))
        return make(self, rows)

    monkeypatch.setattr(Canvases, "make", counting)
    return found


def test_what_is_there_is_not_made_again_and_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    model = vision_model("residual")
    colours, events = colour_network(torch.ones(40, 3).double()), list[int]()

    def stop_at_20(step: tp.Progress) -> bool:
        events.append(step.done)
        return step.done < 20

    def run(**more: Any) -> Any:
        return render_units(model, "second", folder=tmp_path, n_steps=4, workers=1, **more)

    with watching(stop_at_20), pytest.raises(tp.Cancelled):
        render_units(colours, "0", folder=tmp_path / "c", size=8, n_steps=4, workers=1)
    assert events[0] == 0
    assert sorted(events) == events
    before = sum(made)
    render_units(colours, "0", folder=tmp_path / "c", size=8, n_steps=4, workers=1)
    assert sum(made) - before == 80 - 16  # 40 units, two signs; one batch was finished before the stop
    assert not list((tmp_path / "c").glob(".parts*"))
    first = run()
    made.clear()
    assert run() == first
    assert made == []
    run(resume=False)
    assert sum(made) == 16


@pytest.mark.parametrize("change", ["weights", "steps", "sheet gone", "index damaged"])
def test_nothing_stale_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    made = counted(monkeypatch)
    first = render_units(vision_model("residual"), "second", folder=tmp_path, n_steps=3)
    made.clear()
    changes: dict[str, Callable[[], Any]] = {
        "weights": lambda: None,
        "steps": lambda: None,
        "sheet gone": lambda: (tmp_path / "second-negative-000.webp").unlink(),
        "index damaged": lambda: (tmp_path / "second-units.json").write_text('{"layer": "second"'),
    }
    changes[change]()
    model = vision_model("residual", seed=1 if change == "weights" else 0)
    again = render_units(model, "second", folder=tmp_path, n_steps=4 if change == "steps" else 3)
    assert sum(made) == 16
    assert (again.key == first.key) == (change in ("sheet gone", "index damaged"))
    assert read_units(tmp_path, "second") == again


def test_units_that_show_nothing_say_so(tmp_path: Path) -> None:
    """Unit 1 reads nothing; of a network with NaN in its weights no unit has a picture: words, on sheet and index."""
    blind = colour_network(torch.tensor([[1.0, 0, 0], [0, 0, 0]], dtype=torch.float64))
    broken = colour_network(torch.tensor([[1.0, 0, 0], [float("nan"), 0, 0]], dtype=torch.float64))
    made = render_units(blind, "0", folder=tmp_path, size=8, n_steps=9, tile=96)
    assert made.status == {"positive": {1: "silent"}, "negative": {1: "silent"}}
    nan = render_units(broken, "0", folder=tmp_path / "nan", size=8, n_steps=9, tile=96)
    assert nan.status == {sign: {0: "non_finite", 1: "non_finite"} for sign in ("positive", "negative")}
    words = [tiles_of(tmp_path, made.sprites["positive"])[1], tiles_of(tmp_path / "nan", nan.sprites["positive"])[1]]
    assert all(one.max() > 200 and np.median(one) < 80 for one in words)  # white on dark
    assert not np.array_equal(*words)
    assert read_units(tmp_path, "0") == made


def test_negative_pictures_of_relu_layers_go_below_zero(tmp_path: Path) -> None:
    """Behind the ReLU no mean is below zero; before it, there is what units dislike."""
    scores = render_units(vision_model("residual"), "second", folder=tmp_path, n_steps=16).scores
    assert all(low < high for low, high in zip(scores["negative"], scores["positive"], strict=True))
    assert min(scores["negative"]) < 0


def test_some_channels_keep_their_places(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    model = colour_network(torch.randn(6, 3, generator=generator, dtype=torch.float64))
    whole = tiles_of(tmp_path, render_units(model, "0", folder=tmp_path, size=8, n_steps=9, tile=16).sprites["positive"])
    made = render_units(model, "0", [4, 1], ["positive"], folder=tmp_path / "some", size=8, n_steps=9, tile=16)
    some = tiles_of(tmp_path / "some", made.sprites["positive"])
    for channel in (1, 4):  # apart from the loss at the tile's border, whose neighbours on the sheet differ
        assert np.abs(some[channel][4:-4, 4:-4].astype(int) - whole[channel][4:-4, 4:-4]).max() <= 16
    assert (made.channels, list(made.sprites)) == ((1, 4), ["positive"])


def test_the_middle_layer_is_rendered_first_and_always(tmp_path: Path) -> None:
    model = vision_model("in_place")
    layers = ["features.0", "features.2", "features.4", "features.6"]
    least = choose_layers(model, layers, 0, n_steps=4)
    assert least.layers == ("features.4",)
    everything = choose_layers(model, layers, 10_000, n_steps=4)
    assert everything.layers == tuple(layers)
    assert all(seconds > 0 for seconds in everything.seconds.values())
    assert "1 of 4 layers (features.4)" in least.said


def test_keys_differ_by_everything_that_decides_a_picture() -> None:
    model = vision_model("residual")
    jobs = [
        units_job(model, "second"),
        units_job(vision_model("residual", seed=1), "second"),
        units_job(model, "first"),
        units_job(model, "second", [0]),
        units_job(model, "second", None, ["positive"]),
        units_job(model, "second", size=SIDE - 4),
        units_job(model, "second", n_steps=3),
        units_job(model, "second", preset="standard"),
        units_job(model, "second", seed=1),
    ]
    assert len({Key(job.facts()).hash for job in jobs}) == len(jobs)


def test_refusals(tmp_path: Path) -> None:
    model = vision_model("residual")
    with pytest.raises(tp.TapetumError, match="channels 0 to 7"):
        render_units(model, "second", [8], folder=tmp_path)
    with pytest.raises(tp.TapetumError, match="signs are positive, negative"):
        render_units(model, "second", signs=["positive", "positive"], folder=tmp_path)
    with pytest.raises(tp.TapetumError, match="workers must be at least 1"):
        render_units(model, "second", folder=tmp_path, workers=0)
