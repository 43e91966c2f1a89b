"""Pictures that lie: a network with two paths to a unit, one of which photographs never open, in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lies import SIDE, dull_photographs, two_paths
from PIL import Image

import tapetum as tp
from tapetum.engines.render import objectives as o
from tapetum.families.checking import OTHERS, OWN, Drives, against_the_rest, drivers, layers_before, path_checks, pool_of
from tapetum.types import ImageError, MethodError


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dull_photographs(tmp_path_factory.mktemp("photographs"))


def picture(red: float = 0, green: float = 0, blue: float = 0) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).repeat(1, 1, SIDE, SIDE)


def checked(photographs: Path, unit: int, pixels: torch.Tensor, **more: Any) -> Any:
    given = {"negative": False, "batch": "auto", "seed": 0, **more}
    (found,) = path_checks(two_paths(), [o.channel("2", unit)], pixels, photographs, **given)
    return found


def test_a_picture_by_the_path_that_photographs_never_open_is_flagged(photographs: Path) -> None:
    found = checked(photographs, 0, picture(red=1, blue=1))
    assert found.share == pytest.approx(1 / (1 + 10 * 0.3))  # red gives 1, blue 10 times what lies above .7
    assert (found.lowest, found.highest) == (pytest.approx(1), pytest.approx(1))
    assert found.p_value == pytest.approx(1 / (OTHERS + 1))
    assert found.flagged
    assert found.layer == "1"
    assert "does not show what the unit looks for" in str(found)
    assert "only 25% of its drive runs through the channels of 1 that the unit's photographs use" in str(found)


def test_pictures_may_have_another_size_than_photographs(photographs: Path) -> None:
    large = picture(red=1, blue=1).repeat(1, 1, 2, 2)
    assert str(checked(photographs, 0, large)) == str(checked(photographs, 0, picture(red=1, blue=1)))


def test_units_are_checked_together_as_alone(photographs: Path) -> None:
    units, pictures = [0, 1, 0], torch.cat([picture(red=1, blue=1), picture(green=1), picture(red=1, blue=0.75)])
    goals = [o.channel("2", unit) for unit in units]
    many = path_checks(two_paths(), goals, pictures, photographs, negative=False, batch="auto", seed=0)
    assert [str(one) for one in many] == [
        str(checked(photographs, unit, one)) for unit, one in zip(units, pictures.split(1), strict=True)
    ]


def test_the_picture_of_an_honest_unit_is_seen_like_photographs(photographs: Path) -> None:
    found = checked(photographs, 1, picture(green=1))
    assert found.share == pytest.approx(1)
    assert not found.flagged
    assert str(found).startswith("2:1: the picture drives the unit as photographs do: 100% of its drive")


def test_a_lie_that_is_less_than_half_of_the_drive_is_told_and_not_flagged(photographs: Path) -> None:
    found = checked(photographs, 0, picture(red=1, blue=0.75))
    assert found.share == pytest.approx(1 / 1.5)
    assert not found.flagged


def test_where_nothing_drives_the_unit_nothing_is_said(photographs: Path) -> None:
    found = checked(photographs, 1, picture(), negative=True)
    assert found.share != found.share
    assert not found.flagged
    assert "cannot be compared" in str(found)


def test_an_image_shares_all_of_its_drive_with_itself_and_none_with_other_channels() -> None:
    drives = Drives({"a": torch.tensor([[3.0, 1, -7], [0, 0, 2], [3, 1, 0]])})
    assert drives.shares("a", torch.tensor([0])).tolist() == [1, 0, 1]
    assert drives.shares("a", torch.tensor([0, 1])).tolist() == [0.5, 0.5, 0.5]


def test_each_share_is_compared_with_the_lowest_of_the_others() -> None:
    assert against_the_rest(torch.tensor([0.2, 0.8, 0.4])).tolist() == pytest.approx([0.5, 4, 2])


def test_the_photographs_of_other_units_are_none_of_the_units_own() -> None:
    peaks = torch.rand(50, 6, generator=torch.Generator().manual_seed(1))
    own, others = drivers(peaks, 2, pool_of(peaks, 0))
    assert own == peaks[:, 2].topk(OWN).indices.tolist()
    assert len(set(others)) == OTHERS
    assert not set(own) & set(others)
    assert set(peaks.argmax(0).tolist()) <= {*own, *others}


def test_channels_are_compared_at_activations_before_the_unit() -> None:
    assert layers_before(two_paths(), "2") == ["1"]
    with pytest.raises(MethodError, match="check a unit of a deeper layer"):
        layers_before(two_paths(), "0")


def test_visualize_keeps_a_check_for_each_picture(photographs: Path, tmp_path: Path) -> None:
    made = tp.visualize(two_paths(), ["2:0", "2:1"], size=SIDE, n_steps=4, check=True, source=photographs)
    assert [one.unit for one in made.checks] == ["2:0", "2:1"]
    assert made[1].checks == made.checks[1:]
    assert str(made.checks[0]) in str(made)
    tp.save(made, tmp_path / "made")
    assert tp.open(tmp_path / "made").checks == made.checks
    assert torch.equal(made.pixels, tp.visualize(two_paths(), ["2:0", "2:1"], size=SIDE, n_steps=4).pixels)


def test_a_check_is_refused_where_it_cannot_be_made(photographs: Path, tmp_path: Path) -> None:
    def ask(units: Any, **given: Any) -> None:
        tp.visualize(two_paths(), units, size=SIDE, n_steps=1, **given)

    with pytest.raises(MethodError, match="give source=, a folder of photographs"):
        ask("2:0", check=True)
    with pytest.raises(MethodError, match="source= is for check=True"):
        ask("2:0", source=photographs)
    with pytest.raises(MethodError, match="pictures of single units"):
        ask(1, check=True, source=photographs)
    with pytest.raises(MethodError, match="pictures of single units"):
        ask("2:0 + 2:1", check=True, source=photographs)
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "one.png")
    with pytest.raises(ImageError, match="has 1 pictures: a check needs 28"):
        ask("2:0", check=True, source=tmp_path)
