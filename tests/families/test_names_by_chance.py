"""How often units with random weights get names: never more than 5 % of them, also where they respond to colour."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from tapetum.families.naming.judging import judged, share_of_highest
from tapetum.families.naming.terms import Terms

COLORS = {"warm": 1.0, "cold": -1.0, "plain": 0.0, "grey": 0.0}
SHIFT = 0.82
"""Difference of two colours in standard deviations: AUC .72, as of red - blue of "vehicle" among 500 photographs."""


@dataclass(frozen=True)
class Clouds:
    """Smooth noise whose colour differs by label as that of photographs differs by what is on them: a little."""

    each: int = 50
    size: int = 48
    name: str = "clouds"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(str(i) for i in range(self.each * len(COLORS)))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(list(COLORS)[i % len(COLORS)] for i in range(self.each * len(COLORS)))

    def fingerprint(self) -> str:
        return f"clouds {self.each} {self.size}"

    def read(self, sample: int) -> Tensor:
        g = torch.Generator().manual_seed(sample)
        waves = sum(F.interpolate(torch.randn(1, 3, k, k, generator=g), self.size, mode="bicubic") / k for k in (2, 4, 8, 16))
        cast = torch.randn((), generator=g) + SHIFT * COLORS[self.labels[sample]]
        tint = torch.tensor([0.5, 0.0, -0.5])[:, None, None] * cast
        return (0.5 + 0.2 * (torch.as_tensor(waves) + 0.5 * tint)).clamp(0, 1)


@pytest.mark.slow
def test_at_most_5_percent_of_units_with_random_weights_get_names_though_they_respond_to_colour() -> None:
    significant = named = units = 0
    small, large = [("simple_cnn", seed, "features.1.2") for seed in range(201, 206)], ("mobilenet_v3_small", 201, "features.3")
    for name, seed, layer in (*small, large):
        model = tp.load(name, weights="random", seed=seed)
        for score in ("max", "mean"):
            found = tp.name_units(model, Clouds(), layer, score=score, workers=1)
            significant += int((found.p_values <= found.level).sum())
            named += len(found.named)
            units += len(found.units)
    print(f"{named} of {units} units are named, {significant} would be by p alone")
    assert significant > 0.05 * units  # else nothing was tried
    assert named <= 0.05 * units


@pytest.mark.slow
def test_where_random_weights_tell_labels_apart_names_must_be_more_accurate_than_theirs() -> None:
    plain = beside = units = 0
    given = {"score": "mean", "limit": 300, "workers": 1}
    for seed in (201, 202, 203):
        model = tp.load("simple_cnn", weights="random", seed=seed)
        plain += len(tp.name_units(model, tp.digits(), "features.2.2", **given).named)
        found = tp.name_units(model, tp.digits(), "features.2.2", **given, untrained=3)
        beside += len(found.named)
        units += len(found.units)
        assert any("units of copies with random weights" in note for note in found.notes)
    print(f"{plain} of {units} units are named, {beside} beside copies")
    assert plain > 0.1 * units  # a digit is more ink than another
    assert beside <= 0.1 * units  # 5 % are expected


def test_the_share_of_the_highest_counts_ties_by_their_chance() -> None:
    inside = torch.tensor([1, 0, 1, 0, 1, 1]).bool()
    assert share_of_highest(torch.tensor([6.0, 5, 4, 3, 2, 1]), inside) == 0.5  # of the four highest, the first and third
    assert share_of_highest(torch.zeros(6), inside) == pytest.approx(4 / 6)
    assert share_of_highest(torch.tensor([9.0, 1, 1, 1, 0, 0]), inside) == pytest.approx((1 + 3 * 1 / 3) / 4)
    assert share_of_highest(torch.rand(6), ~inside | inside) == 1
    assert share_of_highest(torch.rand(6), inside & ~inside) == 0
    many = torch.arange(100) >= 80
    assert share_of_highest(torch.arange(100.0), many) == 1  # the nine highest are looked at
    assert share_of_highest(torch.arange(100.0).roll(3), many) == pytest.approx(6 / 9)


def test_a_name_that_is_not_that_of_the_highest_pictures_does_not_stand() -> None:
    """Unit 0 is highest on A; unit 1 as well, but for ten pictures of something else that it likes better."""
    truth = torch.zeros(300, 2, dtype=torch.bool)
    truth[:80, 0] = truth[80:180, 1] = True
    noise = torch.rand(300, generator=torch.Generator().manual_seed(0))
    scores = torch.stack([truth[:, 0] + noise, truth[:, 0] + noise], 1)
    scores[270:, 1] += 2
    found = judged(scores, Terms(("A", "B"), truth), [str(i) for i in range(300)], length=1, seed=0)
    assert found.names == ("A", "A")
    assert found.auc.min() > 0.8
    assert found.p_values.max() < 1e-4
    assert found.highest is not None
    assert found.highest.tolist() == [1, 0]


def test_a_name_beside_copies_with_random_weights_is_more_accurate_than_95_percent_of_theirs() -> None:
    model = tp.load("simple_cnn", weights="random", seed=1)
    source = tp.planted("shapes", n=60, size=32, classes=("disc", "star"))
    alone, beside = (
        tp.name_units(model, source, "features.0.2", workers=1, untrained=copies, level=0.5, least_auc=0.5) for copies in (0, 2)
    )
    assert beside.least_auc >= alone.least_auc == 0.5
    assert set(beside.named) <= set(alone.named)
    assert torch.equal(beside.auc, alone.auc)
    assert all(float(beside.auc[unit]) > beside.least_auc - 1e-12 for unit in beside.named)
