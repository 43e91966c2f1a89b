"""Names in an atlas: in its data, on its pages, and in its search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from colored import color_folders
from small import network, picture_folder
from torch import Tensor, nn
from watching import watched

import tapetum as tp
from tapetum.atlas.build import Built, build
from tapetum.atlas.export import export, given
from tapetum.atlas.names import by_channel, frequent
from tapetum.atlas.store import Store
from tapetum.types import DamagedError, LayerError

COLORS = {"beagle": (220, 30, 30), "pug": (200, 60, 60), "goldfish": (30, 200, 30), "school bus": (30, 30, 220)}
"""Two dogs are reddish, so a unit that is high on red has the name of their group."""


class Reds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Conv2d(3, 3, 1, bias=False)
        self.units.weight.data = torch.tensor([[1, -0.5, -0.5], [-0.5, 1, -0.5], [0.0, 0, 0]]).reshape(3, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.units(images).mean((2, 3))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("named")
    color_folders(place / "data", COLORS, each=30, spread=20)
    model = tp.wrap(Reds().eval(), size=8, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")
    return build(model, place / "data", place / "atlas", layers=["units"], render=None, maps=None, workers=1)


def test_units_are_named_by_the_scores_of_the_scan(built: Built) -> None:
    layer = given(built.index.parent / "data" / "layers" / "units.js")
    (dog, dog_auc, dog_p), (fish, fish_auc, _), nothing = layer["names"]
    assert (dog, fish, nothing) == ("dog", "goldfish", None)
    assert min(dog_auc, fish_auc) > 0.99
    assert dog_p < 1e-10
    assert layer["named"].startswith("2 of 3 units of units have a name: AUC at least 0.75 on 80 pictures")
    index = given(built.index.parent / "data" / "index.js")
    assert index["names"] == [["dog", 1], ["goldfish", 1]]
    assert "In each layer the chance that any name is one by accident is at most 1 %" in index["named"]
    assert not [note for note in built.notes if "names" in note]


def test_an_atlas_whose_pictures_are_too_few_says_that_it_has_no_names(tmp_path: Path) -> None:
    done = build(
        network(), picture_folder(tmp_path / "data", 24, damaged=False), tmp_path / "atlas", render=None, maps=None, workers=1
    )
    (note,) = [note for note in done.notes if "names" in note]
    assert note.startswith("Units have no names: no label, group or text is true of 15 of the 24 pictures")
    assert given(done.index.parent / "data" / "layers" / "first.js")["names"] is None
    assert given(done.index.parent / "data" / "index.js")["named"] is None


def test_names_that_are_none_are_refused(built: Built, tmp_path: Path) -> None:
    manifest = built.index.parents[1] / "manifest.json"
    text = manifest.read_text()
    try:
        for units in (
            [[0, "dog", 2.0, 0.5]],
            [[0, 5, 0.9, 0.5]],
            [["0", "dog", 0.9, 0.5]],
            [[0, "dog", 0.9]],
            [[99, "dog", 0.9, 0.1]],
        ):
            manifest.write_text(json.dumps({**json.loads(text), "names": {"units": {"said": "", "units": units}}}))
            with Store(built.index.parents[1] / "atlas.sqlite") as store, pytest.raises(DamagedError):
                store.search("dog")
            with pytest.raises(DamagedError):
                export(built.index.parents[1], tmp_path / "site")
    finally:
        manifest.write_text(text)


def test_the_most_frequent_names_of_one_term_are_listed() -> None:
    names = {
        "a": {"units": [[0, "dog", 0.9, 0], [1, "dog OR fox", 0.9, 0]]},
        "b": {"units": [[5, "dog", 0.9, 0], [6, "bird", 0.9, 0]]},
    }
    assert frequent(names) == [["dog", 2], ["bird", 1]]
    assert by_channel({"units": [[1, "dog", 0.9, 0.0]]}, 3) == [None, ["dog", 0.9, 0.0], None]
    assert by_channel(None, 3) is None


def test_the_store_is_searched_by_names_as_the_site_is(built: Built) -> None:
    with Store(built.index.parents[1] / "atlas.sqlite") as store:
        for words in ("dog", "DO", "dog face", "a dog AND NOT a goldfish"):
            assert store.search(words)["units"] == ["units:0"], words
        assert store.search("goldf")["units"][0] == "units:1"
        assert store.search("dog", layer="units", limit=0)["units"] == []
        assert store.search("og")["units"] == []  # words begin with what is asked
        with pytest.raises(LayerError, match="no layer 'other'"):
            store.search("dog", layer="other")


def test_a_search_takes_the_most_accurate_name_first_and_no_term_behind_and_not(built: Built, tmp_path: Path) -> None:
    copy = shutil.copytree(built.index.parents[1], tmp_path / "atlas")
    manifest = copy / "manifest.json"
    units = [[0, "dog OR Persian_cat", 0.8, 0.0], [1, "dog AND NOT pug", 0.9, 0.0], [2, "fox AND NOT dog", 0.99, 0.0]]
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "names": {"units": {"said": "", "units": units}}}))
    with Store(copy / "atlas.sqlite") as store:
        assert store.search("dog")["units"] == ["units:1", "units:0"]
        assert store.search("dog cat")["units"] == ["units:0"]
        assert store.search("fox dog")["units"] == ["units:2", "units:1", "units:0"]  # half of the words each
    manifest.unlink()
    with Store(copy / "atlas.sqlite") as store:
        assert store.search("dog")["units"] == []


@pytest.mark.browser
def test_a_search_for_dog_finds_the_unit_of_dogs_and_for_dog_face_the_nearest(browser: Any, built: Built) -> None:
    site = built.index.parent
    with watched(browser, site.as_uri()) as page:
        for words, near in (("dog", False), ("dog face", True)):
            page.goto("about:blank")
            page.goto(f"{site.as_uri()}/index.html#/search/{words}")
            page.wait_for_selector(".grid .name")
            assert page.locator(".grid .name").all_inner_texts() == ["units:0"]
            assert page.locator(".grid .note").all_inner_texts() == ["dog 1.00"]
            assert page.get_by_text("No unit has all these words").is_visible() == near
        page.locator(".grid a").first.click()
        page.wait_for_selector(".spectrum")
        assert "dog AUC 1.00" in page.locator(".facts").inner_text()
        assert page.get_by_text("In each layer the chance that any name is one by accident").is_visible()
        page.goto(f"{site.as_uri()}/index.html#/layer/units")
        page.get_by_label("Name or label").fill("goldfish")
        page.wait_for_function("document.querySelectorAll('.grid .name').length === 1")
