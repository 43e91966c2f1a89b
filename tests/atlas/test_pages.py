"""The atlas's pages in headless Chromium, from file://, on an atlas that is made up.

Whatever a test does, its page may ask for files of the site's folder alone and may write no error to the console.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from made_atlas import ODD, SITE, Made
from watching import watched

pytestmark = pytest.mark.browser


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def picture(identity: str) -> str:
    return "#/picture/" + quote(identity, safe="")


def test_the_overview_lists_layers_and_what_was_skipped(go: Any, made: Made) -> None:
    page = go()
    assert page.title() == "A made network on numbered shapes"
    assert texts(page, "tbody th") == [layer.name for layer in made.layers]
    assert "27 px" in texts(page, "tbody tr")[0]
    assert "all" in texts(page, "tbody tr")[2]  # 300 px of 224
    page.get_by_text("2 files skipped").click()
    assert page.get_by_text("truncated file").is_visible()
    page.locator(".glance a .tile").first.wait_for()


def test_a_layer_shows_its_units_sorted_and_filtered(go: Any, made: Made) -> None:
    page = go("#/layer/blocks.3.0")
    page.wait_for_selector(".grid .tile")
    assert texts(page, ".grid .name")[:3] == ["0", "1", "2"]
    page.get_by_label("Sort").select_option("maximum")
    page.wait_for_function("document.querySelector('.grid .name').innerText !== '0'")
    best = (-made.scores[1].max(1)).argsort(kind="stable")
    assert texts(page, ".grid .name")[:20] == [str(channel) for channel in best[:20]]
    page.get_by_label("Label", exact=True).fill("ring 9/9")
    page.wait_for_function("/ of 80 units/.test(document.querySelector('.state').innerText)")
    assert set(texts(page, ".grid .note")) != set()
    page.get_by_label("Sort").select_option("channel")
    page.wait_for_function("document.querySelector('.grid .note').innerText === 'ring 9/9'")
    assert set(texts(page, ".grid .note")) == {"ring 9/9"}
    page.reload()  # the address holds the filter
    page.wait_for_selector(".grid .note")
    assert set(texts(page, ".grid .note")) == {"ring 9/9"}


def test_a_link_to_a_unit_shows_its_true_examples(go: Any, made: Made) -> None:
    page = go("#/unit/blocks.3.0:5")
    page.wait_for_selector(".spectrum .nine")
    scores = made.scores[1][5]
    columns = page.locator(".spectrum figure")
    titles = ["Negative optimised", "Minimum", "Slightly negative", "Slightly positive", "Maximum", "Positive optimised"]
    assert texts(page, ".spectrum figcaption") == titles
    page.wait_for_function("!document.querySelector('.nine a').href.endsWith('#/pictures')")
    for column, order in ((1, scores.argsort(kind="stable")), (4, scores.argsort(kind="stable")[::-1])):
        found = columns.nth(column).locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert found == [picture(made.data.ids[i]) for i in order[:9]]
        shown = [float(text.replace("−", "-")) for text in columns.nth(column).locator(".score").all_inner_texts()]
        assert shown == pytest.approx([float(scores[i]) for i in order[:9]], rel=0.006)  # three digits are shown
    assert page.locator(".at").inner_text() == "zero"


def test_where_it_fired_is_a_part_of_the_tile(go: Any) -> None:
    """On a sheet of 16 x 16 tiles a part of side s shows the sheet 16 / s boxes wide."""
    page = go("#/unit/blocks.3.0:5")
    tile = page.locator(".nine .tile").first
    tile.wait_for()
    wide = "tile => parseFloat(getComputedStyle(tile).backgroundSize)"
    assert tile.evaluate(wide) == pytest.approx(1600, rel=0.01)  # per cent; half a px less on each side
    page.get_by_role("button", name="Where it fired").click()
    assert tile.evaluate(wide) == pytest.approx(1600 / (123 / 224), rel=1e-3)
    go("#/unit/head:0").wait_for_selector(".nine .tile")
    page.get_by_role("button", name="Where it fired").click()
    assert page.locator(".nine .tile").first.evaluate(wide) == pytest.approx(1600, rel=0.01)  # no field known: all of it


def test_what_was_not_rendered_says_how_to_get_it(go: Any) -> None:
    page = go("#/unit/blocks.5.0:3")
    page.wait_for_selector(".spectrum .nine")
    words = texts(page, ".none")
    assert any('tapetum render "blocks.5.0:3" --model made --negative' in text for text in words)
    assert "No picture scored below the median." in words  # the median of this rectified unit is zero
    assert "median 0" in page.locator(".at").inner_text()


def test_keys_go_to_the_next_unit_and_through_the_grid(go: Any) -> None:
    page = go("#/unit/blocks.3.0:5")
    page.wait_for_selector(".spectrum")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.title.startsWith('blocks.3.0:6')")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.title.startsWith('blocks.3.0:5')")
    go("#/unit/blocks.3.0:0").keyboard.press("ArrowLeft")
    assert page.url.endswith("#/unit/blocks.3.0:0")
    go("#/layer/wide").wait_for_selector(".grid .tile")
    page.locator(".grid a").first.focus()
    columns = page.evaluate("[...document.querySelectorAll('.grid li')].findIndex(li => !/, 0px\\)/.test(li.style.transform))")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(30)
    assert page.evaluate("document.activeElement.closest('[data-place]').dataset.place") == str(6 * columns)
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.title.startsWith('wide:{6 * columns}')")


def test_back_returns_to_the_place_in_the_grid(go: Any) -> None:
    page = go("#/layer/wide")
    page.wait_for_selector(".grid .tile")
    page.get_by_label("Channel", exact=True).fill("15000")
    page.get_by_label("Channel", exact=True).press("Enter")
    page.wait_for_selector("[data-place='15000']")
    page.evaluate("scrollBy(0, 100)")
    page.wait_for_timeout(100)
    there = page.evaluate("scrollY")
    page.locator("[data-place='15000'] a").click()
    page.wait_for_selector(".spectrum")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.wait_for_function(f"Math.abs(scrollY - {there}) < 2")
    page.wait_for_selector("[data-place='15000']")


def test_a_picture_shows_the_units_that_fire_on_it(go: Any, made: Made) -> None:
    number = 700
    page = go(picture(made.data.ids[number]))
    page.wait_for_selector(".fires .bar")
    fires = made.fires()[number]
    assert texts(page, ".fires .name") == [f"{made.layers[layer].name}:{channel}" for layer, channel, *_ in fires]
    page.get_by_role("button", name="By layer").click()
    layers = sorted({layer for layer, *_ in fires})
    assert texts(page, ".group h3") == [made.layers[layer].name for layer in layers]
    page.locator(".fires a").first.click()
    page.wait_for_selector(".spectrum")


def test_names_of_any_letters_are_linked(go: Any, made: Made) -> None:
    page = go("#/pictures")
    page.get_by_label("Name or label").fill("50%")
    page.wait_for_function("document.querySelector('.state').innerText.startsWith('1 of')")
    page.locator(".grid a").click()
    page.wait_for_selector(".fires .bar")
    assert page.locator("h1").inner_text() == ODD


def search(page: Any, text: str) -> None:
    """Asks for a text and waits for its page, which sets the box to that text: words filled in before are lost."""
    box = page.get_by_label("Search units")
    box.fill(text)
    box.press("Enter")
    page.wait_for_function("text => document.title.startsWith(`Search: ${text}`)", arg=text)


def test_what_is_typed_right_after_enter_stays(go: Any) -> None:
    """The address changes a moment after Enter; the box then must not go back to what was asked."""
    page = go()
    box = page.get_by_label("Search units")
    box.fill("blocks")
    box.evaluate("box => { box.form.requestSubmit(); box.value = 'max > 6'; }")  # before the address is heard of
    page.wait_for_function("document.title.startsWith('Search: blocks')")
    assert box.input_value() == "max > 6"
    box.press("Enter")
    page.wait_for_function("document.title.startsWith('Search: max > 6')")
    page.go_back()
    page.wait_for_function("document.title.startsWith('Search: blocks')")
    assert box.input_value() == "blocks"


def test_search_finds_units_layers_pictures_and_statistics(go: Any, made: Made) -> None:
    page = go()
    box = page.get_by_label("Search units")
    box.fill("blocks.3.0:5")
    box.press("Enter")
    page.wait_for_function("document.title.startsWith('blocks.3.0:5')")
    page.keyboard.press("/")
    search(page, "blocks")
    page.wait_for_selector(".inline a")
    assert texts(page, ".inline a") == [layer.name for layer in made.layers if layer.name.startswith("blocks")]
    search(page, "blocks.3.0 sparsity > 0.9")
    sparse = (made.scores[1] <= 0).mean(1)
    page.wait_for_function(f"document.querySelector('.state').innerText.startsWith('{(sparse > 0.9).sum()} unit')")
    search(page, "max > 6")
    high = sum(int((scores.max(1) > 6).sum()) for scores in made.scores)
    page.wait_for_function(f"document.querySelector('.state').innerText.startsWith('{high} unit')")
    search(page, "ring/01999")
    page.wait_for_function("document.querySelector('.state').innerText.endsWith('0 pictures')")  # it has the odd name
    search(page, "square/007")
    page.get_by_role("button", name="Pictures").click()
    page.wait_for_function("document.querySelector('.grid .name')")
    assert all(name.startswith("007") for name in texts(page, ".grid .name"))
    search(page, "no such thing")
    page.get_by_text("Nothing found").wait_for()


def test_the_map_tells_of_its_cells_and_classes(go: Any) -> None:
    page = go("#/map/blocks.3.0")
    page.wait_for_selector(".cells button")
    cells = page.locator(".cells button")
    cells.nth(20).hover()
    page.wait_for_function("document.querySelectorAll('.cells button')[20].ariaPressed === 'true'")
    label = cells.nth(20).get_attribute("aria-label").split(": ")[1].split(", ")[1]
    assert label in page.locator("aside").inner_text()
    cells.nth(20).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.ariaLabel") == cells.nth(21).get_attribute("aria-label")
    page.get_by_label("Class").select_option("ring")
    page.wait_for_selector(".cells .of")
    for cell in (cells.nth(0), cells.nth(50)):
        assert ("ring" in cell.get_attribute("aria-label")) == (cell.get_attribute("class") == "of")
    page.locator("aside .unit").first.click()
    page.wait_for_selector(".spectrum")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("#/unit/blocks.3.0:80", "blocks.3.0:0 to blocks.3.0:79"),
        ("#/unit/blocks.3.0", "blocks.3.0:0 to blocks.3.0:79"),
        ("#/layer/blocks.9", "close names"),
        ("#/map/head", "There is one of blocks.3.0"),
        ("#/picture/nowhere.png", "saw no picture of this name"),
        ("#/picture/ring%2Fbroken.png", "It was skipped: truncated file"),
        ("#/somewhere", "which this atlas does not have"),
    ],
)
def test_what_does_not_exist_is_refused_in_words(go: Any, address: str, words: str) -> None:
    assert words in go(address).locator("main").inner_text()


def test_a_missing_file_is_named(browser: Any, made: Made) -> None:
    missing = "data/units/wide-100.js"  # the made atlas leaves it out
    with watched(browser, made.folder.as_uri(), missing=(missing,)) as page:
        page.goto((made.folder / "index.html").as_uri() + "#/unit/wide:6400")
        page.get_by_role("alert").wait_for()
        assert missing in page.get_by_role("alert").inner_text()


def test_another_schema_and_no_data_are_refused(browser: Any, tmp_path: Path) -> None:
    shutil.copytree(SITE, tmp_path, dirs_exist_ok=True)
    with watched(browser, tmp_path.as_uri(), missing=("data/index.js",)) as page:
        page.goto((tmp_path / "index.html").as_uri())
        page.get_by_text("No atlas here").wait_for()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/index.js").write_text('atlas("index", {"schema": 2});')
    with watched(browser, tmp_path.as_uri()) as page:
        page.goto((tmp_path / "index.html").as_uri())
        page.get_by_text("This atlas is of schema version 2; these pages read version 1.").wait_for()
