"""Pictures that lie, in an atlas: in its data, on its pages, and after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lies import dull_photographs, two_paths
from small import network, picture_folder

from tapetum.atlas.build import Built, build
from tapetum.atlas.export import export, given
from tapetum.types import DamagedError

SETTINGS: dict[str, Any] = {"layers": ["1", "2"], "render": ["1", "2"], "maps": None, "workers": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lies")
    (folder / "data").mkdir()
    dull_photographs(folder / "data")
    return folder


@pytest.fixture(scope="module")
def built(place: Path) -> Built:
    return build(two_paths(), place / "data", place / "atlas", **SETTINGS)


def data(built: Built, name: str) -> Any:
    return given(built.index.parent / "data" / name)


def test_the_unit_whose_picture_lies_is_marked_and_the_others_are_not(built: Built) -> None:
    layer = data(built, "layers/2.js")
    assert layer["flagged"] == [0]
    assert layer["checked"].startswith("1 of 3 optimised pictures drive their units through other channels")
    lie, *honest = (unit["check"] for unit in data(built, "units/2-000.js"))
    assert lie[0].startswith("the picture does not show what the unit looks for")
    assert lie[1]
    assert not any(flagged for _, flagged in honest)
    assert all("as photographs do: 100% of its drive runs through the channels of 1" in said for said, _ in honest)


def test_a_layer_without_channels_before_it_says_that_its_pictures_are_not_checked(built: Built) -> None:
    layer = data(built, "layers/1.js")
    assert layer["flagged"] == []
    assert "not compared with photographs: no layer of two paths before 1 has channels" in layer["checked"]
    assert "check" not in data(built, "units/1-000.js")[0]


def test_an_atlas_of_few_pictures_says_so_and_has_its_renderings(tmp_path: Path) -> None:
    data_of = picture_folder(tmp_path / "data", 24, damaged=False)
    done = build(network(), data_of, tmp_path / "atlas", layers=["second"], render=["second"], maps=None, workers=1)
    layer = data(done, "layers/second.js")
    assert "there are 24 photographs: a check needs 28" in layer["checked"]
    assert layer["sprites"]["positive"]


def test_checks_of_a_stopped_build_are_not_made_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the second layer's checks, the same build goes on and ends with the same data as one that was not stopped."""
    whole = build(two_paths(), place / "data", place / "atlas", **SETTINGS)
    stop, calls = KeyboardInterrupt(), []

    def counted(*given: Any, **keywords: Any) -> Any:
        calls.append(given[2])
        if len(calls) == 2:
            raise stop
        return checked(*given, **keywords)

    from tapetum.atlas import checks
    from tapetum.families.checking import checked

    monkeypatch.setattr(checks, "AT_ONCE", 1)
    monkeypatch.setattr(checks, "checked", counted)
    with pytest.raises(KeyboardInterrupt):
        build(two_paths(), place / "data", place / "other", **{**SETTINGS, "render": ["2"]})
    done = build(two_paths(), place / "data", place / "other", **{**SETTINGS, "render": ["2"]})
    assert calls == [[0], [1], [1], [2]]
    assert data(done, "units/2-000.js") == data(whole, "units/2-000.js")


def test_without_check_nothing_is_said(place: Path) -> None:
    done = build(two_paths(), place / "data", place / "unchecked", **{**SETTINGS, "render": ["2"]}, check=False)
    assert data(done, "layers/2.js")["checked"] is None
    assert "check" not in data(done, "units/2-000.js")[0]


def test_checked_pictures_are_not_rendered_again_without_the_check(
    place: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr("tapetum.atlas.units.paint", forbidden)
    before = data(built, "units/2-000.js")
    for check in (False, True):
        assert data(build(two_paths(), place / "data", place / "atlas", **SETTINGS, check=check), "units/2-000.js") == before


def test_damaged_checks_are_refused_in_a_line(place: Path, built: Built) -> None:
    manifest = place / "atlas" / "manifest.json"
    text = manifest.read_text()
    try:
        for units in ([[0, "said", 1]], [[-1, "said", True]], [["0", "said", True]], "none"):
            manifest.write_text(json.dumps({**json.loads(text), "checks": {"2": {"said": "", "units": units}}}))
            with pytest.raises(DamagedError, match=r"manifest\.json is damaged: its checks"):
                export(place / "atlas", place / "site")
    finally:
        manifest.write_text(text)


def test_a_silent_unit_has_no_check(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    model = two_paths()
    with torch.no_grad():
        model.module[2].weight[1] = 0
    found = build(model, dull_photographs(tmp_path / "data"), tmp_path / "atlas", **{**SETTINGS, "render": ["2"]})
    assert [("check" in unit) for unit in data(found, "units/2-000.js")] == [True, False, True]
