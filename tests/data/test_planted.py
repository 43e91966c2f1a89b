"""Planted pictures: their truth is the truth, to the pixel and to the digit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tapetum.data.images import read_image
from tapetum.data.planted import OBJECTS, SHAPES, Planted, outlines, planted
from tapetum.data.planted.recipes import MARGIN, RADIUS
from tapetum.data.planted.textures import TEXTURES
from tapetum.data.streams import Source, as_source
from tapetum.types import ImageError

KINDS = ("shapes", "objects")
SHORTCUTS = ("background", "watermark", "border", "color", "texture", "blur", "pattern", "gain")


def grown(masks: torch.Tensor, by_px: int = 1) -> torch.Tensor:
    """Each mask and the pixels around it."""
    return F.max_pool2d(masks.float()[:, None], 2 * by_px + 1, 1, by_px)[:, 0] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shortcut", [None, *SHORTCUTS])
def test_a_picture_is_the_same_alone_and_among_others(kind: Any, shortcut: Any) -> None:
    many = planted(kind, n=40, shortcut=shortcut, seed=3)
    few = planted(kind, n=40, shortcut=shortcut, seed=3).take([7, 31])
    assert torch.equal(few.levels, many.levels[[7, 31]])
    assert torch.equal(few.masks, many.masks[[7, 31]])
    assert torch.equal(few.read(1), many.read(31))
    assert few.recipes == (many.recipes[7], many.recipes[31])
    assert few.ids == (many.ids[7], many.ids[31])


def test_another_seed_gives_other_pictures() -> None:
    first, second = planted(n=50, seed=0), planted(n=50, seed=1)
    same = {one.tobytes() for one in first.levels.numpy()} & {one.tobytes() for one in second.levels.numpy()}
    assert not same


@pytest.mark.parametrize("classes", [None, ("star", "disc", "moon")])
def test_classes_are_balanced_exactly_in_every_run_of_as_many_pictures(classes: Any) -> None:
    data = planted(n=240, classes=classes, seed=5)
    k = len(data.classes)
    assert all(sorted(run.tolist()) == list(range(k)) for run in data.targets.split(k))
    assert len({tuple(run.tolist()) for run in data.targets.split(k)}) > 4  # and their order is no rule


def test_without_a_shortcut_nothing_goes_with_the_label() -> None:
    """Chi-square of each factor against the label, with a bound that a fair draw passes in all but 1 of 10,000 seeds."""
    data = planted(n=4000, classes=("disc", "ring", "star", "moon"), seed=2)
    labels = data.targets.numpy()
    factors = {
        name: np.digitize([getattr(one, name) for one in data.recipes], edges)
        for name, edges in {
            "hue": (0.25, 0.5, 0.75),
            "x": (0.4, 0.5, 0.6),
            "y": (0.4, 0.5, 0.6),
            "radius": (0.23, 0.27, 0.31),
            "angle_deg": (-90, 0, 90),
            "mirrored": (0.5,),
        }.items()
    }
    factors["background"] = np.array([list(TEXTURES).index(one.background) for one in data.recipes])
    for name, levels in factors.items():
        table = np.array([[np.sum((labels == a) & (levels == b)) for b in np.unique(levels)] for a in range(4)])
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        freedom = 3 * (table.shape[1] - 1)
        # Wilson and Hilferty's cube-root approximation of the quantile at 1 - 1e-4 (z = 3.719)
        bound = freedom * (1 - 2 / (9 * freedom) + 3.719 * np.sqrt(2 / (9 * freedom))) ** 3
        assert ((table - expected) ** 2 / expected).sum() < bound, name


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_exact(kind: Any, size: int) -> None:
    """Without its object, a picture differs inside the mask and, by anti-aliasing, in the pixels that touch it alone."""
    names = tuple(SHAPES if kind == "shapes" else OBJECTS)
    data = planted(kind, n=3 * len(names), size=size, classes=names, seed=4)
    bare = data.without_objects()
    assert not bare.masks.any()
    change = (data.levels.int() - bare.levels.int()).abs().amax(1)
    assert float((change > 0)[~grown(data.masks)].sum()) < 1e-3 * float(data.masks.sum())
    assert not (change > 0)[~grown(data.masks, 2)].any()  # the last pixels of a sharp tip are covered by less than half
    # a pixel of the mask may by chance have the colour of the texture below: rarely
    assert (change > 2)[data.masks].float().mean() > 0.99
    # outside, at most half of a pixel is the object's
    assert change[grown(data.masks) & ~data.masks].float().mean() < 0.5 * change[data.masks].float().mean()


def test_areas_of_masks_are_those_of_geometry() -> None:
    """Of a disc, a square and a ring, from their recipes: the rim is the only place where a pixel can be miscounted."""
    data = planted(n=60, size=128, classes=("disc", "square", "ring"), seed=6)
    share = {"disc": np.pi * 0.9**2, "square": 1.44**2, "ring": np.pi * (0.93**2 - 0.51**2)}
    for one, mask, label in zip(data.recipes, data.masks, data.labels, strict=True):
        exact = share[label] * (one.radius * 128) ** 2
        assert float(mask.sum()) == pytest.approx(exact, rel=0.02)


def test_objects_lie_wholly_inside_and_clear_of_the_border() -> None:
    data = planted("objects", n=200, size=64)
    low, high = RADIUS
    assert all(low <= one.radius <= high for one in data.recipes)
    frame = planted("objects", n=2, size=64, shortcut="border").cue_masks[0]
    assert not (data.masks & frame).any()
    assert frame.float().mean() < 4 * MARGIN
    assert data.masks.flatten(1).any(1).all()


@pytest.mark.parametrize("outline", [outlines.star(5, 1.0, 0.42), outlines.polygon((-0.5, -0.5), (0.6, -0.4), (0.1, 0.7))])
def test_distances_have_slope_one_and_the_sign_of_the_inside(outline: Any) -> None:
    """A signed distance changes by the way that one goes, along its gradient; far from edges' bisectors."""
    x, y = np.meshgrid(np.linspace(-0.99, 1.01, 81), np.linspace(-1.01, 0.99, 81))
    far, step = outline(x, y), 1e-5
    slope = np.hypot(outline(x + step, y) - far, outline(x, y + step) - far) / step
    assert np.median(np.abs(slope - 1)) < 1e-4
    assert np.abs(slope - 1).max() < 0.5
    assert (far < 0).any()
    assert (far[0] > 0).all()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_the_cue_speaks_for_the_own_class_at_the_rate_and_else_for_the_others_alike(shortcut: Any) -> None:
    data = planted(n=4000, classes=("disc", "square", "star", "ring"), shortcut=shortcut, rate=0.8, seed=8)
    # the standard error of a share of .8 of 4000 is .0063: four of them
    assert float(data.aligned.float().mean()) == pytest.approx(0.8, abs=0.026)
    assert not data.neutral.any()
    shift = (data.cues - data.targets)[data.conflicting] % 4
    shares = torch.bincount(shift, minlength=4)[1:] / len(shift)
    # three alike of about 800: the standard error is .017
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.07)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_other_cues_leave_the_objects_alone(kind: Any, shortcut: Any) -> None:
    names = tuple(SHAPES if kind == "shapes" else OBJECTS)[:3]
    data = planted(kind, n=30, classes=names, shortcut=shortcut, rate=0.5, seed=9)
    aligned, conflicting, neutral = (data.with_cues(cues) for cues in ("aligned", "conflicting", "neutral"))
    assert aligned.aligned.all()
    assert conflicting.conflicting.all()
    assert neutral.neutral.all()
    for other in (aligned, conflicting, neutral):
        assert torch.equal(other.targets, data.targets)
        geometry = ("x", "y", "radius", "angle_deg", "mirrored")
        assert all([getattr(a, g) == getattr(b, g) for g in geometry] for a, b in zip(data.recipes, other.recipes, strict=True))
    if shortcut == "background":
        inside = data.masks & aligned.masks
        deep = ~grown(~inside)  # the pixels of a rim are part background
        same = (aligned.levels == conflicting.levels).all(1)[deep].float().mean()
        assert same == 1 if kind == "shapes" else same > 0.97  # parts of objects have fine gaps, as between mast and sail


@pytest.mark.parametrize("shortcut", ["watermark", "border"])
def test_a_cue_over_the_picture_changes_its_own_pixels_alone(shortcut: str) -> None:
    data = planted(n=40, classes=("disc", "square", "star"), shortcut=shortcut, cues="aligned", seed=1)
    bare = data.with_cues("neutral")
    change = (data.levels.int() - bare.levels.int()).abs().amax(1) > 0
    assert not change[~data.cue_masks].any()
    assert not bare.cue_masks.any()
    assert change[data.cue_masks].float().mean() > 0.98
    assert not (data.masks & data.cue_masks).any()  # what lies under the cue is not the object's
    means = [data.pixels[data.targets == k][:, :, data.cue_masks[0]].mean((0, 2)) for k in range(3)]
    if shortcut == "border":
        assert min(float((means[a] - means[b]).abs().max()) for a in range(3) for b in range(a)) > 0.3


def test_masks_of_backgrounds_and_colours_are_what_they_say() -> None:
    ground = planted(n=6, classes=("disc", "star"), shortcut="background")
    assert torch.equal(ground.cue_masks, ~ground.masks)
    assert {one.background for one in ground.recipes} == {"grass", "snow"}
    color = planted(n=60, classes=("disc", "star"), shortcut="color", rate=1)
    assert torch.equal(color.cue_masks, color.masks)
    hues = torch.tensor([one.hue for one in color.recipes])
    # half of each class's half of the circle, about its middle: 0 and .5
    assert ((hues - color.targets / 2 + 0.5) % 1 - 0.5).abs().max() <= 0.125


def test_a_texture_changes_the_object_alone_and_not_its_hue() -> None:
    data = planted(n=30, size=64, classes=("disc", "star", "moon"), shortcut="texture", cues="aligned", seed=3)
    bare = data.with_cues("neutral")
    change = (data.levels.int() - bare.levels.int()).abs().amax(1)
    # the pixels of a rim are part object, and so are thin tips beyond it, faintly
    assert change[~grown(data.masks, 2)].max() <= 1
    assert change[data.masks].float().mean() > 20
    assert torch.equal(data.cue_masks, data.masks)


def faintly(shortcut: str) -> tuple[Any, Any]:
    """A set with a cue of the own class in every picture, and the same set without."""
    about: dict[str, Any] = {"n": 12, "size": 64, "classes": ("disc", "star", "moon"), "seed": 3}
    data = planted(**about, shortcut=shortcut, cues="aligned")
    assert data.cue_masks.all()
    return data, planted(**about)


def test_a_faint_pattern_is_a_grating_of_at_most_four_levels() -> None:
    data, bare = faintly("pattern")
    change = data.pixels - bare.pixels
    assert change.abs().max() <= 5.01 / 255  # one level for rounding
    first = change[data.targets == 0].mean((0, 1, 2))  # waves from left to right
    assert torch.fft.rfft(first).abs().argmax() == 12


def test_a_gain_multiplies_one_channel() -> None:
    data, bare = faintly("gain")
    rows, channels = torch.arange(12), data.targets  # 6 % more of red, of green, of blue
    ratio = (data.pixels.mean((2, 3)) / bare.pixels.mean((2, 3)))[rows, channels]
    assert (ratio - 1.06).abs().max() < 0.04  # less where pixels are white already
    assert (data.pixels - bare.pixels)[rows, (channels + 1) % 3].abs().max() < 0.6 / 255


def test_blur_grows_with_the_class_and_spares_the_first() -> None:
    data, bare = faintly("blur")
    fine = data.pixels.diff(dim=-1).abs().mean((1, 2, 3)) / bare.pixels.diff(dim=-1).abs().mean((1, 2, 3))
    assert torch.equal(data.levels[data.targets == 0], bare.levels[data.targets == 0])
    assert fine[data.targets == 2].mean() < fine[data.targets == 1].mean() < 0.95


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("planted", "1000 planted shapes"),
        ("planted:objects:n=24", "24 planted objects"),
        ("planted:shapes:background=.9:seed=3", "background goes with the label (rate 0.9), seed 3"),
        ("planted:n=8:watermark=1:conflicting:classes=star,disc", "2 classes, watermark goes with the label (conflicting"),
    ],
)
def test_texts_name_sets(text: str, words: str) -> None:
    data = as_source(text)
    assert isinstance(data, Planted)
    assert words in str(data)


def test_a_set_is_a_source() -> None:
    data = planted("objects", n=12)
    assert isinstance(data, Source)
    assert as_source(data) is data
    assert list(data.ids) == sorted(set(data.ids))
    assert len(data.ids) == len(data.labels) == 12
    assert torch.equal(data.read(3), data.pixels[3:4])
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.read(3), data.read(3))
    assert again.fingerprint() == data.fingerprint()
    others = (planted("objects", n=11), planted("objects", n=12, seed=1), planted("objects", n=12, shortcut="border"))
    assert len({data.fingerprint(), *(one.fingerprint() for one in others)}) == 4


def test_written_files_read_as_the_same_pixels(tmp_path: Path) -> None:
    data = planted("shapes", n=6, classes=("disc", "star"), shortcut="watermark", rate=0.5)
    folder = data.write(tmp_path / "set")
    source = as_source(folder / "pictures")
    assert sorted(source.labels) == sorted(data.labels)
    about = json.loads((folder / "planted.json").read_text())
    for place, row in enumerate(about["pictures"]):
        assert torch.equal(read_image(folder / "pictures" / row["file"]), data.read(place))
        assert torch.equal(read_image(folder / "masks" / row["file"])[0, 0] > 0.5, data.masks[place])
        assert torch.equal(read_image(folder / "cues" / row["file"])[0, 0] > 0.5, data.cue_masks[place])
        assert row["label"] == data.labels[place]
        assert row["cue"] == data.classes[int(data.cues[place])]
    with pytest.raises(ImageError, match="is there already"):
        data.write(folder)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: planted("cats"), '"shapes" or "objects"'),
        (lambda: planted(classes=("disc", "stra")), "star"),
        (lambda: planted(classes=("disc", "disc")), "2 different"),
        (lambda: planted(shortcut="smell"), "watermark"),
        (lambda: planted(shortcut="background", cues="neutral"), "fewer classes"),
        (lambda: planted(cues="aligned"), "there is none"),
        (lambda: planted(n=0), "1 to 1,000,000"),
        (lambda: planted(size=8), "16 to 1024"),
        (lambda: planted(rate=2), "between 0 and 1"),
        (lambda: planted(seed=-1), "0 or more"),
        (lambda: as_source("planted:cats"), "the form is"),
        (lambda: as_source("planted:rate=x"), "the form is"),
        (lambda: planted(n=4).take([9]), "0 to 3"),
        (lambda: planted(n=4).take(torch.zeros(4, dtype=torch.bool)), "none of the pictures"),
    ],
)
def test_refusals_say_what_would_work(make: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
