"""XRAI derived a second time, with sets of pixels: no peer of it is installed (PAIR's saliency)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.morphology import dilation, disk
from skimage.segmentation import felzenszwalb
from torch import Tensor
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.scores import forward_logits
from tapetum.families.gradients.regions import SCALES

pytestmark = pytest.mark.oracle

Pixel = tuple[int, int]


def regions_by_hand(pixels: np.ndarray, min_size: int, radius: int) -> list[set[Pixel]]:
    found = []
    for scale in SCALES:
        labels = felzenszwalb(2 * pixels.transpose(1, 2, 0) - 1, scale, 0.8, min_size)
        for label in np.unique(labels):
            grown = dilation((labels == label).astype(np.uint8), disk(radius))
            found.append({(int(row), int(column)) for row, column in np.argwhere(grown)})
    return found


def ranked_by_hand(amounts: np.ndarray, regions: list[set[Pixel]], min_new: int) -> np.ndarray:
    values, left = np.zeros_like(amounts), {tuple(place) for place in np.ndindex(amounts.shape)}

    def mean(places: set[Pixel]) -> float:
        return math.fsum(amounts[place] for place in places) / len(places)

    while True:
        open_ = [region & left for region in regions if len(region & left) >= min_new]
        if not open_:
            break
        best = max(open_, key=mean)
        for place in best:
            values[place] = mean(best)
        left -= best
    for place in left:
        values[place] = mean(left)
    return values


def images() -> Tensor:
    """In [0, 1], as the networks of the zoo have an identity for preprocessing."""
    return (0.25 * pictures(2) + 0.5).clamp(0, 1)


@pytest.mark.parametrize("radius", [0, 2])
@pytest.mark.parametrize("name", ["linear", "residual"])
def test_xrai_is_the_ranking_of_sets_of_pixels(name: str, radius: int) -> None:
    model, x = shared(name), images()
    paths = [tp.integrated_gradients(model, x, 1, n_steps=5, baseline=colour).values for colour in ("black", "white")]
    amounts = ((paths[0] + paths[1]) / 2).sum(1).numpy()
    ours = tp.xrai(model, x, 1, n_steps=5, min_size_px=8, min_new_px=5, dilation_px=radius).values
    for row in range(2):
        theirs = ranked_by_hand(amounts[row], regions_by_hand(x[row].numpy(), 8, radius), 5)
        assert len(np.unique(theirs)) > 3
        np.testing.assert_allclose(ours[row, 0], theirs, rtol=1e-9, atol=1e-12)


def test_xrai_sums_to_the_score_differences_and_the_best_region_has_the_largest_mean() -> None:
    model, x = shared("vit_mean"), images()
    ours = tp.xrai(model, x, 2, n_steps=40, min_size_px=8, min_new_px=5, dilation_px=1).values
    scores = [forward_logits(model, one)[:, 2] for one in (x, torch.zeros_like(x), torch.ones_like(x))]
    # a smooth network: 40 Gauss points are exact to far below this
    torch.testing.assert_close(ours.sum((1, 2, 3)), scores[0] - (scores[1] + scores[2]) / 2, rtol=1e-6, atol=1e-8)
