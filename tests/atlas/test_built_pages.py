"""A built atlas opened in headless Chromium: from the disk, and from the server."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from PIL import Image
from serving import served
from small import network, picture_folder
from watching import watched

import tapetum as tp
from tapetum.atlas.asking import Asking
from tapetum.atlas.build import build
from tapetum.atlas.export import export, given

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("built")
    build(network(), picture_folder(place / "data"), place / "out", render=["second"], maps=None)
    export(place / "out", place / "moved somewhere else")  # as it would be on a web host
    return place


def test_the_site_opens_from_the_disk_wherever_it_lies(browser: Any, place: Path) -> None:
    site = place / "moved somewhere else"
    unit = given(site / "data" / "units" / "second-000.js")[3]
    ids = given(site / "data" / "ids.js")["ids"]
    fire = given(site / "data" / "pictures" / "000.js")["fires"][5][0]
    with watched(browser, site.as_uri()) as page:
        page.goto(f"{site.as_uri()}/index.html#/unit/second:3")
        page.wait_for_selector(".spectrum .nine")
        assert len(page.locator(".spectrum .nine a").all()) == sum(len(some) for some in unit["spectrum"].values())
        page.goto("about:blank")
        page.goto(f"{site.as_uri()}/index.html#/picture/{quote(ids[5], safe='')}")
        page.get_by_text(f"{('first', 'second')[fire[0]]}:{fire[1]}", exact=True).first.wait_for()
        page.goto("about:blank")
        page.goto(f"{site.as_uri()}/index.html")
        page.get_by_text("2 files skipped").wait_for()
        assert page.locator("tbody th").all_inner_texts() == ["first", "second"]


def test_a_units_page_links_to_its_circuit(browser: Any, place: Path) -> None:
    """Pages of circuits of other targets in the folder are left out."""
    model, circuits = network(), place / "circuits"
    images = torch.rand(3, model.channels, *model.size, dtype=model.dtype)
    for target, name in (("second:3", "any name"), (0, "a class")):
        tp.circuit(model, target, images, edges=4, test=False).write(circuits / name / "circuit.html")
    site = export(place / "out", place / "with circuits", circuits=circuits).parent
    export(place / "out", site, circuits=circuits)  # an earlier site is replaced
    assert [page.name for page in (site / "circuits").iterdir()] == [
        given(site / "data/index.js")["layers"][1]["file"] + "-3.html"
    ]
    with watched(browser, site.as_uri()) as page:
        page.goto(f"{site.as_uri()}/index.html#/unit/second:4")
        page.wait_for_selector(".spectrum .nine")
        assert page.get_by_text("Its circuit").count() == 0
        page.goto(f"{site.as_uri()}/index.html#/unit/second:3")
        page.get_by_text("Its circuit").click()
        page.get_by_role("heading", name="Circuit of second:3").wait_for()


def test_a_folder_without_circuits_of_the_atlas_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<script type="application/json" id="circuit">[1]</script>')
    with pytest.raises(tp.TapetumError, match="holds no page of a circuit"):
        export(place / "out", tmp_path / "site", circuits=tmp_path)
    with pytest.raises(tp.TapetumError, match="is no folder"):
        export(place / "out", tmp_path / "site", circuits=tmp_path / "nothing")


def test_the_served_pages_answer_for_a_picture_of_ones_own(browser: Any, place: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "orange").save(buffer, "PNG")
    asking = Asking(place / "out", network)
    with served(asking) as server, watched(browser, server.address) as page:
        page.goto(f"{server.address}#/pictures")
        files = page.locator("input[type=file]")
        files.wait_for(state="attached")
        files.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
        expected = asking.fires(buffer.getvalue())["fires"]
        names = [f"{('first', 'second')[layer]}:{channel}" for layer, channel, *_ in expected]
        page.get_by_text(names[0], exact=True).first.wait_for()
        shown = page.locator("main").inner_text()
        assert [name for name in names if not re.search(rf"\b{name}\b", shown)] == []
    asking.close()
