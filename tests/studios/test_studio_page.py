"""The studio from end to end: what a person presses in headless Chromium, and numbers that are those of Python.

Whatever a test does, its page asks no other address than the server's, and writes no error and no warning to the console.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import visiting as at
from asking import a_studio
from skimage import data
from torch import nn

import tapetum as tp
from tapetum.studios.networks import Given
from tapetum.studios.serve import Server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_studio({"sure": Given(certain)}) as server:
        yield server


def certain() -> tp.VisionModel:
    """Tells what has fine detail from what has none, and is sure of it: blurring a place changes the answer."""
    detail = nn.Conv2d(3, 1, 3, padding=1, bias=False)
    net = nn.Sequential(detail, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    detail.weight.data[:] = (torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])) / 3
    net[-1].weight.data[:] = torch.tensor([[30.0], [0.0]])
    net[-1].bias.data[:] = torch.tensor([0.0, 2.0])
    return tp.wrap(net, size=(32, 32), labels=["detail", "plain"], name="sure", mean=0.5, std=0.5)


@pytest.fixture(scope="module")
def sure() -> tp.VisionModel:
    return certain()


def test_an_uploaded_picture_is_answered_and_explained_by_five_methods_for_two_classes(
    page: Any, server: Server, model: tp.VisionModel
) -> None:
    mine = at.photograph(1)
    at.go(page, server)
    at.bring(page, mine)
    expected = at.predicted(model, mine)
    assert at.answers(page.locator(".shelf")) == pytest.approx(expected, abs=0.0051)
    first = next(iter(expected))
    other = "dog" if first != "dog" else "bee"
    names = {
        "Layer-CAM": "layer_cam", "Integrated gradients": "integrated_gradients", "Smooth grad": "smooth_grad",
        "Occlusion": "occlusion",
    }  # fmt: skip
    for name in names:
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("button", name=f"{other} beside the others").click()
    page.locator(".question").get_by_text(other).wait_for()
    at.wait(page, "document.querySelectorAll('.card').length === 10")
    for method in ("grad_cam", *names.values()):
        for target in (first, other):
            maps = getattr(tp, method)(model, at.ready(model, mine), target)
            card = at.card(page, method, target)
            if maps.status[0] == "ok":
                at.is_strongest(at.reading(card), at.heat(maps))
            else:
                card.locator(".why").wait_for()


def test_the_espresso_and_its_places(page: Any, server: Server, lite: tp.VisionModel) -> None:
    """The photograph that every visitor sees first, by the built-in network."""
    at.go(page, server, "mattered?model=efficientnet_lite0&pictures=coffee")
    card = at.card(page, "grad_cam", "espresso")
    photo = at.ready(lite, data.coffee())
    heat = at.heat(tp.grad_cam(lite, photo))
    at.is_strongest(at.reading(card), heat)
    assert at.answers(page.locator(".shelf")) == pytest.approx(at.predicted(lite, data.coffee()), abs=0.0051)
    canvas = card.locator("canvas")
    box = canvas.bounding_box()
    for row, column in ((40, 60), (112, 112), (150, 180)):
        page.mouse.move(
            box["x"] + box["width"] * (column + 0.5) / heat.shape[1], box["y"] + box["height"] * (row + 0.5) / heat.shape[0]
        )
        found = at.reading(card)
        assert found[1:] == (row, column)
        at.is_of(found, heat)
    card.get_by_role("button", name="Code").click()
    assert "tp.grad_cam" in page.locator(".code pre").inner_text()


def test_whether_a_map_holds_is_what_judge_says(page: Any, server: Server, sure: tp.VisionModel) -> None:
    at.go(page, server, "mattered?model=sure&pictures=coffee")
    card = at.card(page, "grad_cam")
    card.locator(".badge").wait_for()
    photo = at.ready(sure, data.coffee())
    verdict = tp.judge(sure, photo, tp.grad_cam(sure, photo)).each[0]
    assert verdict.tested
    assert (card.locator(".badge").inner_text() == "stands") == verdict.stands
    assert verdict.words in card.locator(".hold").inner_text()
    strip = card.locator(".strip figcaption").inner_text()
    assert at.number_after("this map", strip) == pytest.approx(verdict.faithfulness, rel=0.006, abs=1e-3)
    assert at.number_after("edges", strip) == pytest.approx(verdict.edges, rel=0.006, abs=1e-3)


def test_an_espresso_without_its_cup_is_less_of_one(page: Any, server: Server, lite: tp.VisionModel) -> None:
    """Erased by hand; the numbers are those of the file that the page sent."""
    at.go(page, server, "mattered?model=efficientnet_lite0&pictures=coffee")
    page.get_by_role("button", name="Edit the picture").click()
    editor = page.locator(".edit")
    box = editor.locator(".surface canvas").bounding_box()
    at.wait(page, "document.querySelector('.edit .answers .bars-of li')")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.35 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.35 * box["height"], steps=4)
    page.mouse.up()
    at.wait(page, "/edited=/.test(location.hash)")
    editor.get_by_text("Before and after").wait_for()
    pair = page.get_by_role("region", name="Before and after")
    unedited, changed = (at.kept(page, name) for name in page.url.partition("edited=")[2].partition("&")[0].split("~"))
    before, after = (at.predicted(lite, one, k=1000)["espresso"] for one in (data.coffee(), changed))
    assert after < before - 0.05
    told = editor.get_by_text("% before")
    told.filter(has_text=f"{100 * after:.1f} % now").wait_for()
    assert f"{100 * at.predicted(lite, unedited)['espresso']:.1f} % before" in told.inner_text()
    for i, photo in enumerate((unedited, changed)):
        at.is_strongest(at.reading(pair.locator(".card").nth(i)), at.heat(tp.grad_cam(lite, at.ready(lite, photo), "espresso")))
    editor.get_by_role("button", name="Start over").click()
    editor.get_by_text("The answer as it is").wait_for()
    assert "edited=" not in page.url


def test_a_visualisation_stands_still_when_stopped_and_ends_as_if_it_had_not_been(
    page: Any, server: Server, model: tp.VisionModel, tmp_path: Path
) -> None:
    settings = {"size": 64, "n_steps": 200}
    at.go(page, server, f"looks_for?model=tiny&unit=3:5&set={at.packed({'visualize': settings})}")
    live = page.locator(".live").first
    live.get_by_text("step ", exact=False).first.wait_for()
    live.get_by_role("button", name="Stop").click()
    still = live.locator(".said", has_text="stopped at step")
    still.wait_for()
    page.wait_for_timeout(300)  # a frame may be on its way
    step = still.inner_text()
    assert 0 < int(step.split()[-1]) < 200
    page.wait_for_timeout(1000)
    assert still.inner_text() == step
    live.get_by_role("button", name="Continue").click()
    live.locator(".chrome").wait_for()
    expected = tp.visualize(model, "3:5", **settings)
    score = live.locator("figcaption").inner_text()
    assert at.number_after("score", score) == pytest.approx(float(expected.scores[0]), rel=0.006)
    saved = tp.open(at.exported(page, live, tmp_path) / "result")
    torch.testing.assert_close(saved.value.pixels, expected.pixels, atol=2e-3, rtol=0)


def test_what_is_typed_stays_while_pictures_come(page: Any, server: Server) -> None:
    """The page is drawn anew with every picture; a half-typed number is the person's."""
    at.go(page, server, f"looks_for?model=tiny&unit=3:5&set={at.packed({'visualize': {'size': 64, 'n_steps': 1000}})}")
    live = page.locator(".live").first
    live.locator(".said", has_text="step").wait_for()
    field = page.get_by_role("textbox", name="Channel")
    field.select_text()
    field.press_sequentially("11", delay=700)
    assert field.input_value() == "11"
    field.press("Enter")
    at.wait(page, "location.hash.includes('unit=3:11')")
    live.get_by_role("button", name="Stop").click()


def test_an_inversion_is_watched_while_it_is_made(page: Any, server: Server, model: tp.VisionModel, tmp_path: Path) -> None:
    settings = {"layer": "3", "n_steps": 200}
    at.go(page, server, f"found?model=tiny&pictures=cat&set={at.packed({'invert': settings})}")
    page.evaluate(
        """() => {
        window.steps = new Set();
        new MutationObserver(() => {
            for (const one of document.querySelectorAll('.live .said')) window.steps.add(one.textContent);
        }).observe(document.body, {subtree: true, childList: true, characterData: true});
    }"""
    )
    page.get_by_role("button", name="Invert").click()
    live = page.locator(".live")
    live.locator(".chrome").wait_for()
    steps = [int(text.split()[1]) for text in page.evaluate("[...steps]")]
    assert steps == sorted(set(steps))
    assert len(steps) >= 2
    expected = tp.invert(model, at.ready(model, data.chelsea()), **settings)
    saved = tp.open(at.exported(page, live, tmp_path) / "result")
    torch.testing.assert_close(saved.value.pixels, expected.pixels, atol=2e-3, rtol=0)


def test_pins_and_history_outlast_a_reload(page: Any, server: Server, model: tp.VisionModel) -> None:
    at.go(page, server, "mattered?model=tiny&pictures=coffee&methods=grad_cam,saliency&classes=3")
    cards = [at.card(page, name) for name in ("grad_cam", "saliency")]
    shown = [at.reading(card) for card in cards]
    for card in cards:
        card.get_by_role("button", name="Pin", exact=True).click()
    pins, strip = page.locator("#pins"), page.get_by_label("History")
    at.wait(page, "document.querySelectorAll('#pins .side-by-side > li').length === 2")
    names = strip.locator(".snapshot .name").all_inner_texts()
    assert set(names) == {"Grad-CAM", "Saliency"}
    page.reload()
    page.wait_for_selector("#pins .side-by-side > li .reading")
    at.wait(page, "document.querySelectorAll('#pins .reading').length === 2")
    assert [at.reading(pins.locator("li").nth(i)) for i in range(2)] == shown
    assert strip.locator(".snapshot .name").all_inner_texts() == names
    page.get_by_role("button", name="Found").click()
    page.wait_for_selector(".layer-of")
    strip.locator(".snapshot", has_text="Saliency").click()
    at.card(page, "saliency").wait_for()
    assert at.reading(at.card(page, "saliency")) == shown[1]
    assert pins.locator("li .reading").count() == 2  # going back in the history keeps the pins
