"""An atlas holds what a scan finds, is never stale, and its site is whole."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import CLASSES, LAYERS, network, picture_folder

import tapetum as tp
from tapetum.atlas import sprites
from tapetum.atlas.build import build
from tapetum.atlas.export import broken, export, given
from tapetum.atlas.layers import chosen_layers
from tapetum.atlas.stages import MANIFEST
from tapetum.atlas.store import Store
from tapetum.keeping.locks import alone
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, watching
from tapetum.types import GROUPS

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return network()


@pytest.fixture(scope="module")
def atlas(model: VisionModel, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("atlas") / "out"
    build(model, folder, place, render=None, maps=None)
    return place


@pytest.fixture(scope="module")
def scanned(model: VisionModel, folder: Path) -> Any:
    return tp.scan(
        model, folder, {layer: [tp.Spectrum(k=9), tp.Scores(), tp.Sparsity()] for layer in LAYERS}, pre_activation=True
    )


def short(value: float) -> float:
    return float(f"{value:.5g}")


def units(site: Path, layer: str) -> list[dict[str, Any]]:
    return given(site / "data" / "units" / f"{layer}-000.js")


# --- the same numbers


@pytest.mark.parametrize("layer", LAYERS)
def test_spectra_of_the_site_are_those_of_the_scan(atlas: Path, scanned: Any, layer: str) -> None:
    site = atlas / "site"
    ids = given(site / "data" / "ids.js")["ids"]
    spectrum = scanned[layer][0]
    for channel, unit in enumerate(units(site, layer)):
        assert unit["channel"] == channel
        assert unit["around"] == spectrum.around(channel)
        assert unit["threshold"] == short(float(spectrum.threshold[channel]))
        for group in GROUPS:
            expected = [[one.id, short(one.score), *one.position] for one in spectrum.examples(group, channel)]
            assert [[ids[picture], *rest] for picture, *rest in unit["spectrum"][group]] == expected
        histogram = spectrum.histogram(channel)
        assert unit["histogram"]["counts"] == histogram.counts.tolist()
        assert unit["histogram"]["edges"] == [short(edge) for edge in histogram.edges.float().tolist()]


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_are_those_of_all_scores(atlas: Path, scanned: Any, layer: str) -> None:
    found = given(atlas / "site" / "data" / "layers" / f"{layer}.js")
    scores = scanned[layer][1].scores.double().numpy()
    assert found["mean"] == [short(x) for x in scores.mean(0)]
    assert found["sd"] == [short(x) for x in scores.std(0)]
    assert found["minimum"] == [short(x) for x in scores.min(0)]
    assert found["maximum"] == [short(x) for x in scores.max(0)]
    assert found["non_negative"] == [int(x >= 0) for x in scores.min(0)]
    assert found["sparsity"] == [short(x) for x in scanned[layer][2].sparsity.tolist()]
    assert found["top"] == [[row[0] for row in unit["spectrum"]["maximum"][:4]] for unit in units(atlas / "site", layer)]


def test_neighbours_are_the_strongest_correlations_in_the_layer_and_outside_beyond_two_standard_errors(
    atlas: Path, scanned: Any
) -> None:
    tables = [scanned[layer][1].scores.double().numpy() for layer in LAYERS]
    exact = np.corrcoef(np.concatenate(tables, 1).T)
    first = tables[0].shape[1]
    owner = [(0, channel) if channel < first else (1, channel - first) for channel in range(len(exact))]
    for number, (layer, channel) in enumerate(owner):
        unit = units(atlas / "site", LAYERS[layer])[channel]
        for side, sign in (("neighbors", 1), ("opposite", -1)):
            expected: list[tuple[float, int]] = []
            for inside in (True, False):
                others = [i for i, (own, _) in enumerate(owner) if (own == layer) == inside and i != number]
                best = sorted(
                    ((sign * exact[number, i], i) for i in others if sign * exact[number, i] > 2 / 37**0.5), reverse=True
                )
                expected += best[:8]
            expected.sort(reverse=True)
            assert [(one[0], one[1]) for one in unit[side]] == [owner[i] for _, i in expected]
            # float32 of sums over 38 pictures, and three digits
            assert [one[2] for one in unit[side]] == pytest.approx([sign * r for r, _ in expected], abs=6e-4)


def test_units_that_fire_on_a_picture_are_the_highest_z_of_all_layers(atlas: Path, scanned: Any) -> None:
    site = atlas / "site"
    ids = given(site / "data" / "ids.js")["ids"]
    firing = given(site / "data" / "pictures" / "000.js")["fires"]
    assert len(firing) == len(ids) == 38
    for name, found in zip(ids, firing, strict=True):
        rows = [(i, *fire) for i, layer in enumerate(LAYERS) for fire in scanned[layer][1].fires(name)]
        rows.sort(key=lambda row: -row[3])
        assert [row[:2] for row in found] == [list(row[:2]) for row in rows[: len(found)]]
        assert len(found) == min(24, sum(scanned[layer][0].channels for layer in LAYERS))
        for (*_, score, z, percentile), (*_, score_, z_, percentile_) in zip(found, rows, strict=False):
            assert (score, z, percentile) == (short(score_), round(z_, 2), round(percentile_, 1))


def test_labels_name_what_two_or_more_of_the_strongest_pictures_show(atlas: Path, scanned: Any) -> None:
    for layer in LAYERS:
        labels = given(atlas / "site" / "data" / "layers" / f"{layer}.js")["labels"]
        for channel, label in enumerate(labels):
            names = [one.id.split("/")[0] for one in scanned[layer][0].maximum(channel)]
            count = max(Counter(names).values())
            first = next(name for name in names if names.count(name) == count)
            assert label == f"{first} {count}/{len(names)}"  # 9 of three classes: some comes twice


def test_tiles_show_what_the_model_saw(atlas: Path, model: VisionModel, folder: Path) -> None:
    ids = given(atlas / "site" / "data" / "ids.js")["ids"]
    with Image.open(atlas / "site" / "pictures" / "000.webp") as file:
        sheet = np.asarray(file.convert("RGB"))
    assert sheet.shape == (2048, 2048, 3)
    for number in (0, 17, 37):
        row, column = number // 16 * 128, number % 16 * 128
        expected = sprites.small(model.preprocessing.crop(tp.read_image(folder / ids[number])))
        found = sheet[row : row + 128, column : column + 128].astype(float)
        assert np.abs(found - expected).mean() < 4  # WebP at quality 80
        assert not (sheet[-128:] != sprites.MISSING).any()


# --- the site is whole


def test_every_link_of_the_site_leads_to_a_file_in_it(atlas: Path, tmp_path: Path) -> None:
    index = export(atlas, tmp_path / "copy")
    site = index.parent
    assert index == tmp_path / "copy" / "index.html"
    assert broken(site) == []
    index = given(site / "data" / "index.js")
    assert [layer["name"] for layer in index["layers"]] == list(LAYERS)
    assert (index["data"]["pictures"], index["data"]["skipped_count"]) == (38, 2)
    assert {name for name, _ in index["data"]["skipped"]} == {"apple/03.jpg", "pear/31.jpg"}
    assert [layer["tap"] for layer in index["layers"]] == ["pre-activation", "pre-activation"]
    for file in (site / "data").rglob("*.js"):
        assert "://" not in file.read_text("ascii")
        assert str(tmp_path) not in file.read_text("ascii")
    (site / "pictures" / "000.webp").unlink()
    (site / "data" / "units" / "second-000.js").unlink()
    (site / "data" / "ids.js").unlink()
    (site / "data" / "ids.js").symlink_to("/etc/hostname")
    assert sorted(line.split()[0] for line in broken(site)) == ["data/ids.js", "data/units/second-000.js", "pictures/000.webp"]


def test_a_site_replaces_an_earlier_one_and_nothing_else(atlas: Path, tmp_path: Path) -> None:
    export(atlas, tmp_path / "site")
    (tmp_path / "site" / "data" / "left-over.js").touch()
    export(atlas, tmp_path / "site")
    assert not (tmp_path / "site" / "data" / "left-over.js").exists()
    (tmp_path / "site" / "thesis.txt").touch()
    with pytest.raises(tp.TapetumError, match=r"holds other files \(thesis.txt\)"):
        export(atlas, tmp_path / "site")
    assert (tmp_path / "site" / "thesis.txt").is_file()
    (tmp_path / "app" / "data").mkdir(parents=True)
    (tmp_path / "app" / "data" / "index.js").write_text("export default {}")
    with pytest.raises(tp.TapetumError, match="holds other files"):
        export(atlas, tmp_path / "app")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(tp.TapetumError, match="holds other files"):
        export(atlas, tmp_path / "mine")
    with pytest.raises(tp.TapetumError, match="holds no atlas"):
        export(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# --- stages


@pytest.fixture
def copied(atlas: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(atlas, tmp_path / "copied"))


def test_what_is_done_is_not_done_again(model: VisionModel, folder: Path, copied: Path) -> None:
    assert build(model, folder, copied, render=None, maps=None).done == ()
    shutil.rmtree(copied / "site")
    assert build(model, folder, copied, render=None, maps=None).done == ("site",)
    (copied / "atlas.sqlite").unlink()
    again = build(model, folder, copied, render=None, maps=None)
    assert again.done[:2] == ("scan", "store")
    assert again.skipped.keys() == {"apple/03.jpg", "pear/31.jpg"}


def test_another_model_or_data_set_is_refused_and_made_anew_when_asked(model: VisionModel, folder: Path, copied: Path) -> None:
    before = units(copied / "site", "second")
    with pytest.raises(tp.TapetumError, match=r"another scan \(weights"):
        build(network(seed=1), folder, copied, render=None, maps=None)
    with pytest.raises(tp.TapetumError, match=r"another scan \(trackers"):
        build(model, folder, copied, layers="second", render=None, maps=None)
    assert units(copied / "site", "second") == before
    again = build(network(seed=1), folder, copied, render=None, maps=None, resume=False)
    assert again.done == ("scan", "store", "pictures", "site")
    assert units(copied / "site", "second") != before


def test_pictures_that_changed_are_refused(model: VisionModel, tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", 8, damaged=False)
    build(model, data, tmp_path / "out", render=None, maps=None)
    Image.new("RGB", (20, 20), "red").save(data / "apple" / "00.png")
    with pytest.raises(tp.TapetumError, match=r"another scan \(data"):
        build(model, data, tmp_path / "out", render=None, maps=None)


def test_a_build_that_is_stopped_anywhere_goes_on(model: VisionModel, folder: Path, atlas: Path, tmp_path: Path) -> None:
    """Stopped at each of its events in turn, and begun again."""
    out, events = tmp_path / "out", 0
    while True:
        seen = 0

        def watcher(_: Progress, allowed: int = events) -> bool:
            nonlocal seen
            seen += 1
            return seen <= allowed

        try:
            with watching(watcher):
                build(model, folder, out, render=None, maps=None, workers=1)
            break
        except tp.Cancelled:
            events += 1
    assert events > 5
    for file in (atlas / "site" / "data").rglob("*.js"):
        if file.name != "index.js":  # it has the date
            assert (out / "site" / "data" / file.relative_to(atlas / "site" / "data")).read_bytes() == file.read_bytes()
    assert [path for path in out.rglob(".*") if path.name != ".lock"] == []


def test_events_name_their_stage(model: VisionModel, folder: Path, tmp_path: Path) -> None:
    stages: dict[str | None, None] = {}
    with watching(lambda event: stages.setdefault(event.stage)):
        build(model, folder, tmp_path / "out", render=None, maps=None, limit=10)
    assert list(stages) == ["scan", "store", "pictures", "site"]
    about = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert about["data"]["pictures"] == 9
    assert about["notes"][-1] == "Only the first 10 pictures were scanned."


def test_a_folder_with_other_files_is_left_alone(model: VisionModel, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(tp.TapetumError, match=r"holds other files \(thesis.txt\)"):
        build(model, folder, tmp_path, render=None, maps=None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# --- large data sets, other layers


def test_of_many_pictures_the_examples_are_shown(
    model: VisionModel, folder: Path, scanned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {one.id for layer in LAYERS for c in range(8) if c < scanned[layer][0].channels
            for group in GROUPS for one in scanned[layer][0].examples(group, c)}  # fmt: skip
    monkeypatch.setattr(sprites, "MOST", 37)
    done = build(model, folder, tmp_path / "out", render=None, maps=None)
    names = given(tmp_path / "out" / "site" / "data" / "ids.js")["ids"]
    assert used <= set(names)
    assert len(names) == max(37, len(used))
    assert any("37 of 38 pictures are shown" in note for note in done.notes)


def test_layers_are_globs_in_the_order_of_the_network(model: VisionModel) -> None:
    assert chosen_layers(model, None) == list(LAYERS)
    assert chosen_layers(model, ["second*", "stem"]) == ["stem", "second.one", "second.two", "second.relu", "second"]
    with pytest.raises(tp.TapetumError, match="no layer 'third'"):
        chosen_layers(model, ["third"])
    with pytest.raises(tp.TapetumError, match="has no channels"):
        chosen_layers(model, ["head"])


def test_a_store_answers_what_pages_ask(atlas: Path) -> None:
    with Store(atlas / "atlas.sqlite") as store:
        unit = store.unit("second:3")
        assert unit["spectrum"]["maximum"][0][1] == pytest.approx(unit["maximum"])
        tiles = store.tiles("second", "mean", descending=True, count=3)
        means = [row["mean"] for row in store.columns(1)]
        assert [row["mean"] for row in tiles] == sorted(means, reverse=True)[:3]
        assert store.search("second:3")["units"] == ["second:3"]
        assert store.search("SEC")["layers"] == ["second"]
        assert store.search("mean > -1e9", layer="first")["units"][0].startswith("first:")
        high = store.search(f"max >= {sorted(row['maximum'] for row in store.columns(1))[-2]:.9f}", layer="second")
        assert len(high["units"]) in (1, 2)
        assert all(store.unit(name)["label"] == "apple" for name in store.search("appl")["units"])
        assert {name.split("/")[0] for name in store.search(CLASSES[1], limit=5)["pictures"]} == {"pear"}
        assert store.search("100%_'\"; DROP TABLE units") == {"units": [], "layers": [], "pictures": []}
        for wrong in ("second:99", "second", "nothing:1", "second:x", ":"):
            with pytest.raises(tp.TapetumError):
                store.unit(wrong)
        assert not math.isnan(unit["sd"])
    with pytest.raises(tp.TapetumError, match="no such store"):
        Store(atlas / "nothing.sqlite")


def test_what_does_not_fit_into_memory_is_refused_before_the_work(
    model: VisionModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tapetum.atlas import layers as module

    monkeypatch.setattr(module, "memory_gb", lambda: 1e-6)  # 40 pictures x 14 units x 8 bytes are more
    with pytest.raises(tp.TapetumError, match=r"scores of 40 pictures at 14 units take .* give a --limit"):
        build(model, folder, tmp_path / "out", render=None, maps=None)
    assert not (tmp_path / "out").exists()


# --- renderings


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renderings of four steps."""
    from tapetum.atlas import build as module

    for name in ("render_units", "choose_layers"):
        monkeypatch.setattr(module, name, partial(getattr(module, name), n_steps=4))


@pytest.mark.usefixtures("quick")
def test_units_are_rendered_and_their_sheets_shown(model: VisionModel, folder: Path, copied: Path) -> None:
    done = build(model, folder, copied, render=["second"], maps=None)
    site = copied / "site"
    about = {layer["name"]: layer["rendered"] for layer in given(site / "data" / "index.js")["layers"]}
    assert about == {"first": [], "second": ["positive", "negative"]}
    found = given(site / "data" / "layers" / "second.js")["sprites"]
    for sign in ("positive", "negative"):
        with Image.open(site / found[sign]["sheets"][0]) as sheet:
            assert sheet.size == (found[sign]["columns"] * found[sign]["tile"], found[sign]["rows"] * found[sign]["tile"])
    assert done.done == ("site",)  # renderings have keys of their own
    assert build(model, folder, copied, render=["second"], maps=None).done == ()
    assert build(model, folder, copied, render=None, maps=None).done == ()  # what is rendered stays
    with pytest.raises(tp.TapetumError, match="cannot be rendered in an atlas without it"):
        build(model, folder, copied, render=["stem"], maps=None)


@pytest.mark.usefixtures("quick")
def test_the_choice_of_layers_is_made_once(model: VisionModel, folder: Path, copied: Path) -> None:
    first = build(model, folder, copied, minutes=0.001, maps=None)
    chosen = json.loads((copied / MANIFEST).read_text())["chosen"]
    assert first.done == ("choice", "site")
    assert chosen["layers"] == ["second"]  # at least one: of two the later is the middle
    assert "--render" in chosen["said"]
    assert build(model, folder, copied, minutes=0.001, maps=None).done == ()


def test_a_layer_that_cannot_be_rendered_is_noted(
    model: VisionModel, folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tapetum.atlas import build as module

    def refused(*_: Any, **__: Any) -> None:
        raise tp.TapetumError("no gradient reaches the picture")

    monkeypatch.setattr(module, "render_units", refused)
    done = build(model, folder, copied, render=["second"], maps=None)
    assert "Units of second are not rendered: no gradient reaches the picture" in done.notes
    assert done.notes == tuple(given(copied / "site" / "data" / "index.js")["notes"])


@pytest.mark.slow  # UMAP compiles itself
def test_a_map_is_drawn_once_and_its_pictures_are_those_of_the_site(model: VisionModel, folder: Path, copied: Path) -> None:
    stages: dict[str | None, None] = {}
    with watching(lambda event: stages.setdefault(event.stage)):
        assert build(model, folder, copied, render=None, maps=["second"]).done == ("site",)
    assert any(stage and stage.startswith("map of second: ") for stage in stages)
    site = copied / "site"
    assert {layer["name"]: layer["map"] for layer in given(site / "data" / "index.js")["layers"]} == {
        "first": False,
        "second": True,
    }
    found = given(site / "data" / "maps" / "second.js")
    count = len(given(site / "data" / "ids.js")["ids"])
    assert found["cells"]
    assert all(0 <= picture < count for cell in found["cells"] for picture in cell["pictures"])
    assert broken(site) == []
    assert {label for label, *_ in found["classes"]} <= set(CLASSES)
    assert build(model, folder, copied, render=None, maps=None).done == ()  # it stays
    with pytest.raises(tp.TapetumError, match="cannot be mapped in an atlas without it"):
        build(model, folder, copied, render=None, maps=["stem"])


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", 4, damaged=False)
    with alone(tmp_path / "out"), pytest.raises(tp.TapetumError, match="another process is at work"):
        build(network(), data, tmp_path / "out", render=None, maps=None)
    build(network(), data, tmp_path / "out", render=None, maps=None)  # once the first has ended
