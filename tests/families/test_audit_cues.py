"""The edits of an audit change what they say, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import tapetum as tp
from tapetum.families.audits.cues import CUES, corners_of, frame_of, move_color, move_sides, sides_of, turned
from tapetum.families.audits.material import Material, coarse, material
from tapetum.families.audits.objects import standing_out
from tapetum.families.audits.plates import plates

SET = tp.planted("objects", n=24, size=48, classes=("house", "fish", "car"), seed=4)
MADE = material(SET.pixels, SET.masks, 0)
TO, GIVEN = torch.arange(24), torch.arange(24).roll(1)


def test_frame_corners_and_sides_share_no_pixel_and_leave_the_middle() -> None:
    for size in ((48, 48), (60, 40)):
        parts = [frame_of(size), corners_of(size), sides_of(size)]
        assert sum(part.int() for part in parts).max() == 1  # pyright: ignore[reportAttributeAccessIssue]
        assert not any(part[size[0] // 2, size[1] // 2] for part in parts)
        assert not (frame_of(size) & frame_of(size, inner=True)).any()
        for part in parts:
            assert torch.equal(part, part.flip(0))
            assert torch.equal(part, part.flip(1))


@pytest.mark.parametrize("kind", ["border", "watermark"])
def test_a_place_comes_from_the_giver_and_all_else_stays(kind: str) -> None:
    where = {"border": frame_of, "watermark": corners_of}[kind]((48, 48))
    made = CUES[kind].move(MADE, TO, GIVEN)
    assert torch.equal(made[:, :, where], SET.pixels[GIVEN][:, :, where])
    assert torch.equal(made[:, :, ~where], SET.pixels[:, :, ~where])


@pytest.mark.parametrize("kind", ["border", "watermark", "color", "tint", "sharpness"])
def test_a_cue_of_the_picture_itself_changes_nothing(kind: str) -> None:
    # turning by 0 and dividing by itself cost a few roundings of float32
    torch.testing.assert_close(CUES[kind].move(MADE, TO, TO), SET.pixels, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["color", "texture"])
def test_the_look_of_an_object_leaves_its_surroundings(kind: str) -> None:
    made = CUES[kind].move(MADE, TO, GIVEN)
    outside = ~SET.masks[:, None].expand_as(made)
    assert torch.equal(made[outside], SET.pixels[outside])
    assert (made - SET.pixels)[~outside].abs().mean() > 0.02


def test_the_background_keeps_the_object_and_the_frame() -> None:
    made = CUES["background"].move(MADE, TO, GIVEN)
    kept = (SET.masks | frame_of((48, 48)))[:, None].expand_as(made)
    assert torch.equal(made[kept], SET.pixels[kept])
    assert (made - SET.pixels)[~kept].abs().mean() > 0.05


def test_a_turn_by_a_third_of_the_circle_exchanges_the_channels() -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    third = torch.full((2,), 2 * math.pi / 3, dtype=torch.float64)
    torch.testing.assert_close(turned(x, third), x[:, [2, 0, 1]])  # red becomes green, green blue
    grey = x[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(turned(grey, third), grey)
    torch.testing.assert_close(turned(x, third).mean(1), x.mean(1))


def test_a_moved_hue_is_that_of_the_giver() -> None:
    """Objects of one colour: after the move, the mean colour points where the giver's does, as far as nothing is clipped."""
    masks = torch.zeros(2, 12, 12, dtype=torch.bool)
    masks[:, 3:9, 3:9] = True
    pixels = torch.full((2, 3, 12, 12), 0.5)
    pixels[0][:, masks[0]] = torch.tensor([0.6, 0.4, 0.4])[:, None]
    pixels[1][:, masks[1]] = torch.tensor([0.4, 0.4, 0.6])[:, None]
    made = move_color(Material(pixels, masks, pixels, pixels[:, :1]), torch.tensor([0]), torch.tensor([1]))
    torch.testing.assert_close(made[0][:, 5, 5], torch.tensor([0.4, 0.4, 0.6]))


def test_plates_hold_nothing_of_the_object() -> None:
    pixels, masks = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 0.3, SET.masks[:3]
    pixels = torch.where(masks[:, None], torch.tensor(1.0), pixels)
    made = plates(pixels, masks, 0)
    assert made.max() <= 0.3 + 1e-6
    assert abs(float(made.mean()) - 0.15) < 0.02  # the mean of the background; a patch of 8 x 8 has an error of .01


def test_a_surface_has_the_waves_of_its_object_and_no_other() -> None:
    line = torch.arange(48) / 48
    stripes = 0.5 + 0.3 * torch.sin(2 * math.pi * 12 * line).expand(3, 48, 48)
    masks = torch.zeros(2, 48, 48, dtype=torch.bool)
    masks[:, 12:36, 12:36] = True
    pixels = torch.stack([stripes, stripes.transpose(-1, -2)])
    power = torch.fft.fft2(material(pixels, masks, 0).surfaces[:, 0].double()).abs().square()
    share = power / power.sum((1, 2), keepdim=True)
    near = range(9, 16)  # the taper widens a line of 12 waves by three to each side
    across = share[0][:4, near].sum() + share[0][-3:, near].sum()
    down = share[1][near][:, :4].sum() + share[1][near][:, -3:].sum()
    assert min(across, down) > 0.4  # half of the power; the other half lies at the mirrored waves
    assert share[0][near][:, :4].sum() < 0.02


def test_surfaces_have_unit_spread_and_a_coarse_mean_ignores_what_is_outside() -> None:
    torch.testing.assert_close(MADE.surfaces.flatten(1).std(1), torch.ones(24), atol=1e-3, rtol=0)
    x = torch.zeros(1, 1, 20, 20)
    x[..., 10:] = 5.0
    mask = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    mask[..., :10] = True
    assert coarse(x, mask)[mask].abs().max() == 0


def overlap(a: Tensor, b: Tensor) -> float:
    return float(((a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)).mean())


@pytest.mark.parametrize("shortcut", [None, "background", "watermark", "border"])
def test_what_stands_out_is_the_object(shortcut: str | None) -> None:
    some = tp.planted("objects", n=40, size=48, shortcut=shortcut, rate=1.0, seed=6)
    assert overlap(standing_out(some.pixels), some.masks) > 0.6


def test_nothing_stands_out_of_an_even_picture() -> None:
    assert not standing_out(torch.full((1, 3, 40, 60), 0.4)).any()


def test_sides_are_the_other_half_of_the_band() -> None:
    made = move_sides(MADE, TO, GIVEN)
    where = sides_of((48, 48))
    assert torch.equal(made[:, :, where], SET.pixels[GIVEN][:, :, where])
