"""Linear imputation: an equation for every hidden pixel, and pictures that it must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo import pictures

from tapetum.engines.perturb.imputation import imputed

SIDE = 9


def hidden(share: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_every_hidden_pixel_is_the_weighted_mean_of_its_neighbours(share: float) -> None:
    """Sides weigh 2, corners 1; at the border those inside count alone."""
    image, mask = pictures(1, SIDE)[0], hidden(share)
    made = imputed(image, mask).numpy()
    assert np.array_equal(made[:, ~mask.numpy()], image.numpy()[:, ~mask.numpy()])
    for y, x in mask.nonzero().tolist():
        near = [(y + a, x + b, 2 if a * b == 0 else 1) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
        inside = [(made[:, i, j], weight) for i, j, weight in near if 0 <= i < SIDE and 0 <= j < SIDE]
        mean = sum(weight * value for value, weight in inside) / sum(weight for _, weight in inside)
        np.testing.assert_allclose(made[:, y, x], mean, rtol=1e-9, atol=1e-12)


def test_a_slope_around_a_hole_goes_on_inside_it() -> None:
    down, across = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    slope = (2.0 * down - 0.5 * across + 1)[None].double()
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[2:7, 1:8] = True
    torch.testing.assert_close(imputed(slope, mask), slope)


def test_one_visible_pixel_fills_the_whole_picture_and_none_hidden_changes_nothing() -> None:
    image, mask = pictures(1, SIDE)[0], torch.ones(SIDE, SIDE, dtype=torch.bool)
    mask[4, 3] = False
    torch.testing.assert_close(imputed(image, mask), image[:, 4, 3][:, None, None].expand_as(image))
    assert torch.equal(imputed(image, torch.zeros_like(mask)), image)
