"""Quantus 0.6.0: metrics of a map's form and of masks, on magnitudes or on maps as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import quantus
import torch
from torch import Tensor
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.families.metrics.mosaics import mosaics
from tapetum.types import Attribution

pytestmark = pytest.mark.oracle

QUIET: dict[str, Any] = {"disable_warnings": True, "normalise": False}
SIDE, N = 24, 5


def values() -> Tensor:
    return torch.randn(N, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def masks() -> Tensor:
    found = torch.rand(N, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.2
    return found | (torch.arange(SIDE) < 3)


def maps() -> Attribution:
    return Attribution(values()[:, None], "by_hand", ("ok",) * N, ("a",) * N, size=(SIDE, SIDE))


def sizes() -> np.ndarray:
    return values().abs().numpy()[:, None]


def test_sparseness_is_that_of_quantus_but_for_its_small_number() -> None:
    """Quantus adds 1e-7 to every magnitude, here of the order of 1."""
    theirs = quantus.Sparseness(**QUIET).evaluate_batch(x_batch=sizes(), a_batch=sizes())
    np.testing.assert_allclose(tp.sparseness(maps()).value.numpy(), theirs, rtol=1e-6)


def test_complexity_is_that_of_quantus_but_for_its_small_number() -> None:
    """Quantus adds 1e-12 inside the logarithm, here of shares of about 1e-3."""
    theirs = quantus.Complexity(**QUIET).evaluate_batch(x_batch=sizes(), a_batch=sizes())
    np.testing.assert_allclose(tp.complexity(maps()).value.numpy(), theirs, rtol=1e-8)


def test_effective_complexity_is_that_of_quantus_with_maps_scaled_to_a_maximum_of_one() -> None:
    """Quantus scales by the maximum of the whole batch; here every map by its own."""
    scaled = sizes() / sizes().max((1, 2, 3), keepdims=True)
    for least in (1e-5, 0.3):
        theirs = quantus.EffectiveComplexity(eps=least, **QUIET).evaluate_batch(a_batch=scaled.copy())
        assert tp.effective_complexity(maps(), least=least).value.tolist() == list(theirs)


def test_top_k_and_auc_are_those_of_quantus() -> None:
    inside = masks().numpy()[:, None]
    top = quantus.TopKIntersection(k=50, **QUIET).evaluate_batch(a_batch=values().numpy()[:, None], s_batch=inside)
    np.testing.assert_allclose(tp.top_k_intersection(maps(), masks(), k=50).value.numpy(), top)
    auc = quantus.AUC(**QUIET).evaluate_batch(a_batch=values().numpy()[:, None], s_batch=inside)
    np.testing.assert_allclose(tp.localization_auc(maps(), masks()).value.numpy(), auc, rtol=1e-12)


def test_auc_of_equal_pixels_is_that_of_quantus_too() -> None:
    coarse = (values() * 2).round()
    ours = Attribution(coarse[:, None], "by_hand", ("ok",) * N, ("a",) * N, size=(SIDE, SIDE))
    theirs = quantus.AUC(**QUIET).evaluate_batch(a_batch=coarse.numpy()[:, None], s_batch=masks().numpy()[:, None])
    np.testing.assert_allclose(tp.localization_auc(ours, masks()).value.numpy(), theirs, rtol=1e-12)


def test_focus_of_a_mosaics_map_is_that_of_quantus() -> None:
    model, images = shared("residual"), pictures(1)
    maps = tp.input_x_gradient(model, images, [1])
    strangers = pictures(3)[1:]
    found = tp.focus(model, images, maps, others=strangers)
    lowest = as_score(model, strangers, 1)(strangers).argsort()
    made, _ = mosaics(images, strangers[lowest])
    heat = tp.input_x_gradient(model, made, 1).heatmap().numpy()[:, None]
    positions = np.array([[1, 0, 0, 1], [0, 1, 1, 0]])  # of the class: upper left, upper right, lower left, lower right
    theirs = quantus.Focus(**QUIET).evaluate_batch(a_batch=heat, c_batch=positions)
    np.testing.assert_allclose(found.parts["share"][0].numpy(), theirs, rtol=1e-6)
