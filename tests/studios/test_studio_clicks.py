"""The studio's page in headless Chromium, against a server with a small network: what a person does, from end to end.

Whatever a test does, its page may ask for addresses of the studio alone and may write no error to the console.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from watching import watched

from tapetum.studios.serve import Server

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
SOON = 30_000
"""Milliseconds within which a small network answers on a busy machine."""


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    """Opens the studio at a state as a visitor who knows it; each call is another visitor."""
    with ExitStack() as stack:

        def go(state: str = "", *, toured: bool = True, query: str = "", **options: Any) -> Any:
            page = stack.enter_context(watched(browser, server.address, **options))
            page.set_default_timeout(SOON)
            if toured:
                page.add_init_script("localStorage.setItem('tapetum-toured', '1')")
            page.goto(f"{server.address}{query}{state}")
            page.locator(".answer").first.wait_for()
            return page

        yield go


def maps(page: Any, count: int) -> None:
    """Waits until so many maps are there, with or without evidence."""
    expect(page.locator(".card .chrome")).to_have_count(count, timeout=SOON)
    expect(page.locator(".stale")).to_have_count(0, timeout=SOON)


def method(page: Any, name: str) -> Any:
    return page.get_by_role("group", name="Methods").get_by_role("button", name=name, exact=True)


def photograph(seed: int = 0) -> bytes:
    content = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def test_the_photograph_its_answer_a_map_and_its_verdict_are_there_at_once(visit: Visit) -> None:
    page = visit()
    assert page.locator(".answer").count() == 4
    maps(page, 1)
    page.locator(".card .hold, .card .badge").first.wait_for()
    assert page.locator(".card h3").inner_text() == "Grad-CAM"


def test_a_dropped_picture_is_answered_by_five_methods_for_two_classes(visit: Visit) -> None:
    page = visit()
    page.locator("input[type=file]").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": photograph()})
    expect(page.locator(".thumbs li")).to_have_count(5)
    for name in ("Layer-CAM", "Integrated gradients", "Smooth grad", "LRP"):
        method(page, name).click()
    maps(page, 5)
    page.get_by_role("button", name="and …").click()
    page.get_by_role("combobox").fill("bee")
    page.keyboard.press("Enter")
    maps(page, 10)
    targets = page.locator(".card .target").all_inner_texts()
    assert targets.count("bee") in (5, 10)
    assert re.search(r"pictures=[0-9a-f]{64}", page.url)


def test_a_class_rather_than_another_is_one_map(visit: Visit) -> None:
    page = visit("#/mattered?methods=lrp&classes=0&rather=1")
    maps(page, 1)
    assert page.locator(".card .target").inner_text() == "ant rather than bee"


def test_a_unit_is_drawn_live_stopped_and_continued(visit: Visit) -> None:
    page = visit("#/looks_for?unit=3:5&set=" + "eyJ2aXN1YWxpemUiOnsibl9zdGVwcyI6MjAwMCwic2l6ZSI6IjY0In19")
    main = page.get_by_role("main")
    page.locator(".live .said", has_text="step").wait_for()
    main.get_by_role("button", name="Stop").click()
    main.get_by_role("button", name="Continue").wait_for(timeout=500)
    page.locator(".live .said", has_text="stopped at step").wait_for()
    said = page.locator(".live .said").inner_text()
    page.wait_for_timeout(700)
    assert page.locator(".live .said").inner_text() == said
    main.get_by_role("button", name="Continue").click()
    page.locator(".live .said", has_text=re.compile(r"^step \d+ of 2000")).wait_for()
    page.get_by_role("button", name="Next channel").click()  # another question stops the work of the first
    expect(page).to_have_url(re.compile("unit=3:6"))


def test_the_picture_is_changed_by_hand_and_the_answer_follows(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Edit the picture").click()
    box = page.locator(".editor canvas").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 20, steps=5)
    page.mouse.up()
    page.get_by_role("heading", name="Before and after").wait_for()
    maps(page, 2)
    before, after = page.locator(".answers .value s").first.inner_text(), page.locator(".answers .value").first.inner_text()
    assert before != after
    page.reload()
    maps(page, 2)  # both pictures are kept in the browser


def test_pins_and_the_history_survive_a_reload(visit: Visit) -> None:
    page = visit("#/mattered?methods=grad_cam,lrp")
    maps(page, 2)
    for i in range(2):
        page.locator(".card").nth(i).get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator("#pins .side-by-side > li")).to_have_count(2)
    expect(page.locator(".snapshot")).to_have_count(2)
    page.reload()
    expect(page.locator("#pins .side-by-side > li")).to_have_count(2, timeout=SOON)
    method(page, "LRP").click()
    maps(page, 1)
    page.locator(".snapshot").first.click()
    expect(page.locator(".card")).to_have_count(2)


def test_a_channel_that_stands_out_leads_to_what_it_looks_for(visit: Visit) -> None:
    page = visit("#/found")
    page.locator("button.channel").first.click()
    expect(page).to_have_url(re.compile(r"#/looks_for\?.*unit="))
    page.locator(".live").wait_for()


def test_an_inversion_improves_while_it_is_watched(visit: Visit) -> None:
    page = visit("#/found")
    page.get_by_role("button", name="Invert", exact=True).click()
    page.locator(".live canvas").first.wait_for()
    page.locator(".live .chrome").wait_for()


def test_a_measure_of_the_registry_is_found_asked_and_asked_again_by_its_address(visit: Visit) -> None:
    page = visit("#/trust")
    page.get_by_role("button", name=re.compile("Choose one of")).click()
    page.get_by_role("combobox").fill("deletion")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Look", exact=True).click()
    value = page.locator(".big-number strong").inner_text()
    page.reload()
    assert page.locator(".big-number strong").inner_text() == value


def test_code_and_export(visit: Visit) -> None:
    page = visit()
    maps(page, 1)
    page.get_by_role("button", name="Code", exact=True).click()
    assert "grad_cam" in page.locator("pre").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    with ZipFile(download.value.path()) as archive:
        assert "code.py" in archive.namelist()


def test_two_visitors_look_at_different_things(visit: Visit) -> None:
    one, other = visit(), visit("#/mattered?model=simple_cnn&methods=grad_cam")
    maps(one, 1)
    maps(other, 1)
    assert one.locator(".answer .label").first.inner_text() != other.locator(".answer .label").first.inner_text()


def test_an_embedded_page_has_nothing_around_its_result(visit: Visit) -> None:
    page = visit(query="?embed=1", toured=False)
    maps(page, 1)
    assert page.locator("header, nav, .history, .tour").count() == 0


def test_the_tour_leads_through_eight_states(visit: Visit) -> None:
    page = visit(toured=False)
    page.get_by_role("button", name="Show me").click()
    tabs = set()
    for step in range(1, 9):
        page.get_by_text(f"{step} of 8", exact=True).wait_for()
        tabs.add(page.url.partition("#/")[2].partition("?")[0])
        assert f"tour={step}" in page.url
        if step < 8:
            page.get_by_role("button", name="Next", exact=True).click()
    assert tabs == {"looks_for", "found", "mattered", "trust"}
    page.get_by_role("button", name="Look around").click()
    assert page.locator(".tour").count() == 0


def test_keys_go_to_the_four_questions_and_open_the_methods(visit: Visit) -> None:
    page = visit()
    for key, tab in (("1", "looks_for"), ("2", "found"), ("4", "trust"), ("3", "mattered")):
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"#/{tab}"))
    page.keyboard.press("/")
    page.get_by_role("combobox").fill("occl")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.locator("[role=listbox]").count() == 0
    assert "occlusion" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit: Visit, scheme: str) -> None:
    page = visit(width=390, scheme=scheme)
    maps(page, 1)
    for name in ("Looks for", "Found", "Trust", "Mattered"):
        page.get_by_role("navigation", name="Questions").get_by_role("button", name=name).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
