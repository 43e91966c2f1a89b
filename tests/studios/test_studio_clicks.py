"""The studio's page in headless Chromium, against a server with a small network: what a person does, from end to end.

Whatever a test does, its page may ask for addresses of the studio alone and may write no error to the console.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any

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


def test_a_class_rather_than_another_is_one_map(visit: Visit) -> None:
    page = visit("#/mattered?methods=lrp&classes=0&rather=1")
    maps(page, 1)
    assert page.locator(".card .target").inner_text() == "ant rather than bee"


def test_a_channel_that_stands_out_leads_to_what_it_looks_for(visit: Visit) -> None:
    page = visit("#/found")
    page.locator("button.channel").first.click()
    expect(page).to_have_url(re.compile(r"#/looks_for\?.*unit="))
    page.locator(".live").wait_for()


def test_a_measure_of_the_registry_is_found_asked_and_asked_again_by_its_address(visit: Visit) -> None:
    page = visit("#/trust")
    page.get_by_role("button", name=re.compile("Choose one of")).click()
    page.get_by_role("combobox").fill("deletion")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Look", exact=True).click()
    value = page.locator(".big-number strong").inner_text()
    page.reload()
    assert page.locator(".big-number strong").inner_text() == value


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
