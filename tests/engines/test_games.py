"""Coalitions of segments: each asked once, drawn as the methods say, and worth what the definitions say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.perturb.games import Game, games, marginals, replayed, shapley_sample
from tapetum.engines.scores import as_score
from tapetum.types import MethodError

QUARTERS = (torch.arange(16)[:, None] // 8) * 2 + torch.arange(16) // 8
"""Four players."""


def game(segments: Tensor = QUARTERS, name: str = "functional") -> Game:
    model, images = shared(name), pictures(1)
    return games(as_score(model, images, 1), images, segments[None], torch.zeros_like(images), 8)[0]


def by_definition(segments: Tensor, name: str = "functional", fill: float = 0.0) -> Tensor:
    """Shapley values (k,): sum over coalitions without i of |S|! (k - |S| - 1)! / k! (v(S + i) - v(S)), by loops."""
    x, net, k = pictures(1)[0], shared(name).module, int(segments.max()) + 1

    def v(seen: tuple[int, ...]) -> float:
        kept = sum(((segments == one) for one in seen), torch.zeros_like(segments))
        with torch.no_grad():
            return float(net(torch.where(kept.bool(), x, torch.full_like(x, fill))[None])[0, 1])

    values = []
    for i in range(k):
        others = [j for j in range(k) if j != i]
        value = 0.0
        for size in range(k):
            weight = math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)
            for some in itertools.combinations(others, size):
                value += weight * (v((*some, i)) - v(some))
        values.append(value)
    return torch.tensor(values, dtype=torch.float64)


def of_segments(values: Tensor, segments: Tensor) -> Tensor:
    """The value of each segment from a map (h, w), which is the same on all of its pixels."""
    labels = range(int(segments.max()) + 1)
    assert all(len(values[segments == one].unique()) == 1 for one in labels)
    return torch.stack([values[segments == one][0] for one in labels])


# --- the game


def test_a_coalition_is_computed_once_however_often_it_is_asked_for() -> None:
    model, images, seen = shared("functional"), pictures(1), []
    tp.lime(model, images, 1, segments=QUARTERS, n_samples=2)  # finds out what the model is like, once
    hook = model.replica.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    try:
        tp.lime(model, images, 1, segments=QUARTERS, n_samples=1000)
    finally:
        hook.remove()
    assert sum(seen) == 2**4


def test_equal_coalitions_have_one_score_and_it_is_that_of_the_masked_image() -> None:
    one = game()
    present = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]])
    values = one(present)
    masked = pictures(1) * present[0][QUARTERS]
    with torch.no_grad():
        assert float(values[0]) == pytest.approx(float(shared("functional").module(masked)[0, 1]), rel=1e-12)
    assert values[0] == values[2] != values[1]
    assert torch.equal(one(present[1:2]), values[1:2])


def test_replayed_generators_start_alike_and_depend_on_the_first() -> None:
    again = replayed(torch.Generator().manual_seed(3))
    assert torch.equal(torch.rand(5, generator=again()), torch.rand(5, generator=again()))
    other = replayed(torch.Generator().manual_seed(4))
    assert not torch.equal(torch.rand(5, generator=again()), torch.rand(5, generator=other()))


# --- drawing


@pytest.mark.parametrize("players", [2, 3, 4, 5, 8])
def test_a_large_budget_lists_every_coalition_with_the_weight_of_the_shapley_kernel(players: int) -> None:
    sample = shapley_sample(players, 2**players - 2, torch.Generator())
    assert len(sample.drawn) == sample.rest == 0
    assert len({tuple(row) for row in sample.listed.tolist()}) == 2**players - 2
    sizes = sample.listed.sum(1).long().tolist()
    kernel = torch.tensor([(players - 1) / (math.comb(players, s) * s * (players - s)) for s in sizes])
    torch.testing.assert_close(sample.weights, kernel / kernel.sum())


@pytest.mark.parametrize(("players", "n"), [(9, 40), (12, 100), (50, 500), (6, 61)])
def test_a_small_budget_is_kept_and_the_sizes_have_the_shares_of_the_kernel(players: int, n: int) -> None:
    sample = shapley_sample(players, n, torch.Generator().manual_seed(0))
    assert len(sample.listed) + 2 * len(sample.drawn) <= n
    assert float(sample.weights.sum()) + sample.rest == pytest.approx(1, abs=1e-6)
    sizes = sample.drawn.sum(1)
    assert sizes.min() >= 1
    assert sizes.max() <= players // 2  # its complement is as likely, and taken as well
    listed = set(sample.listed.sum(1).tolist())
    assert not listed & set(sizes.tolist())


def test_drawn_sizes_are_as_frequent_as_the_kernel_says() -> None:
    k, n = 40, 20_000
    drawn = shapley_sample(k, n, torch.Generator().manual_seed(0)).drawn
    counts = drawn.sum(1).long().bincount(minlength=k // 2 + 1).double()
    sizes = counts.nonzero().flatten()
    share = (2 - (2 * sizes == k).double()) / (sizes * (k - sizes))
    share /= share.sum()
    error = (share * (1 - share) / len(drawn)).sqrt()
    assert ((counts[sizes] / len(drawn) - share).abs() < 5 * error).all()  # five standard errors of a proportion


# --- Shapley values


def test_all_coalitions_give_the_exact_shapley_values_and_no_error() -> None:
    result = tp.kernel_shap(shared("functional"), pictures(1), 1, segments=QUARTERS, n_samples=14)
    torch.testing.assert_close(of_segments(result.values[0, 0], QUARTERS), by_definition(QUARTERS), rtol=1e-8, atol=1e-12)
    assert (result.stderr == 0).all()


def test_all_orders_give_the_exact_shapley_values() -> None:
    orders = torch.tensor(list(itertools.permutations(range(4))))
    torch.testing.assert_close(marginals(game(), orders).mean(0), by_definition(QUARTERS), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["shapley_sampling", "kernel_shap"])
def test_the_segments_sum_to_the_score_difference_for_any_number_of_samples(method: str) -> None:
    cells = (torch.arange(16)[:, None] // 4) * 4 + torch.arange(16) // 4
    few: dict[str, Any] = {"shapley_sampling": {"n_samples": 2}, "kernel_shap": {"n_samples": 40}}[method]
    x, model = pictures(1), shared("residual")
    values = getattr(tp, method)(model, x, 2, segments=cells, fill=0.3, **few).values[0, 0]
    with torch.no_grad():
        difference = model.module(torch.cat([x, torch.full_like(x, 0.3)]))[:, 2].diff().neg()
    torch.testing.assert_close(of_segments(values, cells).sum()[None], difference, rtol=1e-9, atol=1e-12)


NINTHS = (torch.arange(16)[:, None] * 3 // 16) * 3 + torch.arange(16) * 3 // 16


@pytest.mark.parametrize(("method", "settings"), [("shapley_sampling", {"n_samples": 30}), ("kernel_shap", {"n_samples": 120})])
def test_samples_scatter_around_the_exact_values_as_their_standard_error_says(method: str, settings: dict[str, int]) -> None:
    truth = by_definition(NINTHS)
    results = [
        getattr(tp, method)(shared("functional"), pictures(1), 1, segments=NINTHS, seed=seed, **settings) for seed in range(30)
    ]
    values = torch.stack([of_segments(one.values[0, 0], NINTHS) for one in results])
    errors = torch.stack([of_segments(one.stderr[0, 0], NINTHS) for one in results])
    # nine means of 30 runs: 4.5 standard errors are left by chance once in ten thousand; kernel_shap has a bias of order 1/n
    assert ((values.mean(0) - truth).abs() < 4.5 * values.std(0) / 30**0.5 + 1e-3 * truth.abs().max()).all()
    ratio = errors.mean() / values.std(0).mean()
    assert 0.7 < ratio < 1.4  # a standard deviation of 30 values is known to 13 %, and nine of them are averaged


def test_too_few_coalitions_for_the_segments_are_refused() -> None:
    with pytest.raises(MethodError, match="n_samples=17 coalitions do not determine 9 segments: give at least 18"):
        tp.kernel_shap(shared("functional"), pictures(1), 1, segments=NINTHS, n_samples=17)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "shapley_sampling", "feature_ablation"])
def test_a_picture_of_one_segment_says_so(method: str) -> None:
    x, model = pictures(1), shared("functional")
    result = getattr(tp, method)(model, x, 1, segments=torch.zeros(16, 16).long())
    assert result.status == ("constant",)
    assert any("one segment" in note for note in result.notes)
    if method != "lime":  # the only player has the whole difference
        with torch.no_grad():
            difference = model.module(torch.cat([torch.zeros_like(x), x]))[:, 1].diff()
        torch.testing.assert_close(result.values[0, 0, 0, :1], difference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "shapley_sampling"])
def test_a_tolerance_stops_early_and_its_error_is_below_it(method: str) -> None:
    n = 200 if method == "kernel_shap" else 800  # of 510 coalitions, all of which would leave no error

    def run(**more: Any) -> tp.Attribution:
        given = {"segments": NINTHS, "n_samples": n, **more}
        return getattr(tp, method)(shared("functional"), pictures(2)[:1], 1, **given)

    loose, tight, whole = run(tolerance=0.5), run(tolerance=0.15), run()
    for tolerance, result in ((0.5, loose), (0.15, tight)):
        values, error = (of_segments(one[0, 0], NINTHS) for one in (result.values, result.stderr))
        assert error.mean() <= tolerance * values.abs().max()
    assert not torch.equal(loose.values, whole.values)
    both = {"images": pictures(2), "target": [1, 2]}
    together = getattr(tp, method)(shared("functional"), **both, segments=NINTHS, n_samples=n, tolerance=0.15, batch=3)
    assert torch.allclose(together.values[:1], run(tolerance=0.15).values, rtol=1e-10)  # no matter what else is in the batch
