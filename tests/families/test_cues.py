"""Shape or texture: the published decision, the ranks, their intervals, and names that are read or refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.data.cues import cues_of, imagenet_categories
from tapetum.data.labels import imagenet_labels, inception_labels
from tapetum.families.cues import best_ranks, by_chance
from tapetum.types import ImageError, MethodError

N, GROUPS = 7, {"cat": [0, 1, 2], "dog": [3], "car": [4, 5]}
WEIGHTS = torch.randn(N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 6


class ByColor(nn.Module):
    """Logits that are linear in the mean colour, which a picture of one colour fixes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(WEIGHTS.clone())

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) @ self.weights.T


def network(**about: object) -> tp.VisionModel:
    return tp.wrap(ByColor().eval(), size=8, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="logits", **about)


def conflicts(folder: Path) -> dict[str, tuple[int, ...]]:
    """Writes a picture of one colour for each pair of two of three things per category; returns {name: its colour}."""
    things, generator = [f"{name}{i}" for name in GROUPS for i in (1, 2, 3)], np.random.default_rng(0)
    pairs = [pair for pair in itertools.permutations(things, 2) if pair[0][:-1] != pair[1][:-1]]
    colors = {f"{a}-{b}.png": tuple(int(one) for one in generator.integers(0, 256, 3)) for a, b in pairs}
    for name, color in colors.items():
        Image.new("RGB", (8, 8), color).save(folder / name)
    return colors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cues")
    conflicts(place)
    (place / "cat1-cat2.png").write_bytes((place / "cat1-dog1.png").read_bytes())
    (place / "holiday.png").write_bytes((place / "cat1-dog1.png").read_bytes())
    (place / "dog4-cat1.png").write_text("no picture")
    return place


def test_decisions_and_ranks_are_those_of_a_second_computation(folder: Path, tmp_path: Path) -> None:
    found = tp.shape_or_texture(network(), folder, categories=GROUPS)
    colors = conflicts(tmp_path)
    assert found.pictures == tuple(sorted(colors))
    for row, name in enumerate(found.pictures):
        logits = WEIGHTS.numpy() @ np.array(colors[name]) / 255
        p = np.exp(logits) / np.exp(logits).sum()
        means = {group: np.mean([p[i] for i in indices]) for group, indices in GROUPS.items()}
        assert found.decisions[row] == max(means, key=lambda group: means[group])
        order = list(np.argsort(-p))
        shape, texture = (thing.strip("123") for thing in name.removesuffix(".png").split("-"))
        assert int(found.shape_rank[row]) == 1 + min(order.index(i) for i in GROUPS[shape])
        assert int(found.texture_rank[row]) == 1 + min(order.index(i) for i in GROUPS[texture])
    counts = found.counts
    assert sum(counts.values()) == len(found) == 54
    assert found.bias == counts["shape"] / (counts["shape"] + counts["texture"])
    assert found.interval[0] <= found.bias <= found.interval[1]
    assert found.rank_interval[0] <= found.rank_bias <= found.rank_interval[1]
    assert sum(sum(one.values()) for one in found.by_category.values()) == 54
    assert math.isnan(found[0].interval[0])


def test_pictures_without_two_cues_are_left_out_by_name(folder: Path) -> None:
    found = tp.shape_or_texture(network(), folder, categories=GROUPS)
    assert found.skipped["cat1-cat2.png"] == "shape and texture agree (cat)"
    assert "SHAPEn-TEXTUREm" in found.skipped["holiday.png"]
    assert set(found.skipped) == {"cat1-cat2.png", "holiday.png", "dog4-cat1.png"}
    fewer = tp.shape_or_texture(network(), folder, categories={name: GROUPS[name] for name in ("cat", "dog")})
    assert len(fewer) == 18
    assert "has no classes for car" in fewer.skipped["cat1-car1.png"]


def test_the_chance_of_a_rank_is_counted_over_all_sets_of_classes() -> None:
    for m, rank in itertools.product((1, 2, 3), range(1, N + 1)):
        sets = list(itertools.combinations(range(1, N + 1), m))
        expected = sum(min(one) <= rank for one in sets) / len(sets)
        assert float(by_chance(torch.tensor(rank), m, N)) == pytest.approx(expected, abs=1e-12)


def test_equal_probabilities_share_the_better_rank() -> None:
    table = torch.tensor([[0.4, 0.1, 0.4, 0.1]], dtype=torch.float64)
    assert best_ranks(table, {"a": [0], "b": [2], "c": [1, 3]}).tolist() == [[1, 1, 3]]


def test_the_categories_are_sixteen_of_the_published_sizes() -> None:
    groups = imagenet_categories()
    labels = imagenet_labels()
    assert len(groups) == 16
    assert {name: len(indices) for name, indices in groups.items() if len(indices) > 8} == {"bird": 49, "dog": 109}
    assert [labels[i] for i in groups["elephant"]] == ["Indian elephant", "African elephant"]
    assert [labels[groups[name][0]] for name in ("airplane", "knife", "oven")] == ["airliner", "cleaver", "rotisserie"]
    every = [index for indices in groups.values() for index in indices]
    assert len(set(every)) == len(every)


def test_imagenet_is_recognised_by_its_labels_in_any_order() -> None:
    from tapetum.families.cues import _of_imagenet

    shuffled = [*reversed(imagenet_labels())]
    assert [shuffled[i] for i in _of_imagenet(shuffled)["cat"]] == [imagenet_labels()[i] for i in imagenet_categories()["cat"]]
    assert inception_labels()[_of_imagenet(inception_labels())["airplane"][0]] == "airliner"
    assert _of_imagenet([f"{i}" for i in range(1000)]) == {}


def test_names_are_read_as_published() -> None:
    found = cues_of("airplane/airplane10-boat3.png")
    assert found == ("airplane", "boat", "airplane10", "boat3")
    assert cues_of("IMG-2041.png") is None
    assert cues_of("cat.png") is None


def test_a_network_of_other_classes_is_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(MethodError, match=r"has no ImageNet classes, nor labels such as car, cat, dog.*categories="):
        tp.shape_or_texture(network(), folder)
    own = network(labels=["cat", "cow", "pig", "dog", "car", "van", "bus"])
    assert tp.shape_or_texture(own, folder).sizes == {"car": 1, "cat": 1, "dog": 1}
    with pytest.raises(MethodError, match="classes 0 to 6"):
        tp.shape_or_texture(network(), folder, categories={"cat": [0], "dog": [7]})
    with pytest.raises(MethodError, match="share a class"):
        tp.shape_or_texture(network(), folder, categories={"cat": [0], "dog": [0, 1]})
    numbers = tp.wrap(ByColor().eval(), size=8, mean=0.0, std=1.0, outputs="numbers")
    with pytest.raises(MethodError, match="gives no probabilities"):
        tp.shape_or_texture(numbers, folder, categories=GROUPS)


def test_a_folder_of_other_pictures_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "holiday.png")
    with pytest.raises(ImageError, match=r"no picture whose name tells two cues apart, such as cat7-elephant1"):
        tp.shape_or_texture(network(), tmp_path, categories=GROUPS)


def test_intervals_hold_at_the_stated_rate_where_pictures_share_their_things() -> None:
    """Two hundred folders of 6 x 6 things, each with a leaning of its own: at least 90 % of the intervals hold the truth."""
    from tapetum.engines.ranks import interval
    from tapetum.families.cues import _drawn

    generator, held = np.random.default_rng(0), 0
    rows, columns = ([f"{kind}{i}" for i in range(6)] for kind in "ab")
    pairs = list(itertools.product(rows, columns))
    for trial in range(200):
        lean = {name: generator.normal(0, 1) for name in (*rows, *columns)}
        truth = 0.5  # by symmetry
        answers = torch.tensor([float(generator.random() < 1 / (1 + math.exp(-lean[a] - lean[b]))) for a, b in pairs])
        times = _drawn([a for a, _ in pairs], 2 * trial) * _drawn([b for _, b in pairs], 2 * trial + 1)
        low, high = interval(answers, torch.ones(36), times).tolist()
        held += low <= truth <= high
    assert held >= 180  # a bootstrap of independent pictures holds it in 150
