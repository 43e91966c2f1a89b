"""The studio for everybody: axe-core's rules, the keyboard alone, a narrow phone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import visiting as at
from axe_playwright_python.sync_playwright import Axe
from skimage import data

import tapetum as tp
from tapetum.studios.serve import Server

pytestmark = pytest.mark.browser
SHORT = at.packed({"visualize": {"size": 64, "n_steps": 4}})
STATES = {
    "looks_for": f"looks_for?model=tiny&pictures=coffee&unit=3:2&set={SHORT}",
    "found": "found?model=tiny&pictures=coffee",
    "mattered": "mattered?model=tiny&pictures=coffee,cat&methods=grad_cam,saliency&classes=0,3&rather=1",
    "trust": "trust?model=tiny&pictures=coffee&methods=grad_cam,saliency",
    "tour": "mattered?model=tiny&pictures=coffee&tour=2",
}
SCREENS = [(1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps somebody from reading or using the page."""
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'].splitlines()[1:]}"
        for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]  # fmt: skip


def settled(page: Any) -> None:
    page.wait_for_timeout(200)
    at.wait(page, "!document.querySelector('.working, .stale, .judging, .loading')")


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS, ids=lambda one: str(one))
def test_nothing_serious_keeps_anybody_out(browser: Any, server: Server, width: int, height: int, scheme: str) -> None:
    found: dict[str, list[str]] = {}
    with at.visitor(browser, server, width=width, height=height, scheme=scheme) as page:
        for name, state in STATES.items():
            at.go(page, server, state)
            settled(page)
            if name == "mattered":
                for method in ("grad_cam", "saliency"):
                    at.card(page, method).first.get_by_role("button", name="Pin", exact=True).click()
                page.locator("#pins .reading").first.wait_for()
                page.get_by_role("button", name="Settings").first.click()
                page.get_by_role("button", name="Edit the picture").click()
                page.locator(".editor").wait_for()
                page.locator(".bars-of").first.wait_for()
                settled(page)
            if name == "looks_for":
                page.get_by_role("button", name="Play: guess").click()
                page.locator(".guesses button").first.click()
                settled(page)
            found[name] = serious(page)
        page.get_by_title("Search a method").click()
        found["list"] = serious(page)
    assert found == {name: [] for name in found}


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_wider_than_a_phone(browser: Any, server: Server, width: int) -> None:
    with at.visitor(browser, server, width=width, height=740) as page:
        for state in STATES.values():
            at.go(page, server, state)
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, state


def test_the_keyboard_alone_reaches_a_map_and_its_numbers(page: Any, server: Server, model: tp.VisionModel) -> None:
    at.go(page, server, "found?model=tiny&pictures=coffee&classes=0")
    page.keyboard.press("3")
    page.locator("h2.question", has_text="Why").wait_for()
    assert tabbed(page, "Layer-CAM") < 40
    page.keyboard.press("Enter")
    card = at.card(page, "layer_cam")
    at.reading(card)
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("!!document.activeElement.closest('[data-method=layer_cam] .surface[role=application]')"):
            break
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    maps = tp.layer_cam(model, at.ready(model, data.coffee()), "ant")
    heat = at.heat(maps)
    found = at.reading(card)
    at.is_of(found, heat)
    row, column = divmod(int(torch.from_numpy(heat).argmax()), heat.shape[1])
    assert found[1:] == (row, max(0, column - 1))
    for key, title in (("1", "look"), ("2", "find"), ("4", "hold")):
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
        page.locator("h2.question", has_text=title).wait_for()


def tabbed(page: Any, name: str) -> int:
    """Presses Tab until the button of that name has the focus; the number of presses."""
    for presses in range(1, 100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return presses
    raise AssertionError(f"Tab never reaches {name}")
