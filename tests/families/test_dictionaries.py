"""Dictionaries of a layer: each method finds what was planted, the numbers are their formulas, and noise passes nowhere."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.dictionaries import code_maps, decode, encode
from tapetum.engines.scan.coded import Coded
from tapetum.engines.scan.trackers import SeenBatch, TopK, ranking
from tapetum.families.dictionaries.fitting import check, fitted, random
from tapetum.families.dictionaries.judging import Rows, judged
from tapetum.families.dictionaries.matching import matched
from tapetum.types import MethodError
from tapetum.types.dictionaries import Dictionary, DictionaryMethod, DictionaryNumbers, beyond_chance, empty

M, C, N = 1200, 16, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(active: float = 0.25, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows (m, c) that are sums of some of N sparse non-negative directions (n, c), and the directions."""
    g = seeded(seed)
    parts = torch.zeros(N, C, dtype=torch.float64)
    for i in range(N):
        parts[i, i * 4 : i * 4 + 5 - (i == N - 1)] = torch.rand(5 - (i == N - 1), generator=g).double() + 0.3
    directions = F.normalize(parts, dim=1)
    codes = (torch.rand(M, N, generator=g) < active).double() * (0.5 + torch.rand(M, N, generator=g).double())
    return codes @ directions, directions


def r2(one: Dictionary, rows: Tensor) -> float:
    rest = (rows - decode(one, encode(one, rows))).square().sum()
    return float(1 - rest / (rows - rows.mean(0)).square().sum())


# --- each method on what it is made for


def test_pca_is_the_singular_value_decomposition() -> None:
    rows = torch.randn(300, C, generator=seeded()).double() * torch.linspace(3, 0.3, C).double()
    found = fitted("pca", rows, 5, 0)
    _, sizes, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    torch.testing.assert_close((found.directions * vectors[:5]).sum(1).abs(), torch.ones(5).double(), rtol=0, atol=1e-9)
    assert r2(found, rows) == pytest.approx(float(sizes[:5].square().sum() / sizes.square().sum()), rel=1e-9)
    codes = encode(found, rows)
    assert bool(((codes**3).sum(0) >= 0).all())  # the longer tail is on the positive side


def test_ica_finds_independent_sources_that_pca_cannot() -> None:
    sources = torch.rand(4000, N, generator=seeded()).double() - 0.5
    mixing = torch.randn(N, C, generator=seeded(1)).double()
    rows, known = sources @ mixing + 3, F.normalize(mixing, dim=1)
    assert float(matched(known, fitted("ica", rows, N, 0).directions)[0].min()) > 0.99
    assert float(matched(known, fitted("pca", rows, N, 0).directions)[0].min()) < 0.9


def test_ica_refuses_more_components_than_the_rows_have() -> None:
    rows = torch.randn(500, 3, generator=seeded()).double() @ torch.randn(3, C, generator=seeded(1)).double()
    with pytest.raises(MethodError, match="vary along 3 directions alone"):
        fitted("ica", rows, 4, 0)


@pytest.mark.parametrize("method", ["nmf", "sae"])
def test_sparse_parts_are_found(method: DictionaryMethod) -> None:
    rows, known = planted()
    found = fitted(method, rows, N, 0)
    assert float(matched(known, found.directions)[0].min()) > 0.9
    assert r2(found, rows) > (0.99 if method == "nmf" else 0.8)  # the autoencoder keeps two of four parts a place


def test_kmeans_finds_separated_clusters() -> None:
    centres = 10 * torch.randn(N, C, generator=seeded()).double()
    which = torch.arange(M) % N
    rows = centres[which] + 0.1 * torch.randn(M, C, generator=seeded(1)).double()
    found = fitted("kmeans", rows, N, 0)
    codes = encode(found, rows)
    assert ((codes > 0).sum(1) == 1).all()
    torch.testing.assert_close(decode(found, codes), centres[which], rtol=0, atol=0.05)


def test_the_first_concepts_of_a_matryoshka_rebuild_more_than_those_of_a_plain_autoencoder() -> None:
    g = seeded()
    rows = (torch.rand(M, 16, generator=g) < 0.2).double() * torch.rand(M, 16, generator=g).double()
    rows = rows @ F.normalize(torch.randn(16, C, generator=g).double(), dim=1)

    def alone(method: DictionaryMethod) -> float:
        found = fitted(method, rows, 16, 0)
        codes = encode(found, rows)
        codes[:, 4:] = 0
        return float((rows - decode(found, codes)).square().sum())

    assert alone("matryoshka") < alone("sae")


def test_units_are_the_channels_that_vary_most() -> None:
    rows = torch.randn(M, C, generator=seeded()).double() * torch.arange(C)
    found = fitted("units", rows, 3, 0)
    assert torch.equal(found.directions, torch.eye(C, dtype=torch.float64)[-3:])
    assert torch.equal(encode(found, rows), rows[:, -3:])


# --- codes


def test_a_non_negative_code_is_the_best_of_all_its_faces() -> None:
    g = seeded()
    directions = F.normalize(torch.rand(3, C, generator=g).double(), dim=1)
    rows = torch.randn(40, C, generator=g).double()
    found = encode(Dictionary("nonnegative", directions, torch.zeros(C).double(), empty(C), torch.zeros(3).double()), rows)
    best = rows.square().sum(1)
    for size in (1, 2, 3):
        for some in itertools.combinations(range(3), size):  # least squares on each face, where it is not negative
            part = directions[list(some)]
            codes = torch.linalg.lstsq(part.T, rows.T).solution.T
            error = (rows - codes @ part).square().sum(1)
            best = torch.where((codes >= 0).all(1), torch.minimum(best, error), best)
    torch.testing.assert_close((rows - found @ directions).square().sum(1), best, rtol=1e-5, atol=1e-8)


KINDS: tuple[DictionaryMethod, ...] = ("pca", "nmf", "kmeans", "sae")
"""One method for each kind of code."""


@pytest.mark.parametrize("method", KINDS)
def test_codes_of_maps_are_codes_of_their_places(method: DictionaryMethod) -> None:
    rows, _ = planted()
    one = random(method, rows, N, 0)
    maps = rows[: 2 * 3 * 5].view(2, 3, 5, C).permute(0, 3, 1, 2)
    torch.testing.assert_close(code_maps(one, maps)[1, :, 2, 4], encode(one, rows[29:30])[0])


def test_a_dictionary_and_its_chance_have_one_kind_of_code() -> None:
    rows, _ = planted()
    for method in KINDS:
        found, chance = fitted(method, rows, N, 0), random(method, rows, N, 0)
        assert (found.code, len(found), found.active) == (chance.code, len(chance), chance.active)
        for one in (found, chance):
            torch.testing.assert_close(one.directions.norm(dim=1), torch.ones(N).double())


# --- chance


def test_partners_are_one_to_one_and_blind_to_signs() -> None:
    known = torch.eye(3, dtype=torch.float64)
    cosine, partner = matched(known, torch.tensor([[0.0, -2, 0], [5, 0, 0]], dtype=torch.float64))
    assert cosine.tolist() == [1, 1, 0]
    assert partner.tolist() == [1, 0, -1]


def rows_of(values: Tensor, per_picture: int = 20) -> Rows:
    return Rows(values, torch.arange(len(values)) // per_picture)


def better(method: DictionaryMethod, rows: Tensor, n: int = N, seed: int = 0) -> bool:
    """The verdict, from rows alone."""
    found = judged(method, rows_of(rows), n, seed)
    assert found.shuffled is not None
    return beyond_chance(found.numbers, found.null, found.shuffled)


CHEAP: tuple[DictionaryMethod, ...] = ("nmf", "pca", "ica", "kmeans")


@pytest.mark.parametrize("method", CHEAP)
def test_parts_are_better_than_chance_and_noise_is_not(method: DictionaryMethod) -> None:
    noise = torch.randn(M, C, generator=seeded())
    assert not better(method, noise.abs() if method == "nmf" else noise)
    assert better(method, planted()[0].float())


@pytest.mark.slow
def test_an_autoencoder_of_noise_is_no_better_than_chance_and_one_of_parts_is() -> None:
    assert not better("sae", torch.randn(M, C, generator=seeded()))
    assert better("sae", planted()[0].float())


def test_channels_that_only_differ_in_size_are_no_concepts() -> None:
    rows = torch.randn(M, C, generator=seeded()) * torch.linspace(4, 0.1, C)  # PCA rebuilds them well, and comes again
    assert not better("pca", rows)


def test_the_dead_share_counts_concepts_without_a_place_and_is_compared_with_other_starts() -> None:
    rows = rows_of(torch.rand(400, 3, generator=seeded(), dtype=torch.float64))
    made = judged("kmeans", rows, 60, 0)
    _, held = rows.split(0)
    nearest = encode(made.dictionary, held.values).argmax(1)  # each place is in one cluster
    value, low, high = made.numbers.dead
    assert value == pytest.approx(1 - len(nearest.unique()) / 60)
    assert low <= value <= high
    assert low < high


def test_shuffled_rows_keep_every_channel_and_resampled_ones_whole_pictures() -> None:
    rows = rows_of(planted()[0].float())
    mixed = rows.shuffled(1)
    assert torch.equal(mixed.values.sort(0).values, rows.values.sort(0).values)
    assert not torch.equal(mixed.values, rows.values)
    drawn = rows.resampled(1)
    assert len(drawn.values) == len(rows.values)
    assert set(torch.bincount(drawn.samples).tolist()) <= set(range(0, 200, 20))
    train, held = rows.split(0)
    assert not set(train.samples.tolist()) & set(held.samples.tolist())
    assert len(held.samples.unique()) == 12


WRONG: dict[str, tuple[Any, str]] = {
    "negative": (("nmf", 2, torch.randn(50, 4)), "nmf needs a layer without negative values"),
    "many": (("pca", 5, torch.randn(50, 4)), "pca finds 1 to 4 concepts in 50 places of 4 channels, not 5"),
    "constant": (("kmeans", 2, torch.ones(50, 4)), "the same at every place"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_without_directions_are_refused(name: str) -> None:
    (method, n, rows), words = WRONG[name]
    with pytest.raises(MethodError, match=words):
        check(method, n, rows)


def test_one_cluster_and_more_clusters_than_points_are_refused() -> None:
    with pytest.raises(MethodError, match="give n from 2 up"):
        fitted("kmeans", torch.randn(50, 4, generator=seeded()), 1, 0)
    around = torch.tensor([[0.0, 0], [1, 0], [-1, 0]]).repeat(20, 1)  # the middle one is the mean and has no direction
    with pytest.raises(MethodError, match="no 3 different directions: ask for fewer concepts"):
        fitted("kmeans", around, 3, 0)


# --- the scan sees concepts


def test_the_examples_of_concepts_do_not_depend_on_how_pictures_are_divided() -> None:
    rows, _ = planted()
    maps = rows[: 12 * 9].view(12, 3, 3, C).permute(0, 3, 1, 2).float()
    tracker = Coded(TopK(3), fitted("nmf", rows, N, 0))
    parts = [tracker.update(tracker.start(C), SeenBatch(maps[i : i + 4], torch.arange(i, i + 4))) for i in (0, 4, 8)]
    orders = [tracker.merge(tracker.merge(parts[a], parts[b]), parts[c]) for a, b, c in itertools.permutations(range(3))]
    assert all(torch.equal(one["key"], orders[0]["key"]) and torch.equal(one["place"], orders[0]["place"]) for one in orders)
    best = code_maps(tracker.dictionary, maps).flatten(2).amax(2)
    found = ranking.split(orders[0]["key"])
    torch.testing.assert_close(found[0][:, 0], best.max(0).values)
    assert torch.equal(found[1][:, 0], best.argmax(0))
    assert Coded(TopK(3), fitted("nmf", rows, N, 1)).digest != tracker.digest


def test_the_verdict_needs_all_three_bars() -> None:
    def numbers(r2: float, agreement: float) -> DictionaryNumbers:
        near = [(one - 0.05, one, one + 0.05) for one in (r2, agreement)]
        (a, b, c), (d, e, f) = near
        return DictionaryNumbers((b, a, c), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (e, d, f))

    low, high = (0.2, 0.15, 0.25), (0.7, 0.65, 0.75)
    mine = numbers(0.6, 0.6)
    assert beyond_chance(mine, numbers(0.3, 0.3), low)
    for null, shuffled in ((numbers(0.52, 0.3), low), (numbers(0.3, 0.52), low), (numbers(0.3, 0.3), high)):
        assert not beyond_chance(mine, null, shuffled)
