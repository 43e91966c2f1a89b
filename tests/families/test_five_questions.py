"""Five questions: estimates have their closed forms; answers find what is planted, and claim nothing of random weights."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sameness import same
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.questions import estimates
from tapetum.families.questions.hierarchy import hierarchy, properties
from tapetum.families.questions.redundancy import in_use, near_copies
from tapetum.families.questions.space import SHOWN, placed, space
from tapetum.families.questions.subjects import NO_ANSWERS, Subject, beside, look, random_networks
from tapetum.families.questions.uses import uses
from tapetum.models.zoo import wrap
from tapetum.types import ImageError

SIDE, CODE = 24, 6


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CODES = torch.randn(2, 3, CODE, CODE, dtype=torch.float64, generator=drawn(5)).sign()
CODES -= CODES.mean((2, 3), keepdim=True)


class Matched(nn.Module):
    """Finds two codes that no colour and no edge gives away: colours and their negatives, then a filter for each code."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 4, CODE, bias=True), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.first(images)).mean((2, 3)))


def matched() -> tp.VisionModel:
    torch.manual_seed(0)
    module = Matched().double().eval()
    with torch.no_grad():
        identity = torch.eye(3, dtype=torch.float64)
        module.first[0].weight.copy_(torch.cat([identity, -identity])[:, :, None, None])
        filters = torch.cat([CODES, -CODES], 1)  # relu(x) - relu(-x) = x
        module.second[0].weight.copy_(filters.repeat(2, 1, 1, 1))
        module.second[0].bias.fill_(-12)
    return wrap(module, name="matched", size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, outputs="logits")


def coded(n: int = 48, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 24, 24) in [0, 1]: a code at a random place on a smooth ground of a random colour; and their classes."""
    generator = drawn(seed)
    labels = torch.arange(n) % 2
    coarse = torch.rand(n, 3, 3, 3, dtype=torch.float64, generator=generator)
    pixels = 0.3 + 0.4 * F.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    for i in range(n):
        row, column = torch.randint(SIDE - CODE, (2,), generator=generator).tolist()
        pixels[i, :, row : row + CODE, column : column + CODE] += 0.1 * CODES[labels[i]]
    return pixels, labels


def subject(model: tp.VisionModel, n: int = 48, seed: int = 0) -> Subject:
    pixels, labels = coded(n, seed)
    layers = ("first", "second")
    return Subject(model, model.preprocessing.normalize(pixels), layers, labels, ("a", "b"), "", {}, seed)


def written(folder: Path, n: int = 24, classes: bool = True) -> Path:
    pixels, labels = coded(n)
    for i, one in enumerate(pixels):
        place = folder / ("ab"[int(labels[i])] if classes else ".")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((one.permute(1, 2, 0) * 255).round().byte().numpy()).save(place / f"{i:02d}.png")
    return folder


QUICK: dict[str, Any] = {"twins": 2, "inverted": 1, "n_steps": 2}


# --- the estimates


def test_the_order_of_classes_is_the_share_of_pairs_counted_one_by_one() -> None:
    x = torch.randn(9, 4, dtype=torch.float64, generator=drawn(0))
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 0])
    z = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    shares = []
    for i in range(9):
        same_class = [j for j in range(9) if j != i and labels[j] == labels[i]]
        other = [j for j in range(9) if labels[j] != labels[i]]
        wins = [unit[i] @ unit[j] > unit[i] @ unit[k] for j, k in itertools.product(same_class, other)]
        shares.append(np.mean(wins))
    assert estimates.class_order(x, labels) == pytest.approx(np.mean(shares), abs=1e-12)
    assert estimates.class_order(F.one_hot(labels).double(), labels) == 1.0


def test_the_share_of_properties_is_one_for_linear_features_and_none_by_chance() -> None:
    generator = drawn(1)
    traits = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    linear = traits @ torch.randn(5, 7, dtype=torch.float64, generator=generator) + 3
    assert estimates.regression_share(linear, traits) == pytest.approx(1, abs=1e-9)
    chance = [
        estimates.regression_share(torch.randn(40, 30, dtype=torch.float64, generator=generator), traits) for _ in range(40)
    ]
    assert abs(sum(chance) / 40) < 0.02  # standard error of the mean: .003


def test_a_reader_is_a_ridge_regression_that_never_saw_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "RIDGES", (0.1,))
    generator = drawn(2)
    x, y = (torch.randn(30, k, dtype=torch.float64, generator=generator) for k in (4, 2))
    errors = estimates.read_linearly(x @ x.T, y)
    for fold in range(estimates.FOLDS):
        test = torch.arange(30) % estimates.FOLDS == fold
        mean, target = x[~test].mean(0), y[~test].mean(0)
        a = x[~test] - mean
        ridge = 0.1 * float(a.square().sum(1).mean()) * torch.eye(4, dtype=torch.float64)
        weights = torch.linalg.solve(a.T @ a + ridge, a.T @ (y[~test] - target))
        expected = ((x[test] - mean) @ weights + target - y[test]).square().sum(1)
        torch.testing.assert_close(errors[test], expected)


def test_the_error_with_a_row_left_out_is_that_of_a_regression_without_it() -> None:
    generator = drawn(8)
    x, y = (torch.randn(12, k, dtype=torch.float64, generator=generator) for k in (3, 1))
    a = x - x.mean(0)
    _, error = estimates._weights(a @ a.T, y - y.mean(0), 0.7)
    found = []
    for i in range(12):
        rest = torch.arange(12) != i
        design = torch.cat([a[rest], torch.ones(11, 1, dtype=torch.float64)], 1)
        penalty = torch.diag(torch.tensor([0.7, 0.7, 0.7, 0.0], dtype=torch.float64))
        weights = torch.linalg.solve(design.T @ design + penalty, design.T @ y[rest])
        found.append(float((torch.cat([a[i], torch.ones(1, dtype=torch.float64)]) @ weights - y[i]).square()))
    assert error == pytest.approx(np.mean(found), rel=1e-9)


def test_noise_cannot_be_read() -> None:
    generator = drawn(3)
    x, y = (
        torch.randn(96, 200, dtype=torch.float64, generator=generator),
        torch.randn(96, 2, dtype=torch.float64, generator=generator),
    )
    found = estimates.explained(estimates.read_linearly(x @ x.T, y), y, 0)
    assert -0.3 < found.value < 0.1
    readable = estimates.explained(estimates.read_linearly(x @ x.T, x[:, :2] + x[:, 2:4]), x[:, :2] + x[:, 2:4], 0)
    assert readable.value > found.value + 0.1


def test_another_network_lies_in_the_interval_of_random_ones_as_often_as_stated() -> None:
    generator, inside = np.random.default_rng(0), 0
    for _ in range(400):
        *some, another = generator.normal(size=6)
        found = estimates.next_of(some)
        inside += found.low <= another <= found.high
    assert 0.92 < inside / 400 < 0.98  # .95 within three standard errors


def test_chance_is_found_significant_as_often_as_the_level_says() -> None:
    generator, found = drawn(4), 0
    for trial in range(100):
        features = [torch.randn(24, 6, dtype=torch.float64, generator=generator) for _ in range(3)]
        labels = torch.arange(24) % 3
        p, chance = estimates.beyond_chance([estimates.neighbours(one) for one in features], labels, trial)
        found += p <= 0.05
        assert abs(chance - 7 / 23) < 0.02
    assert found <= 11  # a level of 5 %: more than 11 of 100 in one of 200 runs


def test_directions_in_use_and_copies_have_their_closed_forms() -> None:
    generator = drawn(6)
    spread = torch.linalg.qr(torch.randn(50, 8, dtype=torch.float64, generator=generator))[0]
    spread = torch.linalg.qr(spread - spread.mean(0))[0]
    assert in_use(spread) == pytest.approx(1, abs=1e-9)
    assert in_use(spread[:, :1] * torch.arange(1.0, 9)) == pytest.approx(1 / 8, abs=1e-9)
    assert near_copies(torch.cat([spread[:, :3], -2 * spread[:, :1]], 1)) == 0.5
    assert near_copies(torch.ones(5, 4)) == 0


def test_properties_tell_stripes_by_direction_and_colours_apart() -> None:
    stripes = (torch.arange(24)[:, None] // 2 % 2).double().expand(24, 24)
    pictures = torch.stack([stripes.expand(3, -1, -1), stripes.T.expand(3, -1, -1)])
    found = properties(pictures)
    assert found[0, 4] == pytest.approx(-float(found[1, 4]), abs=1e-9)
    assert abs(float(found[0, 4])) > 0.9
    torch.testing.assert_close(found[0, [0, 1, 2, 3, 6]], found[1, [0, 1, 2, 3, 6]])


def test_a_thing_is_where_its_row_and_column_say() -> None:
    asked = subject(matched())
    images, at = placed(asked)
    ground = asked.images.mean((0, 2, 3))
    assert len(images) == SHOWN + 1
    torch.testing.assert_close(images[-1], ground[:, None, None].expand(3, SIDE, SIDE))
    for image, (row, column) in zip(images[:8], at[:8].tolist(), strict=True):
        thing = ((image - ground[:, None, None]).abs().sum(0) > 1e-9).nonzero()
        top, left = thing.amin(0).tolist()
        room = SIDE - (thing[:, 0].max() - thing[:, 0].min() + 1)
        assert [2 * top / int(room) - 1, 2 * left / int(room) - 1] == pytest.approx([row, column], abs=1e-9)


# --- the answers


def test_a_hierarchy_that_was_built_in_is_found_and_so_is_its_use() -> None:
    asked = subject(matched())
    own, others = look(asked.model, asked.images, asked.layers), beside(asked, random_networks(asked, 5))
    found, useful = hierarchy(asked, own, others), uses(asked, own, others)
    assert (found.verdict, useful.verdict) == ("yes", "yes")
    assert useful.numbers["same_class"] > 0.9 > 0.75 > useful.numbers["random"]
    assert useful.numbers["p_value"] == pytest.approx(1 / 1001)
    assert "of the same class" in useful.sentence
    assert found.numbers["rise"] > 0.3


def test_random_weights_claim_nothing_more_often_than_chance_would() -> None:
    claimed = {"hierarchy": 0, "uses": 0}
    for seed in range(12):
        asked = subject(tp.untrained(matched(), seed=100 + seed), seed=seed)
        own, others = look(asked.model, asked.images, asked.layers), beside(asked, random_networks(asked, 4))
        for answer in (hierarchy(asked, own, others), uses(asked, own, others)):
            claimed[answer.topic] += answer.verdict == "yes"
    assert claimed["hierarchy"] <= 1
    assert claimed["uses"] <= 1


class Places(nn.Module):
    """A convolution around the edges of the picture, as on a torus; then means over all places, or over each of 4 x 4 parts."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1 if pooled else 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.conv(images)).flatten(1)


@pytest.mark.parametrize("pooled", [True, False])
def test_place_is_lost_by_a_mean_over_places_and_by_nothing_else(pooled: bool) -> None:
    torch.manual_seed(1)
    model = wrap(Places(pooled).double().eval(), name="places", size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, outputs="numbers")
    asked = replace(subject(model), layers=("conv",))
    found = space(asked, random_networks(asked, 1)[0])
    where, _, means = found.curves[:3]
    assert where.layers == ("conv", "answer")
    assert float(where.values[0]) > 0.9
    assert float(means.values[0]) < 0.1  # the torus has no place that is special
    assert float(where.values[1]) < 0.05 if pooled else float(where.values[1]) > 0.7
    kept = next(curve for curve in found.curves if "shuffled" in curve.panel)
    assert (float(kept.values[0]) > 1 - 1e-9) == pooled
    assert found.verdict == "no"
    assert ("it is the architecture that loses it" if pooled else "Nowhere: of where a thing is") in found.sentence


def test_all_five_are_answered_of_a_folder_and_again_the_same(tmp_path: Path) -> None:
    folder, model = written(tmp_path / "codes"), matched()
    (folder / "a" / "bad.png").write_text("no picture")
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    found, again = (tp.five_questions(model, folder, **QUICK) for _ in range(2))
    assert [one.topic for one in found] == ["hierarchy", "space", "redundancy", "abstraction", "uses"]
    assert (found.pictures, found.classes, list(found.skipped)) == (24, ("a", "b"), ["a/bad.png"])
    assert same(replace(found, seconds={}), replace(again, seconds={}))
    for one in found:
        assert one.sentence.endswith(".")
        assert not one.left_out
        assert all(math.isfinite(value) for value in one.numbers.values()), one.topic
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert found.of("abstraction").captions == ("photograph", *found.layers)


def test_without_classes_what_needs_them_is_left_out_with_the_reason(tmp_path: Path) -> None:
    model = matched()
    found = tp.five_questions(model, written(tmp_path / "plain", classes=False), **QUICK)
    assert found.of("uses").verdict == "unsaid"
    assert "no classes: put those of each class into a folder" in found.of("uses").sentence
    assert found.of("hierarchy").left_out[0].startswith("classes: the pictures have no classes")
    one = written(tmp_path / "one", classes=False)
    (one / "cats").mkdir()
    (one / "more").mkdir()
    for i, file in enumerate(sorted(one.glob("*.png"))):
        file.rename(one / ("cats" if i < 22 else "more") / file.name)
    assert "only 1 of 2 classes have 4 pictures" in tp.five_questions(model, one, **QUICK).of("uses").sentence


def test_a_network_with_one_number_is_answered_as_far_as_it_goes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 1)).double()
    model = wrap(module.eval(), size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, outputs="numbers")
    found = tp.five_questions(model, written(tmp_path / "codes"), **QUICK)
    assert not any(one.left_out for one in found)
    maps = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 1)).double()
    segmenting = wrap(maps.eval(), size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
    without = tp.five_questions(segmenting, tmp_path / "codes", **QUICK)
    assert without.of("space").left_out == (f"answers: {NO_ANSWERS}",)
    assert without.of("redundancy").left_out[0].startswith("kept answers:")
    with torch.no_grad():
        module[4].weight.zero_()
    constant = tp.five_questions(wrap(module, size=SIDE, mean=0.5, std=0.25, outputs="numbers"), tmp_path / "codes", **QUICK)
    assert constant.of("space").left_out == (f"answers: {NO_ANSWERS}",)


def test_too_few_pictures_and_broken_ones_are_refused_in_one_line(tmp_path: Path) -> None:
    model = matched()
    with pytest.raises(ImageError, match="holds 3 pictures; five questions need at least 20"):
        tp.five_questions(model, written(tmp_path / "few", n=3), **QUICK)
    broken = written(tmp_path / "broken")
    for file in sorted(broken.rglob("*.png"))[:10]:
        file.write_text("no picture")
    with pytest.raises(ImageError, match=r"only 14 pictures of broken can be read.*need 20; the first reason: "):
        tp.five_questions(model, broken, **QUICK)
