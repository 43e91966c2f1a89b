"""Maps and edits in the studio's page are computed by its script: its pixels are those that Python makes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from tapetum.figures.overlay import COVER, colorize, limit, overlay
from tapetum.figures.theme import DIVERGING, SEQUENTIAL
from tapetum.types import Reduce

pytestmark = pytest.mark.browser

SCRIPT = Path(tp.__file__).parent / "studios/site/studio.js"
PIXELS = """const pixels = ({data, h, w}) => new ImageData(Uint8ClampedArray.from(atob(data), x => x.charCodeAt(0)), w, h);
const text = made => { let s = ""; for (const x of new Uint8Array(made.buffer)) s += String.fromCharCode(x); return btoa(s); };
const {colours, maps, edits, show, WHOLE} = window.tapetumStudio;
"""


class Studio:
    """The page's functions, called with arrays."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def image(self, body: str, **given: Any) -> np.ndarray:
        """Pixels (h, w, 3) that an expression makes."""
        made = self.page.evaluate(
            f"given => {{ {PIXELS} const made = {body}; return [made.height, made.width, text(made.data)] }}", given
        )
        return np.frombuffer(base64.b64decode(made[2]), np.uint8).reshape(made[0], made[1], 4)[..., :3]

    def heat(self, body: str, **given: Any) -> Tensor:
        """A map (h, w) that an expression makes."""
        made = self.page.evaluate(
            f"given => {{ {PIXELS} const made = {body}; return [made.h, made.w, text(made.values)] }}", given
        )
        return torch.from_numpy(np.frombuffer(base64.b64decode(made[2]), "<f4").reshape(made[:2]).copy())

    def evaluate(self, body: str, **given: Any) -> Any:
        return self.page.evaluate(f"async given => {{ {PIXELS} {body} }}", given)


@pytest.fixture
def studio(browser: Any) -> Iterator[Studio]:
    context = browser.new_context()
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("about:blank")
    page.add_script_tag(path=str(SCRIPT))
    try:
        yield Studio(page)
    finally:
        context.close()
    assert errors == []


def as_map(values: Tensor, top: float | None = None) -> dict[str, Any]:
    """A map (h, w) as the server sends it."""
    seen = values.nan_to_num(0)
    data = base64.b64encode(values.numpy().astype("<f4").tobytes()).decode()
    top = top or limit(seen)
    return {"shape": list(values.shape), "data": data, "top": top, "low": float(seen.min()), "high": float(seen.max())}


def as_pixels(photo: np.ndarray) -> dict[str, Any]:
    """Pixels (h, w, 3) of 8 bits as the tests send them."""
    rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    return {"data": base64.b64encode(rgba.tobytes()).decode(), "h": photo.shape[0], "w": photo.shape[1]}


def eight_bits(picture: Tensor) -> np.ndarray:
    """A picture (3, h, w) in [0, 1] as pixels (h, w, 3), not rounded."""
    return picture.movedim(0, -1).numpy() * 255


def differ(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).max())


OVERLAID = "colours.overlaid(pixels(given.photo), maps.decoded(given.map), given.reduce, given.map.top, 0.85, 0, given.mode)"
NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def noise(h: int, w: int, seed: int = 0) -> Tensor:
    return torch.randn(h, w, generator=torch.Generator().manual_seed(seed))


def unsigned(values: Tensor, reduce: Reduce) -> Tensor:
    return values if reduce == "sum" else values.abs()


def test_scales_are_those_of_the_theme(studio: Studio) -> None:
    assert studio.evaluate("return [colours.SEQUENTIAL, colours.DIVERGING, colours.COVER]") == [
        list(SEQUENTIAL),
        list(DIVERGING),
        COVER,
    ]


@pytest.mark.weights
def test_a_real_map_over_its_photograph_has_the_pixels_of_the_figure(studio: Studio) -> None:
    """Grad-CAM and a signed map of the coffee photograph; 2/255 for the ramp's steps and for rounding twice."""
    model = tp.load("efficientnet_lite0")
    images = model.preprocess(tp.read_image(skimage.data.coffee()))
    photo = (model.preprocessing.denormalize(images)[0].clamp(0, 1) * 255).round().to(torch.uint8)
    for attribution in (tp.grad_cam(model, images), tp.integrated_gradients(model, images, n_steps=8)):
        heatmap = attribution.heatmap()[0].float()
        ours = overlay(photo.float() / 255, heatmap, attribution.reduce)
        sent = as_map(attribution.heatmap(size=None)[0].float(), limit(heatmap))
        given = {"photo": as_pixels(photo.movedim(0, -1).numpy()), "map": sent, "reduce": attribution.reduce, "mode": "smooth"}
        assert differ(studio.image(OVERLAID, **given), eight_bits(ours)) <= 2


@pytest.mark.parametrize("reduce", get_args(Reduce))
@pytest.mark.parametrize("mode", ["smooth", "pixelated"])
def test_every_kind_of_map_has_the_pixels_of_the_figure(studio: Studio, reduce: Reduce, mode: str) -> None:
    values = unsigned(noise(7, 9), reduce)
    how: dict[str, Any] = {"mode": "bilinear", "align_corners": False} if mode == "smooth" else {"mode": "nearest"}
    heatmap = F.interpolate(values[None, None], NOISE.shape[:2], **how)[0, 0]
    sent = as_map(values, limit(heatmap))
    ours = overlay(torch.from_numpy(NOISE).movedim(-1, 0) / 255, heatmap, reduce)
    theirs = studio.image(OVERLAID, photo=as_pixels(NOISE), map=sent, reduce=reduce, mode=mode)
    assert differ(theirs, eight_bits(ours)) <= 2


@pytest.mark.parametrize("reduce", get_args(Reduce))
def test_what_the_model_did_not_see_is_pale(studio: Studio, reduce: Reduce) -> None:
    values = unsigned(noise(96, 128), reduce)
    values[:, :40] = torch.nan
    given = {"photo": as_pixels(NOISE), "map": as_map(values), "reduce": reduce, "mode": "smooth"}
    ours = overlay(torch.from_numpy(NOISE).movedim(-1, 0) / 255, values, reduce)
    assert differ(studio.image(OVERLAID, **given), eight_bits(ours)) <= 2
    alone = studio.image("colours.colorized(maps.decoded(given.map), given.reduce, given.map.top)", **given)
    assert differ(alone, eight_bits(colorize(values, reduce, limit(values.nan_to_num(0))))) <= 2


def test_below_the_threshold_the_grey_photograph_shows(studio: Studio) -> None:
    """At a threshold of 1 all but what gets the full colour is as with no opacity at all; at 0 nothing is hidden."""
    values = noise(12, 12)
    over = (
        "colours.overlaid(pixels(given.photo), maps.decoded(given.map), 'sum', given.map.top, given.opacity, given.threshold)"
    )
    given = {"photo": as_pixels(NOISE), "map": as_map(values)}
    full, ground = (studio.image(over, **given, opacity=opacity, threshold=0) for opacity in (0.85, 0))
    cut = studio.image(over, **given, opacity=0.85, threshold=0.5)
    heatmap = F.interpolate(values[None, None], NOISE.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    weak = (heatmap.abs() / given["map"]["top"] < 0.5).numpy()
    assert 0.3 < weak.mean() < 0.95
    assert (cut[weak] == ground[weak]).all()
    assert (cut[~weak] == full[~weak]).all()


@pytest.mark.parametrize("size", [(224, 224), (97, 33), (5, 3), (7, 7)])
def test_resized_is_torchs_interpolation(studio: Studio, size: tuple[int, int]) -> None:
    values = noise(7, 7)
    smooth = studio.heat("maps.resized(maps.decoded(given.map), ...given.size)", map=as_map(values), size=size)
    torch.testing.assert_close(
        smooth, F.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0], atol=1e-5, rtol=0
    )
    blocks = studio.heat("maps.resized(maps.decoded(given.map), ...given.size, 'pixelated')", map=as_map(values), size=size)
    assert torch.equal(blocks, F.interpolate(values[None, None], size, mode="nearest")[0, 0])


def test_the_difference_of_two_maps_and_its_scale(studio: Studio) -> None:
    one, other = noise(8, 8, 1), noise(8, 8, 2)
    given = {"one": as_map(one), "other": as_map(other)}
    plain = studio.heat("maps.difference(maps.decoded(given.one), maps.decoded(given.other))", **given)
    torch.testing.assert_close(plain, one - other)
    top = studio.evaluate("return maps.limit(maps.difference(maps.decoded(given.one), maps.decoded(given.other)))", **given)
    assert top == pytest.approx(limit(one - other), rel=1e-6)


def disc(h: int, w: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w] + 0.5
    return np.hypot(rows - y, columns - x) - radius


DOT = {"points": [[40.0, 30.0]], "radius_px": 12.0}


def test_erasing_leaves_the_mean_colour_inside_the_brush_and_nothing_else_changes(studio: Studio) -> None:
    far = disc(96, 128, 40, 30, 12)
    erased = studio.image("edits.erase(pixels(given.photo), given.stroke)", photo=as_pixels(NOISE), stroke=DOT)
    assert differ(erased[far < -1], NOISE.reshape(-1, 3).mean(0)) <= 0.51
    assert (erased[far > 1] == NOISE[far > 1]).all()
    grey = studio.image("edits.erase(pixels(given.photo), given.stroke, edits.GREY)", photo=as_pixels(NOISE), stroke=DOT)
    assert (grey[far < -1] == 128).all()


def test_a_line_that_crosses_itself_is_painted_once(studio: Studio) -> None:
    there = {"points": [[20.0, 20.0], [90.0, 60.0]], "radius_px": 6.0}
    back = {**there, "points": [[20.0, 20.0], [90.0, 60.0], [20.0, 20.0]]}
    once, twice = (
        studio.image("edits.paint(pixels(given.photo), given.stroke, [200, 30, 60])", photo=as_pixels(NOISE), stroke=stroke)
        for stroke in (there, back)
    )
    assert (once == twice).all()
    assert (once != NOISE).any()


@pytest.mark.parametrize("center", [(40.0, 30.0), (2.0, 94.0)])
def test_blurring_is_a_gaussian_inside_the_brush(studio: Studio, center: tuple[float, float]) -> None:
    """scipy's with the same cut at 3 sigma, at the picture's edge too."""
    stroke = {"points": [list(center)], "radius_px": 12.0}
    far = disc(96, 128, *center, 12)
    blurred = studio.image("edits.blur(pixels(given.photo), given.stroke, 4)", photo=as_pixels(NOISE), stroke=stroke)
    theirs = np.dstack(
        [scipy.ndimage.gaussian_filter(NOISE[..., c].astype(float), 4, mode="nearest", truncate=3) for c in range(3)]
    )
    assert differ(blurred[far < -1], theirs[far < -1]) <= 1
    assert (blurred[far > 1] == NOISE[far > 1]).all()


@pytest.mark.parametrize(("to", "seen"), [((60, 50), (20, 30)), ((-5, 80), (16, 25))])
def test_pasting_copies_a_rectangle_and_cuts_it_at_the_edge(studio: Studio, to: tuple[int, int], seen: tuple[int, int]) -> None:
    part = {"x": 10, "y": 8, "w": 30, "h": 20}
    pasted = studio.image("edits.paste(pixels(given.photo), given.part, given.to)", photo=as_pixels(NOISE), part=part, to=to)
    expected, cut = NOISE.copy(), max(0, -to[0])
    expected[to[1] : to[1] + seen[0], max(0, to[0]) : to[0] + 30] = NOISE[8 : 8 + seen[0], 10 + cut : 40]
    assert (pasted == expected).all()


SHOWN = """const root = document.body.appendChild(document.createElement('div'));
root.style.width = '400px';
"""


DIFFERING = """async () => {
    const opened = async ([, , png]) => {
        const bitmap = await createImageBitmap(new Blob([png]));
        const brush = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
        brush.drawImage(bitmap, 0, 0);
        return brush.getImageData(0, 0, bitmap.width, bitmap.height).data;
    };
    const [first, second, third] = await Promise.all(told.map(opened));
    const differ = (one, other) => one.reduce((n, value, i) => n + (value !== other[i]), 0);
    return [differ(first, third), differ(first, second)];
}"""


def test_the_editor_tells_a_png_after_a_pause_and_undo_brings_the_picture_back(studio: Studio) -> None:
    """Drawn with keys alone: Space presses the brush in the middle, arrows draw, Space lifts it."""
    studio.evaluate(
        SHOWN
        + """window.told = [];
        const onEdited = async (png, edited) => window.told.push([png.type, edited, await png.arrayBuffer()]);
        show("Editor", {picture: pixels(given.photo), label: "noise", onEdited}, root)""",
        photo=as_pixels(NOISE),
    )
    page = studio.page
    page.wait_for_function("told.length === 1")
    page.get_by_role("application").focus()
    for key in ("Space", "Space", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_function("told.length === 2")
    page.keyboard.press("Control+z")
    page.wait_for_function("told.length === 3")
    kinds = page.evaluate("told.map(([type, edited]) => [type, edited])")
    assert kinds == [["image/png", False], ["image/png", True], ["image/png", False]]
    same = page.evaluate(DIFFERING)
    assert same[0] == 0
    assert 300 < same[1] < 3 * 400  # one dab of 16 px: about 200 pixels of three colours


def test_a_map_is_read_with_the_keyboard_alone(studio: Studio) -> None:
    """The cross begins at the strongest place, the value beside it is the map's, and the picture says itself in words."""
    values = torch.zeros(96, 128)
    values[70, 20], values[70, 21] = 2.0, 0.5
    studio.evaluate(
        SHOWN
        + """window.reads = []; let view = WHOLE;
        const draw = () => show("MapView", {photo: pixels(given.photo), map: given.map, reduce: "positive", size: [96, 128],
            opacity: 0.85, threshold: 0, smooth: true, view, onView: next => { view = next; window.view = next; draw(); },
            label: {method: "Grad-CAM", target: "espresso"}, onRead: reading => window.reads.push(reading)}, root);
        draw();""",
        photo=as_pixels(NOISE),
        map=as_map(values, 2.0),
    )
    page = studio.page
    name = page.get_by_role("img").get_attribute("aria-label")
    assert name == "Grad-CAM for espresso: strongest at the lower left, row 70, column 20 of 96 × 128 px, value 2.00"
    page.get_by_role("application").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.get_by_text("0.500 at row 70, column 21 · 25 % of the full colour").wait_for()
    page.keyboard.press("+")
    view = page.evaluate("window.view")
    assert view["zoom"] == pytest.approx(1.5)
    assert page.evaluate("reads") == [{"row": 70, "column": 20, "value": 2}, {"row": 70, "column": 21, "value": 0.5}]


COMPARED = """root.style.width = "900px";
const photo = pixels(given.photo);
const label = i => ({method: "Grad-CAM", target: ["espresso", "cup"][i]});
const items = given.maps.map((map, i) => ({id: String(i), label: label(i), photo, map, reduce: "positive", size: [96, 128]}));
const look = {opacity: 0.85, threshold: 0, smooth: true, view: WHOLE, onView() {}, onShared() {}, onSelected() {}};
window.draw = (shared, selected) => show("Compare", {items, ...look, shared, selected}, root);
draw(false, []);"""


def test_maps_side_by_side_share_their_cross_and_their_scale_and_are_subtracted(studio: Studio) -> None:
    one, other = torch.zeros(96, 128), torch.zeros(96, 128)
    one[70, 20], other[70, 20] = 2.0, 0.5
    studio.evaluate(
        SHOWN + COMPARED,
        photo=as_pixels(NOISE),
        maps=[as_map(one, 2.0), as_map(other, 0.5)],
    )
    page = studio.page
    tops = page.locator(".numbers span:last-child")
    assert tops.all_inner_texts() == ["2.00", "0.500"]
    page.get_by_role("application").first.focus()
    page.keyboard.press("Home")
    page.get_by_text("0.500 at row 70, column 20").wait_for()
    page.evaluate("draw(true, ['1', '0'])")
    page.get_by_text("-1.50 at row 70, column 20".replace("-", "−")).wait_for()
    assert tops.all_inner_texts() == ["2.00", "2.00", "1.50"]
    page.evaluate("draw(false, ['1', '0'])")  # each at its own full colour: no difference
    page.get_by_text("0 at row 70, column 20", exact=False).last.wait_for()
    assert page.locator(".difference .reading").inner_text().startswith("0 at row 70, column 20")
