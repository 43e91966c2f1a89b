"""Trackers against a sort of all scores, for any cut of the data set and any order of merging."""

from __future__ import annotations

import importlib
import pkgutil
import random
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tapetum as tp
from tapetum.engines.scan import trackers as package
from tapetum.engines.scan.trackers import (
    CoActivation,
    Context,
    Counts,
    Moments,
    Positions,
    Scores,
    SeenBatch,
    Sparsity,
    Spectrum,
    State,
    TopK,
    Tracker,
    ranking,
    together,
)
from tapetum.engines.scan.trackers.base import check_score
from tapetum.types import ScanResult, TapetumError

CHANNELS = 6
IDS = [f"{i:03d}.jpg" for i in range(64)]
CONTEXT = Context("layer", IDS, (2, 2))

TRACKERS: list[Tracker] = [
    Spectrum(k=3),
    Spectrum(k=2, around="zero"),
    Spectrum(k=4, around="median"),
    TopK(k=5),
    Counts(),
    Moments(),
    Sparsity(),
    CoActivation(),
    CoActivation(score="mean"),
    Scores(),
    Positions(),
    Positions(count=3, seed=7, border=0, dtype="float16"),
]


def maps(n: int, seed: int) -> Tensor:
    """Few values, so that ties are common; channel 0 is never negative, channel 1 always zero, channel 2 never positive."""
    values = torch.randint(-3, 4, (n, CHANNELS, 2, 2), generator=torch.Generator().manual_seed(seed)) / 2
    values[:, 0] = values[:, 0].abs()
    values[:, 1] = 0
    values[:, 2] = -values[:, 2].abs() - 0.5
    return values


def whole(tracker: Tracker, values: Tensor) -> State:
    return tracker.update(tracker.start(CHANNELS), SeenBatch(values, torch.arange(len(values))))


def in_parts(tracker: Tracker, values: Tensor, cuts: list[int], order: random.Random) -> State:
    """Cut into runs, each its own state in several batches, merged in a random tree."""
    edges = [0, *sorted(cuts), len(values)]
    states = []
    for start, stop in pairwise(edges):
        state = tracker.start(CHANNELS)
        for i in range(start, stop, 4):
            samples = torch.arange(i, min(i + 4, stop))
            state = tracker.update(state, SeenBatch(values[samples], samples))
        states.append(state)
    while len(states) > 1:
        a, b = (states.pop(order.randrange(len(states))) for _ in range(2))
        states.append(tracker.merge(a, b))
    return states[0]


def assert_same(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("tracker", TRACKERS, ids=str)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), cuts=st.lists(st.integers(0, 40), max_size=6), seed=st.integers(0, 1000))
def test_any_cut_and_any_order_of_merging_give_the_state_of_one_pass(
    tracker: Tracker, n: int, cuts: list[int], seed: int
) -> None:
    values = maps(n, seed)
    expected = whole(tracker, values)
    assert_same(in_parts(tracker, values, [min(cut, n) for cut in cuts], random.Random(seed)), expected)
    assert_same(tracker.merge(tracker.start(CHANNELS), expected), expected)
    assert_same(tracker.merge(expected, tracker.start(CHANNELS)), expected)


def test_every_tracker_is_held_to_these_laws() -> None:
    known = {type(tracker) for tracker in TRACKERS}
    modules = [importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)]
    classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    found = {one for one in classes if issubclass(one, Tracker) and one is not Tracker}
    assert found == known
    assert all(getattr(tp, one.__name__) is one and getattr(package, one.__name__) is one for one in found)


def copied(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("tracker", TRACKERS, ids=str)
def test_states_that_were_given_are_not_changed(tracker: Tracker) -> None:
    values = maps(20, seed=1)
    a = tracker.update(tracker.start(CHANNELS), SeenBatch(values[:12], torch.arange(12)))
    b = tracker.update(tracker.start(CHANNELS), SeenBatch(values[12:], torch.arange(12, 20)))
    before = copied(a), copied(b)
    tracker.update(a, SeenBatch(values[12:], torch.arange(12, 20)))
    merged = tracker.merge(a, b)
    seen = copied(merged)
    tracker.result(merged, CONTEXT)
    assert_same(merged, seen)
    assert_same(a, before[0])
    assert_same(b, before[1])


@pytest.mark.parametrize("tracker", [one for one in TRACKERS if getattr(one, "sees", "maps") == "scores"], ids=str)
def test_a_tracker_of_scores_needs_no_maps(tracker: Tracker) -> None:
    values = maps(20, seed=2)
    parts = [SeenBatch(values[i : i + 7], torch.arange(i, min(20, i + 7))).scores() for i in range(0, 20, 7)]
    assert parts[0].maps.numel() == 0
    assert_same(tracker.update(tracker.start(CHANNELS), together(parts)), whole(tracker, values))


def test_a_saved_scan_opens_as_it_was(tmp_path: Path) -> None:
    results = tuple(one.result(whole(one, maps(30, seed=4)), CONTEXT) for one in TRACKERS)
    scan = ScanResult({"layer": results}, tuple(IDS[:30]), {"003.jpg": "damaged"}, {"layer": "output"}, {"in all": 1.5}, "key")
    back = tp.open(tp.save(scan, tmp_path / "scan"))
    assert isinstance(back, ScanResult)
    assert same(back, scan)
    assert back["layer"][0].maximum(3) == results[0].maximum(3)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(7e7), b.nan_to_num(7e7))
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, one.name), getattr(b, one.name)) for one in fields(a))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def brute_force(score: Tensor, k: int) -> tuple[dict[str, list[tuple[int, float]]], float, bool]:
    """One unit's spectrum from all its scores, by Python's sort."""
    pairs = list(enumerate(score.tolist()))
    low = sorted(pairs, key=lambda p: (p[1], p[0]))
    high = sorted(pairs, key=lambda p: (-p[1], p[0]))
    below = [p for p in high if p[1] < 0][:k]
    above = [p for p in low if p[1] > 0][:k]
    median = min(score.tolist()) >= 0
    n, threshold = len(pairs), 0.0
    if median:
        cut = n // 2
        below, above = low[max(0, cut - k) : cut][::-1], low[cut : cut + k]
        threshold = low[cut][1] if n % 2 else (low[cut - 1][1] + low[cut][1]) / 2
    groups = {"minimum": low[:k], "slightly_negative": below, "slightly_positive": above, "maximum": high[:k]}
    return groups, threshold, median


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_the_spectrum_is_that_of_a_sort_of_all_scores(n: int, k: int, seed: int) -> None:
    values = maps(n, seed)
    result = Spectrum(k=k).result(whole(Spectrum(k=k), values), CONTEXT)
    for channel in range(CHANNELS):
        groups, threshold, median = brute_force(values[:, channel].flatten(1).amax(1), k)
        for group, pairs in groups.items():
            found = result.examples(group, channel)  # pyright: ignore[reportArgumentType]
            assert [(one.sample, one.score) for one in found] == pairs
            assert [one.id for one in found] == [IDS[sample] for sample, _ in pairs]
        assert result.around(channel) == ("median" if median else "zero")
        assert float(result.threshold[channel]) == threshold


def test_positions_are_where_the_map_is_highest_the_first_of_equals() -> None:
    values = torch.zeros(2, CHANNELS, 2, 3)
    values[0, 3, 1, 2] = 5.0
    values[1, 3, 0, 1] = values[1, 3, 1, 0] = 4.0
    context = Context("layer", IDS, (2, 3))
    found = TopK(k=2).result(whole(TopK(k=2), values), context).examples(3)
    assert [one.position for one in found] == [(1, 2), (0, 1)]


def test_a_layer_without_places_has_no_positions() -> None:
    values = torch.randn(3, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0))
    found = TopK(k=1).result(whole(TopK(k=1), values), Context("fc", IDS, None)).examples(0)
    assert found[0].position is None


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_keys_order_scores_then_samples_and_split_back(values: list[float]) -> None:
    score = torch.tensor([values])
    samples = torch.arange(len(values))
    key = ranking.keys(score, samples)
    back, found = ranking.split(key)
    assert torch.equal(back, score)
    assert torch.equal(found[0], samples)
    order = key[0].argsort(descending=True).tolist()
    assert order == sorted(range(len(values)), key=lambda i: (-score[0, i].item(), i))


def test_histograms_count_every_score_between_edges_that_are_exact() -> None:
    values = torch.randn(60, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(3))
    result: Any = Counts().result(whole(Counts(), values), CONTEXT)
    for channel in range(CHANNELS):
        score = values[:, channel].flatten(1).amax(1).double()
        histogram = result.histogram(channel, bins=8)
        edges = histogram.edges.tolist()
        assert edges[0] <= score.min()
        assert edges[-1] >= score.max()
        inside = [int(((score >= a) & (score < b)).sum()) for a, b in pairwise(edges)]
        assert histogram.counts.tolist() == inside
        assert float((histogram.density * histogram.edges.diff()).sum()) == pytest.approx(1)
        assert 3 <= len(histogram.counts) <= 8


def test_scores_of_another_kind_and_empty_rankings_are_refused() -> None:
    with pytest.raises(TapetumError, match='score is "max" or "mean"'):
        check_score("median")
    with pytest.raises(TapetumError, match="k must be at least 1"):
        TopK(k=0)
