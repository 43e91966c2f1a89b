"""Maps beside their evidence: on a network of which it is known where it looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from zoo import SIDE, pictures, wrapped

import tapetum as tp
from tapetum.families.comparisons import overlap
from tapetum.types import Attribution, MethodError

N = 2


class LeftHalf(nn.Module):
    """Two logits; the first is the contrast in the left half of the picture, and nothing else counts (blur takes it away)."""

    def forward(self, images: Tensor) -> Tensor:
        left = 2 * images[..., : SIDE // 2].var((1, 2, 3))
        return torch.stack([left, -left], 1)


def model() -> tp.VisionModel:
    return wrapped(LeftHalf().double(), "left_half")


def bright() -> Tensor:
    return pictures(N)


def a_map(values: Tensor, like: Attribution) -> Attribution:
    return replace(like, values=values.expand(N, 1, SIDE, SIDE).clone(), reduce="sum", method="made_up")


def halves() -> tuple[Attribution, Attribution]:
    like = tp.saliency(model(), bright(), 0)
    left = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    left[:, : SIDE // 2] = 1
    return a_map(left, like), a_map(1 - left, like)


def test_the_map_of_where_the_network_looks_stands_up_and_its_opposite_does_not() -> None:
    true, false = halves()
    found = tp.compare_maps(model(), bright(), [true, false], n_steps=8)
    right, wrong = found.faithfulness[:2].tolist()
    assert right > 0 > wrong
    # hiding the right half changes nothing: the curve of the wrong map is flat for half of its way
    assert (found.deletion[1, :, 0] - found.deletion[1, :, 4]).abs().max() < 1e-12
    assert found.agreement[0, 1] == 0
    alone = tp.judge(model(), bright(), [true, false])
    assert torch.equal(found.verdicts.stands, alone.stands)
    assert not alone.stands[:, 1].any()
    standing = int(alone.stands[:, 0].sum())
    assert f"stands up on {standing} of 2" in str(found).splitlines()[2]
    assert "stands up on 0 of 2" in next(line for line in str(found).splitlines() if line.startswith("made_up 2"))
    assert "baseline" in next(line for line in str(found).splitlines() if line.startswith("edge_attribution"))


def test_the_areas_are_those_of_evaluate() -> None:
    maps = [tp.saliency(model(), bright(), 0)]
    found = tp.compare_maps(model(), bright(), maps, n_steps=6)
    for name, area in found.areas.items():
        alone = tp.evaluate(model(), bright(), maps[0], [name], cells=14, n_steps=6, fill="blur")[name]
        torch.testing.assert_close(area[0], alone.value)


def test_agreement_is_one_with_itself_and_the_same_both_ways() -> None:
    true, false = halves()
    ramp = a_map(torch.arange(SIDE, dtype=torch.float64).expand(SIDE, SIDE), true)
    found = tp.compare_maps(model(), bright(), [true, false, ramp], n_steps=1)
    assert torch.equal(found.agreement, found.agreement.T)
    assert bool((found.agreement.diagonal() == 1).all())
    # the ramp's top fifth is the right edge, all inside the right half; of equal values the first are taken
    assert overlap(ramp, true) == 0


def test_the_random_baseline_is_a_mean_of_draws() -> None:
    one, three = (tp.compare_maps(model(), bright(), [halves()[0]], n_steps=4, draws=n) for n in (1, 3))
    alone = [tp.random_attribution(model(), bright(), 0, seed=seed) for seed in range(3)]
    curves = [
        tp.evaluate(model(), bright(), a, ["deletion"], cells=14, n_steps=4, fill="blur")["deletion"].curve for a in alone
    ]
    torch.testing.assert_close(one.deletion[-1], curves[0])
    torch.testing.assert_close(three.deletion[-1], torch.stack(curves).mean(0))


def test_a_map_that_is_not_finite_has_no_number() -> None:
    true, _ = halves()
    broken = replace(true, values=true.values * torch.nan, status=("non_finite",) * N)
    found = tp.compare_maps(model(), bright(), [true, broken], n_steps=2)
    assert found.faithfulness[:2].isnan().tolist() == [False, True]
    assert "non_finite" in str(found)
    assert tp.draw(found).get_axes()


def test_maps_that_cannot_be_compared_are_refused() -> None:
    one = tp.saliency(model(), bright(), 0)
    with pytest.raises(MethodError, match="different targets"):
        tp.compare_maps(model(), bright(), [one, tp.saliency(model(), bright(), 1)])
    with pytest.raises(MethodError, match="maps of 1 images were given for 2"):
        tp.compare_maps(model(), bright(), [one[0]])
    with pytest.raises(MethodError, match="list of attributions"):
        tp.compare_maps(model(), bright(), [])


def test_it_is_kept_and_drawn_with_the_names_and_the_verdicts(tmp_path: Path) -> None:
    true, false = halves()
    found = tp.compare_maps(model(), bright(), [true, false, tp.saliency(model(), bright(), 0)], n_steps=2)
    tp.save(found, tmp_path / "found")
    again = tp.open(tmp_path / "found")
    assert str(again) == str(found)
    figure = tp.draw(again)
    titles = [axes.get_title(loc="left") for axes in figure.get_axes()]
    for name in ("made_up 1", "made_up 2", "saliency", "edge_attribution", "random_attribution"):
        assert any(title.startswith(f"{name}\n") for title in titles)
    assert any(title == f"made_up 2\n{found.standing(1)}" for title in titles)


def test_maps_side_by_side_are_called_by_what_tells_them_apart() -> None:
    first, second = (tp.saliency(model(), bright()[:1], target) for target in (0, 1))
    both = tp.draw([first, second])
    assert [axes.get_title(loc="left") for axes in both.get_axes()[:2]] == ["saliency\nclass 0", "saliency\nclass 1"]
    assert "class 0" not in both.texts[0].get_text()  # the title speaks of both
    layers = [replace(first, layer=name) for name in ("one", "two")]
    assert [axes.get_title(loc="left") for axes in tp.draw(layers).get_axes()[:2]] == ["saliency one", "saliency two"]
    named = tp.draw([first, first], names=["as it is", "again"])
    assert [axes.get_title(loc="left") for axes in named.get_axes()[:2]] == ["as it is", "again"]
    with pytest.raises(tp.TapetumError, match="2 maps were given and 1 names"):
        tp.draw([first, first], names=["alone"])
