"""Laws that every metric of the registry obeys: a batch is its single images, nothing is touched, NaN has a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from sameness import same
from snapshots import assert_no_hooks, assert_same, snapshot
from torch import Tensor
from zoo import SIDE, pictures, shared

import tapetum as tp
from tapetum.registry import parameters, places
from tapetum.types import Attribution, Method

METRICS = list(tp.methods(kind="metric"))
TARGETS = [1, 3, 0]
N = len(TARGETS)


def cam(images: Tensor) -> Attribution:
    """Signed, coarse, and of a method that can be run again."""
    return tp.input_x_gradient(shared("residual"), images, TARGETS)


def masks() -> Tensor:
    found = torch.zeros(N, SIDE, SIDE, dtype=torch.bool)
    found[:, 3:9, 4:12] = True
    return found


def measured(metric: Method, images: Tensor, attribution: Attribution, inside: Tensor, **keywords: Any) -> Any:
    about = {"model": shared("residual"), "images": images, "attribution": attribution, "masks": inside}
    return metric.function(*(about[place] for place in places(metric)), **keywords)


def small(metric: Method) -> dict[str, Any]:
    """Fewer samples and seeds than usual, where there are any."""
    few = {"n_samples": 5, "n_steps": 4, "seeds": 2, "n_sizes": 2}
    return {one.name: few[one.name] for one in parameters(metric) if one.name in few}


@pytest.mark.bits
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_batch_is_its_single_images_to_the_last_bit(metric: Method) -> None:
    images, inside = pictures(N), masks()
    maps = cam(images)
    together = measured(metric, images, maps, inside, **small(metric))
    assert len(together) == N
    for row in range(N):
        alone = measured(metric, images[row : row + 1], maps[row], inside[row : row + 1], **small(metric))
        assert same(alone, together[row])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_leaves_model_images_and_map_as_they_were_and_repeats_itself(metric: Method) -> None:
    model, images = shared("residual"), pictures(N)
    maps = cam(images)
    before, pixels, values = snapshot(model.module), images.clone(), maps.values.clone()
    random = torch.get_rng_state()
    first = measured(metric, images, maps, masks(), **small(metric))
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)
    assert torch.equal(images, pixels)
    assert torch.equal(maps.values, values)
    assert torch.equal(torch.get_rng_state(), random)
    assert same(measured(metric, images, maps, masks(), **small(metric)), first)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_number_is_inside_its_limits_and_nan_has_its_reason(metric: Method) -> None:
    """A map of zeros, a constant one, and one with NaN beside a usual one."""
    images = pictures(4)
    usual = tp.input_x_gradient(shared("residual"), images, [1, 3, 0, 2])
    values = usual.values.clone()
    values[1], values[2], values[3, 0, 2, 2] = 0, 1, torch.nan
    status = ("ok", "constant", "constant", "non_finite")
    maps = replace(usual, values=values, status=status)
    inside = torch.cat([masks(), masks()[:1]])
    found = measured(metric, images, maps, inside, **small(metric))
    assert found.status[0] == "ok"
    assert found.status[3] == "non_finite"
    assert [one == "ok" for one in found.status] == (~found.value.isnan()).tolist()
    low, high = getattr(found, "limits", (0.0, 1.0))
    known = found.value[~found.value.isnan()]
    assert low is None or bool((known >= low - 1e-9).all())  # rounding
    assert high is None or bool((known <= high + 1e-9).all())
    assert found.value.ndim == 1
    assert "nan" not in str(found)
