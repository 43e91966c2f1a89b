"""The page of a circuit: what it holds as a file, and what a person does with it in headless Chromium."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from watching import watched

import tapetum as tp
from tapetum.figures.theme import DARK, rgb
from tapetum.reports.circuits import content
from tapetum.types import (
    Circuit,
    CircuitCurve,
    CircuitEdge,
    CircuitExample,
    CircuitLooks,
    CircuitNode,
    CircuitTest,
    TapetumError,
)

SITE = Path(tp.__file__).parent / "reports/circuits/site"
NODES, LAYERS = 40, 6


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="circuit">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert found
    return json.loads(found[1])


def made(target: str = "tabby") -> Circuit:
    """A circuit of forty nodes, as large as a person reads; node i has edges to i + 7 and i + 11, or to the score."""
    nodes = [CircuitNode(f"blocks.{i * LAYERS // NODES}.convolution_with_a_long_name", "channel", 10 * i) for i in range(NODES)]
    pairs = [(i, min(i + step, NODES)) for i in range(NODES) for step in (7, 11)]
    edges = [
        CircuitEdge(a, b, (-1.0) ** a * (1 + a), (-1) ** a * 0.01 * (1 + b), 0.9, (0.8, 1.0), 0.1, a % 3 > 0, float("nan"))
        for a, b in dict.fromkeys(pairs)
    ]
    some = torch.tensor([0.1, 0.5, 0.9])
    curve = CircuitCurve((1, 10, len(edges)), {"zero": some, "mean": some}, torch.zeros(3, 3), some / 2)
    levels = torch.randint(0, 256, (NODES, 3, 24, 24), dtype=torch.uint8)
    examples = tuple(CircuitExample(i, i % 3, 1.5, (0, 0, 8, 8)) for i in range(NODES))
    looks = CircuitLooks(torch.rand(NODES + 1, 3), examples, levels, tuple(range(0, NODES, 2)), levels[::2])
    tests = (CircuitTest("equivalence", 0.4, True, "as often above as below"), CircuitTest("minimality", 0.5, False, "no"))
    return Circuit(
        "a network", target, (*nodes, CircuitNode(target, "score")), tuple(edges), "patching", "zero", "99 channels", 3, curve,
        tests, looks, ("a note",),
    )  # fmt: skip


# --- the file


def test_the_page_holds_the_circuits_numbers_and_names_no_host(tmp_path: Path) -> None:
    model, truth = tp.planted_circuit("cross")
    found = tp.circuit(model, 0, truth.images[:6], edges=3, pictures=16)
    page = found.write(tmp_path / "circuit.html")
    data = data_of(page)
    assert [edge["weight"] for edge in data["edges"]] == [edge.weight for edge in found.edges]
    assert [node["name"] for node in data["nodes"]] == list(map(str, found.nodes))
    assert {test["name"] for test in data["tests"]} == {"equivalence", "independence", "minimality"}
    assert len(data["looks"]["pictures"]) == len(found.nodes) - 1
    assert set(re.findall(r"https?://([^/\"'`]+)", page.read_text("utf-8"))) <= {"www.w3.org"}
    assert "default-src &#x27;none&#x27;" in page.read_text("utf-8")
    assert data == {**content(found), "looks": data["looks"]}


def test_a_nodes_activations_are_the_means_of_its_channel_over_places() -> None:
    model, truth = tp.planted_circuit("cross", 1)
    found = tp.circuit(model, 0, truth.images[:5], edges=3, test=False)
    for node, own in zip(found.nodes[:-1], content(found)["nodes"], strict=False):
        with tp.capture(model, [node.layer]) as acts:
            model(truth.images[:5])
        torch.testing.assert_close(torch.tensor(own["activations"]), acts[node.layer][:, node.index].mean((1, 2)).float())
    score = model.module(truth.images[:5])[:, 0].detach()
    torch.testing.assert_close(torch.tensor(content(found)["nodes"][-1]["activations"]), score.float())


def test_examples_are_where_the_channel_is_largest() -> None:
    model, truth = tp.planted_circuit("cross", 1)
    images = truth.images[:6]
    found = tp.circuit(model, 0, images, edges=3, test=False)
    assert found.looks is not None
    assert found.looks.pictures.numel() == 0  # none were asked for
    for one in found.looks.examples:
        node = found.nodes[one.node]
        with tp.capture(model, [node.layer]) as acts:
            model(images)
        own = acts[node.layer][one.image, node.index]
        assert one.value == pytest.approx(float(own.max()))
        row, column = divmod(int(own.argmax()), own.shape[1])
        top, left, bottom, right = one.window
        height, width = images.shape[-2:]
        assert top <= (row + 0.5) * height / own.shape[0] <= bottom
        assert left <= (column + 0.5) * width / own.shape[1] <= right
    values = [one.value for one in found.looks.examples if one.node == 0]
    assert values == sorted(values, reverse=True)
    assert len(values) == 4


def test_a_head_is_shown_by_whole_images_and_has_no_picture() -> None:
    model, truth = tp.planted_circuit("two_heads")
    found = tp.circuit(model, 0, truth.images[:4], edges=3, test=False, pictures=16)
    assert found.looks is not None
    kinds = {found.nodes[i].kind for i in found.looks.drawn}
    assert kinds <= {"channel"}
    height, width = truth.images.shape[-2:]
    heads = [one for one in found.looks.examples if found.nodes[one.node].kind == "head"]
    assert heads
    assert {one.window for one in heads} == {(0, 0, height, width)}


class Bright(torch.nn.Module):
    """Lets pass what is above 2, brighter than any picture, in its first channel; all of the second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0].clamp(min=2), x[:, 1]], 1)


def test_a_channel_that_no_gradient_reaches_is_shown_without_a_picture() -> None:
    """Its optimisation ends where it began, in grey, which would look like an answer."""
    mix, pool = torch.nn.Conv2d(2, 2, 1), torch.nn.AdaptiveAvgPool2d(1)
    with torch.no_grad():
        mix.weight.copy_(torch.eye(2).view(2, 2, 1, 1))
    net = torch.nn.Sequential(Bright(), mix, torch.nn.ReLU(), pool, torch.nn.Flatten(), torch.nn.Linear(2, 1)).double()
    model = tp.wrap(net, size=12, mean=(0.0,) * 3, std=(1.0,) * 3, name="half asleep")
    images = 3 + torch.rand(3, 3, 12, 12, dtype=torch.float64)
    found = tp.circuit(model, 0, images, edges=2, test=False, pictures=16)
    assert [str(node) for node in found.nodes[:-1]] == ["1:0", "1:1"]
    assert found.looks is not None
    assert found.looks.drawn == (1,)
    assert any("1 of 2 channels have no picture" in note for note in found.notes)


def test_a_name_cannot_end_the_script_and_other_files_are_refused(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>"
    page = made(name).write(tmp_path / "new" / "circuit.html")
    assert data_of(page)["target"] == name
    assert "alert(1)</script>" not in page.read_text("utf-8")
    assert data_of(replace(made(), looks=None).write(page))["looks"] == {"pictures": {}, "examples": []}
    with pytest.raises(TapetumError, match=r"is a \.html file"):
        made().write(tmp_path / "circuit.png")


def test_the_script_is_small() -> None:
    assert sorted(file.name for file in SITE.iterdir()) == ["circuit.css", "circuit.js"]
    assert len(gzip.compress((SITE / "circuit.js").read_bytes())) < 15_000
    assert "</script" not in (SITE / "circuit.js").read_text("utf-8")


# --- what a person does


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made().write(tmp_path_factory.mktemp("page") / "circuit.html")


def tile(page: Any, node: int) -> Any:
    return page.locator(f'[data-id="{node}"]')


@pytest.mark.browser
def test_a_click_selects_and_the_back_button_undoes(browser: Any, place: Path) -> None:
    with watched(browser, place.parent.as_uri()) as page:
        page.goto(place.as_uri())
        assert page.locator(".node").count() == NODES + 1
        assert page.locator(".lines > path").count() == len(made().edges)
        tile(page, 20).click()
        assert page.locator(".panel h2").inner_text() == str(made().nodes[20])
        touching = [edge for edge in made().edges if 20 in (edge.source, edge.target)]
        assert page.locator(".panel tbody tr").count() == len(touching)
        assert page.locator(".lines > .on").count() == len(touching)
        page.locator(".panel tbody button").first.click()  # the name of the other end
        assert page.locator(".panel h2").inner_text() == str(made().nodes[touching[0].source])
        page.go_back()
        assert page.locator(".panel h2").inner_text() == str(made().nodes[20])
        page.keyboard.press("Escape")
        assert page.locator(".panel").count() == 0


@pytest.mark.browser
def test_pins_and_named_groups_come_back_from_the_link(browser: Any, place: Path) -> None:
    with watched(browser, place.parent.as_uri()) as page:
        page.goto(place.as_uri())
        for node in (1, 2):
            tile(page, node).click(modifiers=["Control"])
        page.get_by_label("Name of the group").fill("dog ~ head & tail")
        page.get_by_role("button", name="Group", exact=True).click()
        tile(page, 30).click(modifiers=["Control"])
        link = page.url
    with watched(browser, place.parent.as_uri()) as page:
        page.goto(link)
        group = page.locator(".node.group")
        assert group.inner_text().strip() == "dog ~ head & tail"
        assert page.locator(".members li").count() == 2
        assert page.locator(".node.held").get_attribute("data-id") == "30"
        ends = {("g" if a in (1, 2) else a, b) for a, b in ((edge.source, edge.target) for edge in made().edges)}
        assert page.locator(".lines > path").count() == len(ends)
        page.get_by_role("button", name="Open the group").click()
        assert page.locator(".node.held").count() == 3
        assert group.count() == 0


@pytest.mark.browser
def test_a_pinned_node_is_dragged_onto_another_one_to_group_them(browser: Any, place: Path) -> None:
    with watched(browser, place.parent.as_uri()) as page:
        page.goto(place.as_uri())
        tile(page, 8).click(modifiers=["Control"])
        start, end = tile(page, 8).bounding_box(), tile(page, 9).bounding_box()
        page.mouse.move(start["x"] + 20, start["y"] + 20)
        page.mouse.down()
        page.mouse.move(start["x"] + 40, start["y"] + 30)
        page.mouse.move(end["x"] + 20, end["y"] + 20)
        page.mouse.up()
        page.get_by_label("Name", exact=True).fill("wing")
        page.keyboard.press("Enter")
        assert page.locator(".node.group").inner_text().strip() == "wing"
        assert "group=9.8" in page.url


@pytest.mark.browser
def test_everything_can_be_done_from_the_keyboard(browser: Any, place: Path) -> None:
    with watched(browser, place.parent.as_uri()) as page:
        page.goto(place.as_uri())
        tile(page, 0).focus()
        page.keyboard.press("p")
        page.keyboard.press("ArrowRight")
        strongest = max((edge for edge in made().edges if edge.source == 0), key=lambda edge: share(edge))
        assert page.evaluate("document.activeElement.dataset.id") == str(strongest.target)
        page.keyboard.press("Enter")
        assert f"select={strongest.target}" in page.url
        assert "pins=0" in page.url
        page.get_by_label("Edges", exact=True).focus()
        page.keyboard.press("Home")
        assert page.locator(".lines > path").count() == 1
        page.reload()
        assert page.locator(".lines > path").count() == 1
        page.goto(place.as_uri() + "#/?select=999&pins=x.1&group=1&edges=-4")  # a link that fits nothing
        page.reload()
        assert page.locator(".node").count() == NODES + 1


def share(edge: CircuitEdge) -> float:
    into = [abs(one.importance) for one in made().edges if one.target == edge.target]
    return abs(edge.importance) / sum(into)


@pytest.mark.browser
def test_forty_nodes_are_readable_on_a_phone(browser: Any, place: Path) -> None:
    """No two nodes or names overlap, each is large enough for a finger, and nothing sticks out at the side."""
    with watched(browser, place.parent.as_uri(), width=390) as page:
        page.goto(place.as_uri())
        boxes = page.locator(".node, .layer").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
        assert len(boxes) == NODES + 1 + LAYERS + 1
        for one, other in itertools.combinations(boxes, 2):
            apart = one["right"] <= other["left"] or other["right"] <= one["left"]
            assert apart or one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
        sizes = page.locator(".node").evaluate_all("all => all.map(one => [one.offsetWidth, one.offsetHeight])")
        assert min(map(min, sizes)) >= 40
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        tile(page, 30).tap() if page.evaluate("'ontouchstart' in window") else tile(page, 30).click()
        assert page.locator(".panel").is_visible()


@pytest.mark.browser
def test_the_page_is_dark_where_that_is_wanted(browser: Any, place: Path) -> None:
    with watched(browser, place.parent.as_uri(), scheme="dark") as page:
        page.goto(place.as_uri())
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert [int(part) for part in re.findall(r"\d+", color)] == [round(255 * part) for part in rgb(DARK.paper)]
