"""Two networks side by side: what changed, maps registered on the photograph, groups, units, and bars with their error rate."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor, nn

import tapetum as tp
from tapetum.engines.student import next_probability, next_value
from tapetum.families.comparing.groups import match_units, places, split_groups
from tapetum.families.comparing.looks import agreement
from tapetum.families.comparing.nulls import given_null
from tapetum.types import MethodError, TapetumError


class Looks(nn.Module):
    """Answers by the brightness of the left half and of the right half: its CAM lies where it looks."""

    def __init__(self, left: float, right: float, classes: int = 2) -> None:
        super().__init__()
        self.halves = nn.Conv2d(6, 2, 3, padding=1, bias=False)  # one channel of each half
        self.halves.weight.data.zero_()
        self.halves.weight.data[0, :3] = self.halves.weight.data[1, 3:] = 1 / 27
        self.head = nn.Linear(2, classes)
        self.head.weight.data.zero_()
        self.head.bias.data.zero_()
        self.head.weight.data[0] = torch.tensor([left, right])
        self.head.bias.data[0] = -0.2 * (left + right)
        if classes > 1:
            self.head.weight.data[1] = -self.head.weight.data[0]
            self.head.bias.data[1] = -self.head.bias.data[0]

    def forward(self, images: Tensor) -> Tensor:
        left = (torch.arange(images.shape[-1]) < images.shape[-1] // 2).to(images)
        return self.head(self.halves(torch.cat([images * left, images * (1 - left)], 1)).mean((2, 3)))


def looking(left: float, right: float, labels: Any = ("bright", "dark"), **more: Any) -> tp.VisionModel:
    size = more.pop("size", 16)
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return tp.wrap(Looks(left, right, len(labels)).double(), size=size, labels=list(labels), **plain, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two class folders: bright ones on one side, at two sizes."""
    place = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(16):
        side = 16 + 8 * (i % 2)
        levels = generator.integers(20, 120, (side, side, 3), dtype=np.uint8)
        levels[:, : side // 2] += 100 * np.uint8(i % 4 < 2)
        (place / ("bright" if i % 4 < 2 else "dark")).mkdir(exist_ok=True)
        Image.fromarray(levels).save(place / ("bright" if i % 4 < 2 else "dark") / f"{i:02d}.png")
    return place


# --- answers


def test_a_network_beside_itself_changes_nothing(folder: Path) -> None:
    model = looking(1, 1)
    found = tp.compare(model, model, folder)
    assert found.changed == ()
    torch.testing.assert_close(found.agreement, torch.ones(16).double())
    assert float(found.cka.values.diagonal().mean()) == pytest.approx(1, abs=1e-9)
    assert found.accuracy is not None
    assert found.accuracy[0] == found.accuracy[1]
    assert "0 of 16 predictions changed" in found.verdict
    assert "cannot be said without networks of other seeds" in found.verdict
    assert found.groups == () or max(one.apart for one in found.groups) == 0


def test_changed_predictions_are_better_worse_or_neither(folder: Path) -> None:
    a, b = looking(4, 0), looking(0, 4)
    found = tp.compare(a, b, folder)
    for one in found.changed:
        row = found.pictures.index(one.picture)
        assert found.answers[row] == (one.before, one.after)
        assert one.truth == found.truths[row]
        right = {"better": one.after, "worse": one.before}
        assert right.get(one.outcome, one.truth) == one.truth
        image = a.preprocess(folder / one.picture).double()
        best: Any = tp.predict(a, image, k=1)[0][0]
        assert (best.label, best.probability) == (one.before, pytest.approx(one.before_probability))
    assert {one.outcome for one in found.changed} == {"worse"}
    assert len(found.changed) == 8
    assert float(found.agreement.nanmean()) < 0  # one looks at the left, the other at the right


def test_labels_of_other_orders_and_lists_are_matched_by_name(folder: Path) -> None:
    a = looking(1, 1)
    more = looking(1, 1, labels=("bright", "dark", "green"))
    other = looking(1, 1, labels=("BRIGHT", "night"))
    assert tp.compare(a, more, folder).changed == ()
    found = tp.compare(a, other, folder)
    dark = torch.tensor([pair[0] == "dark" for pair in found.answers])
    assert found.agreement[dark].isnan().all()
    assert found.agreement[~dark].isfinite().all()
    assert any("has no class dark" in note for note in found.notes)
    assert {one.after for one in found.changed} <= {"night"}


def test_one_output_and_numbers_are_compared_too(folder: Path) -> None:
    one = looking(1, 1, labels=("bright",), outputs="sigmoid")
    assert set(sum(tp.compare(one, one, folder).answers, ())) <= {"yes", "no"}
    number = looking(1, 1, labels=("light",), outputs="numbers")
    found = tp.compare(number, number, folder)
    assert found.changed == ()
    assert found.accuracy is None
    torch.testing.assert_close(found.agreement, torch.ones(16).double())
    with pytest.raises(MethodError, match=r"compare their layers by tp\.cka"):
        tp.compare(one, number, folder)


def test_pictures_without_classes_and_folders_of_other_names_have_no_truths(folder: Path) -> None:
    model = looking(1, 1)
    flat = tp.compare(model, model, sorted(map(str, (folder / "dark").iterdir())))
    assert flat.accuracy is None
    strange = tp.compare(model, model, tp.planted("shapes", 8, 16))
    assert strange.truths == (None,) * 8
    assert any("no classes of the networks" in note for note in strange.notes)


# --- maps


def test_maps_of_other_sizes_lie_on_the_same_photograph(folder: Path) -> None:
    """One network sees the whole picture at 16 px, the other its central half at 32 px: where both see, they agree."""
    a = looking(1, 0, resize="squash")
    b = looking(1, 0, size=32, resize=64)
    found = tp.compare(a, b, folder, n=None)
    assert float(found.agreement.min()) > 0.5
    assert found.maps[:, 1].isnan().any()  # the border is outside the second network's view
    assert not found.maps[:, 0].isnan().any()


def test_agreement_is_spearmans_over_common_cells() -> None:
    a, b = (torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (0, 1))
    a[0, :2] = torch.nan
    b[1, :, 0] = torch.nan
    b[2] = torch.nan
    found = agreement(a, b)
    for row, where in ((0, np.s_[2:, :]), (1, np.s_[:, 1:])):
        expected: Any = stats.spearmanr(a[row].numpy()[where].ravel(), b[row].numpy()[where].ravel())
        assert float(found[row]) == pytest.approx(expected.statistic)
    assert math.isnan(float(found[2]))


def test_a_method_that_refuses_says_which_others_work(folder: Path) -> None:
    flat = tp.wrap(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), size=16, mean=0.0, std=1.0, labels=["bright", "dark"])
    with pytest.raises(TapetumError, match="other maps by method="):
        tp.compare(flat, flat, folder, layers=["0"])
    with pytest.raises(MethodError, match="makes no maps"):
        tp.compare(flat, flat, folder, method="deletion")


# --- units and groups


def test_units_are_matched_with_their_copies_whatever_their_order() -> None:
    x = torch.randn(60, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    found = match_units(("a", x), ("b", 3 * x[:, order] + 1), 0)
    assert found.matched == 12
    torch.testing.assert_close(found.correlations, torch.ones(12).double())
    assert all(int(order[b]) == int(a) for a, b in found.pairs)
    unrelated = torch.randn(60, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert match_units(("a", x), ("b", unrelated), 0).matched <= 3


def test_places_are_the_shares_of_nearer_pictures() -> None:
    line = torch.stack([torch.linspace(0, 1.5, 5).cos(), torch.linspace(0, 1.5, 5).sin()], 1).double()
    found = places(line - line.mean(0))
    assert (found.diagonal() == 0).all()
    torch.testing.assert_close(found, found.T)
    assert found[0].argsort().tolist()[0] == 0


def test_the_group_that_one_network_is_blind_to_comes_first() -> None:
    """Two factors decide the features of the first network, one of them those of the second: its group is that factor's."""
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(10):
        kind, color = (torch.randint(4, (120,), generator=generator) for _ in range(2))
        both = torch.cat([torch.eye(4)[kind], 2 * torch.eye(4)[color]], 1).double()
        a = both + 0.2 * torch.randn(120, 8, generator=generator)
        b = torch.eye(4)[kind].double() + 0.2 * torch.randn(120, 4, generator=generator)
        rows = list(split_groups(places(a), places(b), 1)[0].rows)
        hits += len(set(color[rows].tolist())) == 1 and len(set(kind[rows].tolist())) > 1
    assert hits >= 9


# --- bars


def test_the_bar_is_failed_as_often_as_it_says() -> None:
    """20,000 draws: the share of false alarms of the bar from six values lies within four standard errors of the level."""
    generator = np.random.default_rng(0)
    for level in (0.01, 0.05):
        values = generator.normal(0.8, 0.03, (20_000, 7))
        alarms = [row[-1] < next_value(row[:-1].tolist(), level) for row in values]
        assert fmean(alarms) == pytest.approx(level, abs=4 * math.sqrt(level / 20_000))
    row = [0.7, 0.75, 0.72, 0.8]
    assert next_probability(row, next_value(row, 0.03)) == pytest.approx(0.03)


def test_the_bar_of_given_networks_is_failed_as_often_as_it_says() -> None:
    """Maps that share what all networks see and differ by each network's own noise: one more network falls in one of twenty."""
    generator = torch.Generator().manual_seed(0)
    alarms = 0
    for _ in range(400):
        shared = torch.randn(1, 3, 6, 6, generator=generator)
        strength = 0.5 + 0.2 * torch.randn(6, 1, 1, 1, generator=generator).abs()  # networks differ in how noisy they are
        maps = list((shared + strength * torch.randn(6, 3, 6, 6, generator=generator)).double())
        found = given_null(maps[:5], ["net"] * 5, maps[5], 0.05)
        alarms += found.measured < found.bar
    assert 4 <= alarms <= 36  # 20 on average, to within four standard errors


def test_other_seeds_set_the_bar_and_a_network_that_looks_elsewhere_fails_it(folder: Path) -> None:
    others = [looking(1, share) for share in (0.45, 0.5, 0.55)]
    a, near, far = looking(1, 0.5), looking(1, 0.52), looking(0, 1)
    good, bad = (tp.compare(a, one, folder, null=others) for one in (near, far))
    assert good.below is False
    assert bad.below is True
    assert bad.null is not None
    assert bad.null.p_value < 0.01
    assert "looks elsewhere" in bad.verdict
    assert "more than another seed explains" in bad.verdict
    assert "as far as other seeds do" in good.verdict
    assert tp.compare(a, far, folder, below=0.5).below is True
    assert tp.compare(a, far, folder).below is None


def test_too_few_networks_of_other_seeds_are_refused(folder: Path) -> None:
    model = looking(1, 1)
    with pytest.raises(MethodError, match="at least 3 networks of other seeds, or 'twins', not 2"):
        tp.compare(model, model, folder, null=[model, model])


def test_twins_are_last_layers_where_the_features_are_the_same_and_else_whole_networks() -> None:
    data = tp.planted("shapes", 60, 16, classes=("disc", "cross"))
    a = tp.train(data, epochs=1, batch=16, size=32).model
    b = tp.fine_tune(a, data, epochs=1, batch=16).model
    found = tp.compare(a, b, data, null="twins", n=None)
    assert found.null is not None
    assert found.null.kind == "heads"
    assert len(found.null.values) == 6
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)).double()  # its answers depend on every pixel
    random = tp.wrap(net, size=16, mean=(0.5,) * 3, std=(0.2,) * 3, labels=list("abcde"))
    given: Any = {"null": "twins", "method": "input_x_gradient", "layers": ["1"]}
    changed = tp.untrained(random)
    with pytest.raises(MethodError, match=r"too few for a null: give more pictures, or networks of the same recipe"):
        tp.compare(random, changed, tp.planted("shapes", 24, 16), **given)
