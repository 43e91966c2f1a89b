"""Verdicts: closed forms of the numbers under them, and rates of maps that know nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.perturb import Cells, as_fill
from tapetum.engines.scores import as_probability, as_score
from tapetum.families.verdicts import judging
from tapetum.families.verdicts.judging import RANDOM, holm
from tapetum.families.verdicts.trials import JUDGING, ORDERING, SHARES, Trials
from tapetum.types import Attribution, MethodError

SIDE = 28  # two pixels per cell
PLACE = (slice(4, 12), slice(16, 24))


class OnePlace(nn.Module):
    """Three logits: the contrast within one place of the image, its opposite, and a constant; nothing else counts."""

    def forward(self, images: Tensor) -> Tensor:
        inside = images[:, :, PLACE[0], PLACE[1]]
        seen = 40 * (inside[..., 1:] - inside[..., :-1]).abs().mean((1, 2, 3)) - 4
        return torch.stack([seen, -seen, torch.zeros_like(seen) - 6], 1)


class Tone(nn.Module):
    """Two logits that read the mean of the red channel: hiding by a blur changes nothing, hiding by zero everything."""

    def forward(self, images: Tensor) -> Tensor:
        red = 9 * images[:, 0].mean((1, 2))
        return torch.stack([red, -red], 1)


class Always(nn.Module):
    """The same answer for every image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.new_tensor([[4.0, 0.0, -9.0]]).expand(len(images), 3) + 0 * images.mean((1, 2, 3))[:, None]


def network(module: nn.Module) -> tp.VisionModel:
    return tp.wrap(module.double(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)


def noise(n: int = 1) -> Tensor:
    return torch.rand(n, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def a_map(values: Tensor, target: object = 0, n: int = 1) -> Attribution:
    """An attribution of given values (h, w), (1, h, w) or (n, h, w)."""
    values = values.double().reshape(-1, 1, *values.shape[-2:]).expand(n, -1, -1, -1).clone()
    return Attribution(values, "given", ("ok",) * n, ("first",) * n, (SIDE, SIDE), (target,) * n)


def truth() -> Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[PLACE] = 1
    return mask


def coarse(seed: int, cells: int = 7) -> Tensor:
    return torch.rand(cells, cells, generator=torch.Generator().manual_seed(seed))


# --- cells


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (0.5, 0.0)])
def test_means_of_cells_are_those_of_a_loop_and_masks_show_just_the_kept_ones(shift: tuple[float, float]) -> None:
    grid, maps = Cells.over(16, 20, 6, shift), torch.rand(2, 16, 20, dtype=torch.float64)
    rows = [math.floor((y + 0.5) * 6 / 16 + shift[0]) for y in range(16)]
    columns = [math.floor((x + 0.5) * 6 / 20 + shift[1]) for x in range(20)]
    assert grid.shape == (max(rows) + 1, max(columns) + 1)
    for i, (r, c) in enumerate(np.ndindex(grid.shape)):
        inside = [(y, x) for y in range(16) for x in range(20) if (rows[y], columns[x]) == (r, c)]
        wanted = sum(maps[:, y, x] for y, x in inside) / len(inside)
        assert torch.allclose(grid.means(maps)[:, i], torch.as_tensor(wanted))
        one = torch.zeros(1, grid.count, dtype=torch.bool)
        one[0, i] = True
        assert {tuple(place) for place in grid.masks(one).make(0, 1)[0, 0].nonzero().tolist()} == set(inside)


def test_a_grid_has_at_most_one_cell_per_pixel() -> None:
    assert Cells.over(5, 9, 14).shape == (5, 9)


# --- faithfulness


def linear(weights: Tensor) -> tp.VisionModel:
    """One output: the sum of weights (h, w) times the first channel."""

    class Sum(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images[:, 0] * weights.to(images)).sum((1, 2))[:, None]

    return tp.wrap(Sum(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")


def test_faithfulness_of_a_sum_is_the_weight_of_the_top_less_that_of_the_bottom() -> None:
    image, weights = noise(), torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
    model = linear(weights)
    score = as_score(model, image, tp.Output(0)).take([0])
    trials = Trials(model, image, [score])
    setting = replace(ORDERING, fill="zero")
    cells = (weights * image[0, 0]).view(14, 2, 14, 2).sum((1, 3)).flatten()
    order = cells.argsort(descending=True)
    ranked = cells[order] / cells.sum()
    expected = sum(ranked[: round(196 * s)].sum() - ranked[196 - round(196 * s) :].sum() for s in SHARES) / len(SHARES)
    found = trials.faithfulness(cells.view(14, 14).repeat_interleave(2, 0).repeat_interleave(2, 1)[None], setting)
    assert float(found) == pytest.approx(float(expected), abs=1e-9)


def test_a_map_and_its_reverse_have_opposite_faithfulness() -> None:
    image, model = noise(), network(OnePlace())
    trials = Trials(model, image, [as_probability(model, image, [0]).take([0])])
    maps = torch.stack([torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]).double()
    for setting in (ORDERING, *JUDGING):
        assert torch.allclose(trials.faithfulness(maps, setting), -trials.faithfulness(-maps, setting), atol=1e-12)


def test_random_maps_are_the_same_however_many_are_asked_for_and_center_on_zero() -> None:
    image, model = noise(), network(OnePlace())
    one, other = (Trials(model, image, [as_probability(model, image, [0]).take([0])]) for _ in range(2))
    few, many = one.random(7, 5), other.random(7, 300)
    assert torch.equal(few, many[:5])
    assert abs(float(many.mean())) < 3 * float(many.std()) / math.sqrt(300)


def test_scores_on_trial_together_are_those_of_each_alone() -> None:
    image, model = noise(), network(OnePlace())
    targets = [0, 1, tp.union(0, 2)]
    scores = [as_probability(model, image, [one]).take([0]) for one in targets]
    together = Trials(model, image, scores).random(7, 4)
    for i, one in enumerate(scores):
        assert torch.allclose(together[:, i], Trials(model, image, [one]).random(7, 4)[:, 0], atol=1e-12, equal_nan=True)


# --- p-values


def test_holm_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_p_value_counts_random_maps_and_reverses() -> None:
    verdict = tp.judge(network(OnePlace()), noise(), a_map(coarse(5))).of(0)
    k = len(verdict.null) // 2
    further = sum(abs(float(one)) >= abs(verdict.faithfulness) for one in verdict.null[:k])
    assert further > 0  # else the tail is extrapolated
    half = (1 + further) / (2 * (k + 1))
    assert verdict.p_value == pytest.approx(half if verdict.faithfulness > 0 else 1 - half)
    assert torch.equal(verdict.null[:k], -verdict.null[k:])


@pytest.mark.parametrize("freedom", [16, 50])
@pytest.mark.parametrize("t", [1.5, 2.5, 3.5, 5.0])
def test_the_extrapolated_tail_is_that_of_students_t(freedom: int, t: float) -> None:
    assert judging._tail(t, freedom) == pytest.approx(float(stats.t.sf(t, freedom)), rel=0.04)


def test_where_many_maps_are_tried_noise_does_not_stand_up() -> None:
    image, model = noise(), network(OnePlace())
    found = tp.judge(model, image, [a_map(truth()), *(a_map(coarse(seed)) for seed in range(39))])
    assert found.of(0, 0).p_value == found.p_value.min()
    assert not found.stands[0, 1:].any()


# --- curves


def test_curves_of_a_map_are_the_scores_with_its_highest_cells_shown_and_hidden() -> None:
    image, weights = noise(), torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
    model = linear(weights)
    trials = Trials(model, image, [as_score(model, image, tp.Output(0)).take([0])])
    ranking = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(2)).double()
    first, curves = trials.evidence(ranking, 0)
    blurred = as_fill(model, image, "blur")
    order = ranking.view(14, 2, 14, 2).mean((1, 3)).flatten().argsort(descending=True)
    for name, start, instead in (("deletion", image, blurred), ("insertion", blurred, image)):
        curve = curves[name]
        assert curve.fraction[0] == 0
        assert curve.fraction[-1] == 1
        for share, value in zip(curve.fraction.tolist(), curve.curve[0].tolist(), strict=True):
            changed = torch.zeros(196, dtype=torch.bool)
            changed[order[: round(share * 196)]] = True
            mask = changed.view(14, 14).repeat_interleave(2, 0).repeat_interleave(2, 1)
            assert value == pytest.approx(float(model(torch.where(mask, instead, start))), rel=1e-5)
        assert float(curve.value) == pytest.approx(float(np.trapezoid(curve.curve[0], curve.fraction)))
    assert first == pytest.approx(float(trials.faithfulness(ranking[None], ORDERING)), nan_ok=True)


# --- verdicts


def test_the_true_place_stands_up_and_its_reverse_edges_and_middle_do_not() -> None:
    image, model = noise(), network(OnePlace())
    middle = -((torch.linspace(-1, 1, SIDE)[:, None] ** 2) + torch.linspace(-1, 1, SIDE)[None] ** 2)
    found = tp.judge(model, image, [a_map(truth()), a_map(-truth()), a_map(middle)])
    assert found.of(0, 0).p_value < 0.05
    assert found.stands.tolist() == [[True, False, False]]
    assert found.of(0, 0).faithfulness > 0.9
    assert found.best[0] is found.of(0, 0)
    assert all(margin > error for margin, error in found.of(0, 0).margins.values())
    edges = tp.edge_attribution(model, image)
    alone = tp.judge(model, image, replace(edges, explains=(0,)))
    assert not alone.stands.any()


def test_a_blob_in_the_middle_never_stands_up_whatever_its_outline_and_precision() -> None:
    down, across = torch.linspace(-1, 1, SIDE)[:, None], torch.linspace(-1, 1, SIDE)[None]
    disc, square = -(down**2 + across**2), -torch.maximum(down.abs(), across.abs())
    for seed in range(4):
        place = torch.rand(2, generator=torch.Generator().manual_seed(seed))
        module = OnePlace()
        rows, columns = (slice(int(6 + 8 * p), int(14 + 8 * p)) for p in place)
        module.forward = lambda images, rows=rows, columns=columns: _contrast(images[:, :, rows, columns])
        for blob in (disc, square, (-disc).exp().reciprocal().half().double()):
            assert not tp.judge(network(module), noise(), a_map(blob)).stands.any()


def _contrast(inside: Tensor) -> Tensor:
    seen = 40 * (inside[..., 1:] - inside[..., :-1]).abs().mean((1, 2, 3)) - 4
    return torch.stack([seen, -seen, torch.zeros_like(seen) - 6], 1)


def test_maps_of_a_segmentation_are_judged_of_one_region_or_of_several() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Upsample((SIDE, SIDE))).double()
    model, image = tp.wrap(module, size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="logits"), noise()
    maps = [tp.saliency(model, image), tp.saliency(model, image), tp.saliency(model, image, [tp.Region(1)])]
    assert len(tp.judge(model, image, maps)) == 3


def test_random_maps_stand_up_at_most_as_often_as_the_level_says() -> None:
    image, model = noise(), network(OnePlace())
    alone = [tp.judge(model, image, a_map(coarse(seed)), level=0.2).stands.item() for seed in range(60)]
    assert sum(alone) / 60 <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / 60)
    best = [
        tp.judge(model, image, [a_map(coarse(7 * s + j)) for j in range(7)], level=0.2).stands.any().item() for s in range(30)
    ]
    assert sum(best) / 30 <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / 30)


def test_more_maps_raise_the_p_value() -> None:
    image, model = noise(), network(OnePlace())
    alone = tp.judge(model, image, a_map(truth()))
    among = tp.judge(model, image, [a_map(truth()), *(a_map(coarse(seed)) for seed in range(5))])
    null = alone.of(0).null[:RANDOM]
    beyond = float(stats.t.sf(alone.of(0).faithfulness / float(null.pow(2).mean().sqrt()), RANDOM))
    assert alone.of(0).p_value == pytest.approx(min(beyond, 1 / (2 * (RANDOM + 1))), rel=0.02)
    assert among.of(0, 0).p_value == pytest.approx(6 * alone.of(0).p_value)


def test_the_null_ends_early_where_random_maps_beat_every_map() -> None:
    model, image = network(OnePlace()), noise()
    assert len(tp.judge(model, image, a_map(-truth())).of(0).null) < 2 * RANDOM
    assert len(tp.judge(model, image, a_map(truth())).of(0).null) == 2 * RANDOM


@pytest.mark.parametrize(("module", "target", "outcome"), [
    (Always(), 0, "no_range"), (Always(), 2, "improbable"), (Tone(), 0, "no_range"), (OnePlace(), 2, "improbable"),
])  # fmt: skip
def test_nothing_is_tested_where_hiding_everything_changes_little(module: nn.Module, target: int, outcome: str) -> None:
    found = tp.judge(network(module), noise(), a_map(truth(), target)).of(0)
    assert (found.outcome, found.stands, found.tested) == (outcome, False, False)
    assert math.isnan(found.p_value)


def test_both_fills_are_named_with_what_they_leave() -> None:
    found = tp.judge(network(Tone()), noise(), a_map(truth())).of(0)
    assert found.whole - found.hidden["blur"] < 0.01 < 0.4 < found.whole - found.hidden["zero"]


def test_maps_without_a_test_keep_their_status_and_are_not_counted() -> None:
    image, model = noise(), network(OnePlace())
    broken = [replace(a_map(truth()), status=(status,)) for status in ("constant", "non_finite", "no_positive_evidence")]
    found = tp.judge(model, image, [a_map(truth()), *broken])
    assert [one.outcome for one in found.each] == ["stands", "constant", "non_finite", "no_positive_evidence"]
    assert found.of(0, 0).p_value == tp.judge(model, image, a_map(truth())).of(0).p_value


def test_targets_without_a_probability_are_judged_by_their_score() -> None:
    model = tp.wrap(OnePlace().double(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")
    found = tp.judge(model, noise(), a_map(truth(), tp.Output(0))).of(0)
    assert (found.measures, found.outcome) == ("score", "stands")


def test_a_batch_is_judged_as_its_images_alone() -> None:
    images, model = noise(3), network(OnePlace())
    maps = [a_map(truth(), n=3), a_map(coarse(1), n=3)]
    together = tp.judge(model, images, maps)
    for i in range(3):
        alone = tp.judge(model, images[i : i + 1], [one[i] for one in maps])
        assert torch.equal(together.p_value[i], alone.p_value[0])
        assert torch.allclose(together.faithfulness[i], alone.faithfulness[0], atol=1e-12)
    assert [one.image for one in together.each] == [0, 0, 1, 1, 2, 2]


def test_the_verdict_passes_the_exam_the_truth_stands_up_its_opposite_and_noise_do_not() -> None:
    lucky = 0
    for one in tp.exam_networks(n=3):
        drawn = one.as_map(torch.rand(3, 1, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
        found = tp.judge(one.model, one.images, [one.perfect, one.as_map(-one.truth), drawn])
        assert found.stands[:, 0].all(), one.name
        assert not found.stands[:, 1].any(), one.name
        lucky += int(found.stands[:, 2].sum())
    assert lucky <= 3  # of 18; more has a probability of 0.01 where each has 0.05


def test_networks_of_any_kind_are_judged() -> None:
    for name in ("residual", "vit_token", "as_dict", "branches"):
        model, images = shared(name), pictures(1)
        found = tp.judge(model, images, tp.random_attribution(model, images))
        assert len(found) == 1
        assert str(found)


def test_what_is_no_map_is_refused() -> None:
    model, image = network(OnePlace()), noise()
    for wrong in ([], a_map(truth(), n=2)):
        with pytest.raises(MethodError, match=r"judge takes|maps of 2 images"):
            tp.judge(model, image, wrong)
    with pytest.raises(MethodError, match=r"between 0 and 1"):
        tp.judge(model, image, a_map(truth()), level=1.5)


def test_words_say_the_place_among_random_maps() -> None:
    found = tp.judge(network(OnePlace()), noise(), a_map(truth()))
    assert "better than 100 of 100 random maps; the edges: " in found.of(0).words
    assert "stands up" in str(found)


def test_a_result_without_verdicts_is_printed_and_drawn() -> None:
    none = tp.Verdicts(())
    assert none.best == ()
    assert any("no verdicts" in text.get_text() for text in tp.draw(none).texts)
