"""Visits of the studio: several at once, by an address, in a frame, with a model that is not there, after a restart, led."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import visiting as at
from asking import a_studio
from PIL import Image
from skimage import data

import tapetum as tp
from tapetum.studios.serve import Server

pytestmark = pytest.mark.browser


def test_two_browsers_at_once_see_nothing_of_each_other(
    browser: Any, server: Server, model: tp.VisionModel, lite: tp.VisionModel
) -> None:
    photos = [at.photograph(2), at.photograph(3)]
    with at.visitor(browser, server) as one, at.visitor(browser, server) as other:
        for page, name in ((one, "tiny"), (other, "efficientnet_lite0")):
            at.go(page, server, f"mattered?model={name}")
        for page, photo, name in ((one, photos[0], "first.png"), (other, photos[1], "second.png")):
            page.get_by_label("Your picture", exact=True).set_input_files(
                {"name": name, "mimeType": "image/png", "buffer": at.png(photo)}
            )
        for page, network, photo, name in ((one, model, photos[0], "first"), (other, lite, photos[1], "second")):
            page.get_by_role("img", name=f"{name}.png, as the model saw it").wait_for()
            expected = at.predicted(network, photo)
            at.card(page, "grad_cam", next(iter(expected))).wait_for()
            assert at.answers(page.locator(".shelf")) == pytest.approx(expected, abs=0.0051)
            maps = tp.grad_cam(network, at.ready(network, photo))
            at.is_strongest(at.reading(at.card(page, "grad_cam")), at.heat(maps))
        for page, own, strange in ((one, "first.png", "second.png"), (other, "second.png", "first.png")):
            assert page.locator(".thumbs").get_by_role("img", name=own).count() == 1
            assert page.locator(".thumbs").get_by_role("img", name=strange).count() == 0
        clients = [page.evaluate("localStorage.getItem('tapetum-client')") for page in (one, other)]
        assert clients[0] != clients[1]


def test_an_address_is_the_state_for_whoever_opens_it(browser: Any, page: Any, server: Server) -> None:
    at.go(page, server, "mattered?model=tiny&pictures=rocket&methods=occlusion&classes=3")
    page.get_by_role("button", name="rather than …").click()
    page.get_by_role("combobox").fill("bee")
    page.get_by_role("combobox").press("Enter")
    page.get_by_role("button", name="As computed").click()
    page.get_by_role("slider", name="Opacity").fill("0.4")
    page.get_by_role("slider", name="Threshold").fill("0.2")
    card = at.card(page, "occlusion")
    card.get_by_role("button", name="Settings").click()
    window = card.get_by_label("window", exact=False).first
    window.fill("9")
    window.press("Enter")
    card.locator(".target", has_text="rather than").wait_for()
    at.wait(page, "!document.querySelector('.card .stale') && /set=/.test(location.hash)")
    shown = at.reading(card), card.locator(".target").inner_text()
    with at.visitor(browser, server) as friend:
        friend.goto(page.url)
        same = at.card(friend, "occlusion")
        assert (at.reading(same), same.locator(".target").inner_text()) == shown
        assert friend.get_by_role("slider", name="Opacity").input_value() == "0.4"
        assert friend.get_by_role("slider", name="Threshold").input_value() == "0.2"
        assert friend.get_by_role("button", name="As computed").get_attribute("aria-pressed") == "true"
        assert friend.locator(".question").inner_text().split() == page.locator(".question").inner_text().split()


def test_what_is_exported_are_the_arrays_the_picture_and_the_code(
    page: Any, server: Server, model: tp.VisionModel, tmp_path: Path
) -> None:
    at.go(page, server, "mattered?model=tiny&pictures=coffee&methods=integrated_gradients&classes=2")
    card = at.card(page, "integrated_gradients", "cat")
    folder = at.exported(page, card, tmp_path)
    expected = tp.integrated_gradients(model, at.ready(model, data.coffee()), "cat")
    torch.testing.assert_close(tp.open(folder / "result").value.values, expected.values, rtol=1e-4, atol=1e-7)
    with Image.open(folder / "1-coffee.png") as picture:
        assert picture.size == (32, 32)  # what the model saw
    assert "integrated_gradients" in (folder / "code.py").read_text()


def test_an_embedded_studio_is_the_result_alone(page: Any, server: Server, model: tp.VisionModel) -> None:
    at.go(page, server, "mattered?model=tiny&pictures=coffee&classes=0", query="?embed=1")
    at.is_strongest(at.reading(at.card(page, "grad_cam")), at.heat(tp.grad_cam(model, at.ready(model, data.coffee()), "ant")))
    for gone in ("header", "nav", ".tour", ".history", "#pins"):
        assert page.locator(gone).count() == 0
    assert page.get_by_role("button", name="Pin", exact=True).count() == 0
    assert page.get_by_role("button", name="Export").count() == 1


def test_a_model_that_cannot_be_had_says_why_and_the_result_stays(
    browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing answers there: as on a computer without a network
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with a_studio() as server, at.visitor(browser, server) as page:
        at.go(page, server, "mattered?model=tiny&pictures=coffee&classes=0")
        shown = at.reading(at.card(page, "grad_cam"))
        page.locator("header").get_by_title("Model", exact=True).click()
        page.get_by_role("combobox", name="Model").fill("resnet50")
        page.get_by_role("option", name="torchvision:resnet50", exact=True).click()
        refusal = page.locator("p[role=alert]").filter(has_text="resnet50").first
        refusal.wait_for()
        with pytest.raises(tp.TapetumError) as error:
            tp.load("torchvision:resnet50")
        assert str(error.value) in refusal.inner_text()
        reading = at.card(page, "grad_cam").locator(".reading")
        assert reading.count() == 0 or at.parsed(reading.inner_text()) == shown
        page.get_by_role("button", name="Back to tiny").click()
        assert at.reading(at.card(page, "grad_cam")) == shown


def test_a_picture_is_sent_again_to_a_studio_that_was_restarted(browser: Any, model: tp.VisionModel) -> None:
    mine = at.photograph(5)
    with a_studio() as first, at.visitor(browser, first, failing="(Not Found)") as page:
        at.go(page, first)
        at.bring(page, mine)
        at.reading(at.card(page, "grad_cam"))
        at.idle(page, first)
        port = first.port
        first.close()
        with a_studio(port=port) as second:
            page.get_by_role("button", name="Integrated gradients").click()
            maps = tp.integrated_gradients(model, at.ready(model, mine))
            at.is_strongest(at.reading(at.card(page, "integrated_gradients")), at.heat(maps))
            at.idle(page, second)  # the page asks for the map's verdict, too


def test_the_old_map_stays_greyed_until_the_new_one_is_there(page: Any, server: Server) -> None:
    """Every control answers at once: what was there is marked as old in the same frame."""
    at.go(page, server, "mattered?model=tiny&pictures=coffee&methods=occlusion&classes=0")
    at.reading(at.card(page, "occlusion"))
    at.wait(page, "!document.querySelector('.card .stale')")
    after = page.evaluate(
        """async () => {
        const began = performance.now();
        [...document.querySelectorAll('.shelf .answer')].find(one => one.textContent.includes('dog')).click();
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        const old = document.querySelector('.card .stale .reading, .card .working');
        return [performance.now() - began, !!old, document.querySelector('.question').textContent];
    }"""
    )
    assert after[1]
    assert "dog" in after[2]
    at.card(page, "occlusion", "dog").wait_for()


def test_a_guess_is_right_where_the_unit_stands_out(page: Any, server: Server, model: tp.VisionModel) -> None:
    at.go(page, server, "looks_for?model=tiny&unit=3:1&set=" + at.packed({"visualize": {"size": 64, "n_steps": 4}}))
    page.get_by_role("button", name="Play: guess").click()
    game = page.get_by_role("region", name="Guess what a unit looks for")
    game.locator(".guesses button").nth(2).click()
    said = game.locator("p[aria-live=polite]").inner_text()
    layer, channel = re.search(r"It is (\S+):(\d+);", said).groups()
    photos = [data.coffee(), data.chelsea(), data.astronaut(), data.rocket()]
    names = game.locator(".guesses li .name").all_inner_texts()
    right = game.locator(".guesses li.right .name").inner_text()
    found = tp.activation_maps(model, torch.cat([at.ready(model, one) for one in photos]), layers=layer, k=6)
    fired = [int(channel) in one for one in found[0].channels.tolist()]
    assert fired == [name == right for name in names]
    assert ("Right." in said) == (names[2] == right)


def test_the_tour_leads_through_four_questions_in_eight_steps(browser: Any, server: Server) -> None:
    with at.visitor(browser, server, new=True) as page:
        at.go(page, server)
        page.get_by_role("button", name="Show me").click()
        tour, tabs = page.get_by_role("region", name="Tour"), []
        for step in range(1, 9):
            tour.get_by_text(f"{step} of 8").wait_for()
            tabs.append(page.locator("nav [aria-current=page]").inner_text())
            assert page.locator("[role=alert]").all_inner_texts() == []
            tour.get_by_role("button", name="Next" if step < 8 else "Look around").click()
        tour.wait_for(state="detached")
        assert set(tabs) == {"Looks for", "Found", "Mattered", "Trust"}
        page.reload()
        page.wait_for_selector("main#main h2")
        assert tour.count() == 0  # a visitor is led once
        assert "model=tiny" in page.url
