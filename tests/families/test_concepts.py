"""Concepts of a layer over a data set: examples, heatmaps, importance, one class alone, planted factors found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from zoo import shared

import tapetum as tp
from tapetum.engines.dictionaries import plain
from tapetum.engines.scores import as_score
from tapetum.families.dictionaries.importance import importance
from tapetum.types import MethodError

SIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two classes."""
    place, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(12):
        (place / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(place / "ab"[i % 2] / f"{i:02d}.png")
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> tp.Concepts:
    return tp.concepts(shared("residual"), folder, "first.relu", n=3, k=2, workers=1)


class Colors(nn.Sequential):
    """A layer with the picture's colours, and a linear head on their means: importance has a closed form."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
        with torch.no_grad():
            self[0].weight.copy_(torch.eye(3)[:, :, None, None])


def colors() -> tp.VisionModel:
    torch.manual_seed(0)
    return tp.wrap(Colors().double(), size=SIDE, mean=0.0, std=1.0, outputs="logits", name="colors")


# --- importance


def test_importance_at_a_linear_head_is_weight_times_mean_code() -> None:
    model, images = colors(), torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    directions = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    weight = model.module[3].weight[2].detach()
    codes = torch.einsum("nc,kc->nk", images.mean((2, 3)), directions)
    expected = (codes * (directions @ weight)).mean(0)
    score = as_score(model, images, 2)
    for measure in ("gradient", "ablation"):
        values, spread = importance(score, images, "0", plain(directions), measure, 0)
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-12)
        assert bool(((spread[:, 0] <= values) & (values <= spread[:, 1])).all())


def test_sobol_indices_of_a_linear_score_are_shares_of_squared_ablations() -> None:
    model, images = colors(), torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    score = as_score(model, images, 2)
    parts, _ = importance(score, images, "0", plain(torch.eye(3).double()), "ablation", 0)
    designs = [importance(score, images, "0", plain(torch.eye(3).double()), "sobol", seed)[0] for seed in range(12)]
    torch.testing.assert_close(torch.stack(designs).mean(0), parts.square() / parts.square().sum(), rtol=0, atol=0.06)


# --- the result


def test_examples_are_the_pictures_with_the_largest_codes_and_maps_are_of_them(folder: Path, found: tp.Concepts) -> None:
    names = sorted(folder.rglob("*.png"))
    codes = found.heatmaps(shared("residual"), [str(name) for name in names]).float()
    best = codes.flatten(2).amax(2)
    for i, examples in enumerate(found.examples):
        order = best[:, i].argsort(descending=True)[:2].tolist()
        assert [one.id for one in examples] == [str(names[j].relative_to(folder)) for j in order]
        torch.testing.assert_close(found.maps[i], codes[order, i], rtol=1e-4, atol=1e-5)
        assert [one.score for one in examples] == pytest.approx(found.maps[i].flatten(1).amax(1).tolist(), rel=1e-4)


def test_a_concept_is_a_unit_for_pictures_targets_and_examples(folder: Path, found: tp.Concepts) -> None:
    model, one = shared("residual"), found[1]
    assert isinstance(one, tp.Concept)
    torch.testing.assert_close(one.direction, found.directions[1])
    assert tp.visualize(model, list(found), size=SIDE, n_steps=1).objectives == tuple(map(str, found))
    (top,) = tp.top_examples(model, folder, one, k=3, workers=1)
    images = torch.cat([model.preprocess(folder / example.id) for example in top.examples])
    with torch.no_grad(), tp.capture(model, "first.relu") as acts:
        model(images)
    along = torch.einsum("nchw,c->nhw", acts["first.relu"], one.unit_vector)
    assert [example.score for example in top.examples] == pytest.approx(along.flatten(1).amax(1).tolist(), rel=1e-5)
    assert top.unit == str(one)


def test_examples_of_units_and_concepts_are_asked_for_by_themselves(folder: Path, found: tp.Concepts) -> None:
    for wrong, words in (
        ([found[0], "first:0"], "by themselves"),
        (tp.Concept("first", torch.ones(6), "", (0, 0)), "one place"),
    ):
        with pytest.raises(tp.TapetumError, match=words):
            tp.top_examples(shared("residual"), folder, wrong)


def test_the_words_name_the_verdict_and_both_dictionaries(found: tp.Concepts) -> None:
    words = str(found)
    assert f"3 concepts of first.relu by nmf, 12 pictures: {found.verdict}" in words
    for part in (
        "this dictionary",
        "random directions",
        "channels shuffled",
        "nmf 2 in first.relu",
        "gradient, predicted class",
    ):
        assert part in words


def test_two_runs_are_equal_and_a_kept_one_goes_on(folder: Path, found: tp.Concepts, tmp_path: Path) -> None:
    for _ in range(2):
        again = tp.concepts(shared("residual"), folder, "first.relu", n=3, k=2, workers=2, out=tmp_path / "kept")
        torch.testing.assert_close(again.directions, found.directions)
        assert again.numbers == found.numbers
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["examples", "places"]


def test_raw_units_have_no_verdict(folder: Path) -> None:
    units = tp.concepts(shared("residual"), folder, "first.relu", method="units", n=2, k=1, workers=1, importance="none")
    assert units.verdict == "not fitted: single channels, to compare with"
    assert (units.importance, units.measure) == (None, None)
    assert bool(((units.directions == 1).sum(1) == 1).all())


# --- one class


def test_a_class_s_own_pictures_are_used_by_label_or_by_answer(tmp_path: Path) -> None:
    data = tp.planted("shapes", n=40, size=SIDE, classes=("disc", "star"))
    model = shared("residual")
    one = tp.concepts(model, data, "first.relu", n=2, k=2, of="star", workers=1)
    assert (one.n, one.of) == (20, "star")
    assert all(example.id.endswith("_star") for examples in one.examples for example in examples)
    with pytest.raises(MethodError, match="has 0 pictures of 'moon', too few: 10"):
        tp.concepts(model, data, "first.relu", of="moon")
    place = tmp_path / "flat"
    place.mkdir()
    for i in range(12):
        Image.fromarray((data.levels[i].movedim(0, -1)).numpy()).save(place / f"{i:02d}.png")
    answer = tp.predict(model, torch.cat([model.preprocess(place / f"{i:02d}.png") for i in range(12)]), 1)
    most = max(range(5), key=lambda k: sum(first.index == k for (first,) in answer))
    count = sum(first.index == most for (first,) in answer)
    assert count >= 10
    found = tp.concepts(model, place, "first.relu", n=2, k=1, of=most, workers=1)
    assert (found.n, found.target) == (count, f"class {most}")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"layer": "down"}, "nmf needs a layer without negative values"),
    "many": ({"layer": "first.relu", "n": 7}, "nmf finds 1 to 6 concepts"),
    "glob": ({"layer": "first*"}, "means 4 layers"),
    "few": ({"layer": "first.relu", "limit": 9}, "has 9 pictures, too few"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_concepts_is_refused_in_one_line(name: str, folder: Path) -> None:
    given, words = REFUSED[name]
    with pytest.raises(tp.TapetumError, match=words) as caught:
        tp.concepts(shared("residual"), folder, **{"workers": 1, **given})
    assert "\n" not in str(caught.value)


# --- known truth


def factors(model: tp.VisionModel, data: tp.Planted, layer: str) -> Tensor:
    """Mean activation of the pictures with each factor less that of the others, (6, c)."""
    images = torch.cat([model.preprocess(data.read(i)) for i in range(len(data))])
    with torch.no_grad(), tp.capture(model, layer) as acts:
        model(images)
    means = acts[layer].mean((2, 3))
    return torch.stack([means[data.targets == i].mean(0) - means[data.targets != i].mean(0) for i in range(6)])


@pytest.mark.slow
def test_five_of_six_planted_factors_are_found_and_chance_finds_none() -> None:
    grounds = ("grass", "snow", "water", "sand", "brick", "clouds")
    how: dict[str, Any] = {"size": 48, "shortcut": "background", "backgrounds": grounds, "rate": 1.0}
    shapes = ("disc", "square", "triangle", "star", "ring", "cross")
    train, test = (tp.planted("shapes", n, classes=shapes, seed=seed, **how) for n, seed in ((480, 0), (240, 1)))
    model = tp.train(train, epochs=8, size=48, batch=32).model
    layer = "features.2.2"
    found = tp.concepts(model, train, layer, method="sae", n=12, k=1, rows=4000, importance="none")
    result = found.recovery(factors(model, test, layer))
    assert found.verdict == "better than random directions"
    assert int(result.found.sum()) >= 5
    assert float(result.chance.max()) < 0.6
    assert bool((result.p_value < 0.01).all())
