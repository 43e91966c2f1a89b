"""The order that Adebayo et al. (2018) published, on a trained network: guided backprop hardly depends on its upper layers."""

from __future__ import annotations

import pytest

import tapetum as tp
from tapetum.data.sources import PHOTOGRAPHS, packaged_photo
from tapetum.types.sanity import DEPENDS, UPPER


@pytest.mark.weights
@pytest.mark.slow
def test_guided_backprop_hardly_changes_under_random_upper_layers_gradient_and_grad_cam_do() -> None:
    model = tp.load("efficientnet_lite0")
    images = model.preprocess([packaged_photo(name) for name in PHOTOGRAPHS])
    found = tp.sanity_check(model, images, "saliency, guided_backprop, grad_cam", seeds=3, steps=4)
    assert found.verdicts == (DEPENDS, UPPER, DEPENDS)
    (mean, error), upper = found.curve(), found.upper
    high, low = mean + found.margin * error, mean - found.margin * error
    gradient, guided, cam = range(3)
    for depth in range(upper):  # the first steps of the cascade: their 95 % intervals lie apart
        assert low[guided, depth] > max(high[gradient, depth], high[cam, depth])
    # measured with these four photographs: .957 +- .001, .355 +- .002, -.016 +- .041, and .360 +- .007
    assert low[guided, upper - 1] > 0.9
    assert high[gradient, upper - 1] < 0.45
    assert high[cam, upper - 1] < 0.3
    assert high[guided, -1] < 0.5  # with all layers random even guided backprop notices
    assert found.on_class[1:] == ("hardly depends on the class", "depends on the class")
