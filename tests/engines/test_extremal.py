"""Extremal perturbation: the parts by their definitions, and masks whose place and area are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.perturb.fills import gaussian_blurred
from tapetum.families.perturbations.smooth_masks import SmoothMask, area_reference, blur_pyramid

LIKE = torch.zeros((), dtype=torch.float64)


def test_a_mask_is_the_smooth_maximum_of_bumps_by_loops() -> None:
    height, width, step, sigma = 10, 13, 3, 5.0
    mask = SmoothMask(height, width, step, sigma, LIKE)
    assert (mask.rows, mask.columns) == (4, 5)
    controls = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = mask.cut(mask(controls))[0, 0]
    assert made.shape == (height, width)
    reach = 1 + math.ceil(sigma / step)
    for y, x in ((0, 0), (4, 7), (9, 12), (5, 0)):
        values = []
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                row, column = y // step + dy, x // step + dx
                inside = 0 <= row < 4 and 0 <= column < 5
                control = float(controls[0, 0, row, column]) if inside else 0.0
                distance = math.hypot(y - step * row, x - step * column)
                values.append(control * math.exp(-2 * max(0.0, distance / sigma - 0.5) ** 2))
        powers = [math.exp(20 * value) for value in values]
        expected = sum(v * p for v, p in zip(values, powers, strict=True)) / sum(powers)
        assert float(made[y, x]) == pytest.approx(expected, rel=1e-12)


def test_a_single_control_is_a_flat_bump_that_falls_off() -> None:
    mask = SmoothMask(41, 41, 4, 8.0, LIKE)
    controls = torch.zeros(1, 1, 11, 11, dtype=torch.float64)
    controls[0, 0, 5, 5] = 1
    made = mask.cut(mask(controls))[0, 0]
    assert made[20, 20] > 0.99
    assert (made[20, 16:25] > 0.99).all()  # flat up to half a sigma
    assert (made[20, 20:27].diff() <= 1e-12).all()
    assert made[0, 0] == 0


def test_the_reference_of_an_area_is_that_of_sorting() -> None:
    """As the paper has it: sort the mask, compare with zeros and then ones; here, in the mask's own order."""
    whole = torch.rand(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).round(decimals=1)
    whole += 0.05 * torch.arange(50).remainder(5) - 0.1  # values 0.05 apart, several of each
    kept = 12
    wanted = area_reference(whole, kept)
    for values, reference in zip(whole, wanted, strict=True):
        assert float(reference.sum()) == pytest.approx(kept, abs=1e-9)
        ordered = values.sort()
        ideal = torch.cat([torch.zeros(50 - kept), torch.ones(kept)]).double()
        ours, theirs = (values - reference).square().sum(), (ordered.values - ideal).square().sum()
        tied = (values - ordered.values[50 - kept]).abs() < 0.01
        assert torch.equal(reference[~tied], (values > ordered.values[50 - kept]).double()[~tied])
        assert len(reference[tied].unique()) == 1
        assert ours <= theirs + 1e-12  # sharing a place never costs more than taking one of those that tie


def test_the_pyramid_goes_from_the_image_to_its_largest_blur() -> None:
    x = pictures(1)
    through = blur_pyramid(x, 4.0)
    full = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(through(full), x)
    torch.testing.assert_close(through(0 * full), gaussian_blurred(x, 4.0))
    third, fourth = gaussian_blurred(x, 4.0 * (1 - 3 / 7)), gaussian_blurred(x, 4.0 * (1 - 4 / 7))
    torch.testing.assert_close(through(full * 3.25 / 7), 0.75 * third + 0.25 * fourth)


class Spot(nn.Module):
    """A thousand times the share of light in a square, rows 5 to 12 and columns 14 to 21 of 32."""

    def forward(self, x: Tensor) -> Tensor:
        inside = x[:, 0, 5:13, 14:22].mean((1, 2))
        return torch.stack([torch.zeros_like(inside), 30 * inside], 1)


@pytest.mark.parametrize("variant", ["preserve", "delete", "dual"])
def test_the_mask_covers_the_only_place_that_counts_with_the_area_asked_for(variant: str) -> None:
    model = tp.wrap(Spot(), size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    white = torch.ones(1, 3, 32, 32)
    result = tp.extremal_perturbation(model, white, 1, area=0.15, variant=variant, n_steps=400, fill="black")
    mask = result.values[0, 0]
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert float(mask.mean()) == pytest.approx(0.15, abs=0.06)  # bumps of 3 px do not tile an area exactly
    assert mask[6:12, 15:21].mean() > 0.9
    assert mask.mean() < 3 * 0.15 * mask[5:13, 14:22].mean()


def test_what_hides_is_a_blur_unless_a_fill_is_given() -> None:
    x, model = pictures(1), shared("functional")
    own, black = (tp.extremal_perturbation(model, x, 1, n_steps=3, fill=fill).values for fill in (None, "black"))
    assert not torch.allclose(own, black)
    both = tp.extremal_perturbation(wrapped(shared("functional").module), x, 1, n_steps=3, fill=torch.zeros(3, 16, 16))
    assert torch.isfinite(both.values).all()
