"""Grad-CAM step by step: every number against a closed form, and against grad_cam."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from zoo import NETS, net, pictures, shared, wrapped

import tapetum as tp
from tapetum.types import GradCamSteps, LayerError, TapetumError


@pytest.mark.parametrize("name", [name for name in NETS if name != "linear"])
def test_the_sum_is_grad_cams_map_by_a_path_of_its_own(name: str) -> None:
    images = pictures(2)
    steps = tp.grad_cam_steps(shared(name), images, [1, 3], rival=2)
    assert steps.targets == (("class 1", "class 2"), ("class 3", "class 2"))
    assert steps.difference is not None
    assert float(steps.difference.max()) < 1e-12  # float64 through a few layers
    for column, target in enumerate(([1, 3], 2)):
        torch.testing.assert_close(steps.total[:, column : column + 1], tp.grad_cam(shared(name), images, target).values)


def test_the_parts_that_are_shown_sum_to_the_total() -> None:
    steps = tp.grad_cam_steps(shared("residual"), pictures(2), rival=0, k=3)
    torch.testing.assert_close(steps.weighted.sum(2) + steps.rest, steps.total)
    assert steps.weights.shape == (2, 2, 8)
    amounts = (steps.weights[:, :, :, None, None] * _maps(steps.layer)[:, None]).abs().sum((3, 4)).amax(1)
    for row in range(2):  # no other channel adds more than the ones that are kept
        kept = steps.channels[row].tolist()
        assert amounts[row, kept].min() >= amounts[row, [i for i in range(8) if i not in kept]].max()


def _maps(layer: str) -> torch.Tensor:
    with torch.no_grad(), tp.capture(shared("residual"), layer) as acts:
        shared("residual")(pictures(2))
    return acts[layer]


def test_gradients_on_a_network_with_a_closed_form() -> None:
    """conv -> mean -> linear: dS/dA_k is w_k / (h w) at every place."""
    module = net("linear_conv")
    steps = tp.grad_cam_steps(wrapped(module), pictures(), 3, layer="0", k=6)
    weights = module[3].weight[3].detach()  # pyright: ignore[reportIndexIssue]
    assert steps.channels.tolist() == [list(range(6))]  # all of them, in their own order
    assert steps.gradients is not None
    torch.testing.assert_close(steps.gradients[0, 0], (weights / 256)[:, None, None].expand(6, 16, 16))
    torch.testing.assert_close(steps.total[0, 0], torch.einsum("k,khw->hw", weights / 256, steps.activations[0]))
    assert float(steps.rest.abs().max()) < 1e-15


def test_the_same_activations_with_other_weights_make_the_map_of_another_class() -> None:
    one, two = (tp.grad_cam_steps(shared("in_place"), pictures(), target, k=8) for target in (0, 1))
    assert torch.equal(one.activations, two.activations)
    assert not torch.allclose(one.weights, two.weights)


def test_the_heatmap_is_the_one_of_grad_cam() -> None:
    steps = tp.grad_cam_steps(shared("branches"), pictures())
    torch.testing.assert_close(steps.heatmap[:, 0], tp.grad_cam(shared("branches"), pictures()).heatmap())


def test_refusals_are_those_of_grad_cam() -> None:
    with pytest.raises(LayerError):
        tp.grad_cam_steps(shared("linear"), pictures())
    with pytest.raises(TapetumError, match="class 9"):
        tp.grad_cam_steps(shared("residual"), pictures(), rival=9)
    with pytest.raises(TapetumError, match="runs after the target"):
        tp.grad_cam_steps(shared("residual"), pictures(), tp.Unit("stem", 0), layer="second")


def test_figures_hold_all_parts_and_what_was_printed() -> None:
    maps = [[[1, 0], [0, 2]], [[0, 3], [1, 0]], [[2, 0], [0, 1]]]
    by_hand = tp.show(tp.grad_cam_by_hand(maps, [[0.8, 0.1, 0.5], [-0.6, 0.9, 0.1]]))
    numbers = {text.get_text() for axes in by_hand.get_axes() for text in axes.texts}
    assert {"+0.8", "-0.6", "2.7", "1.8", "2.1", "-1.1"} <= numbers
    assert "-0" not in numbers
    steps = tp.grad_cam_steps(shared("residual"), pictures(4), rival=2, k=2)
    figure = tp.show(steps)
    titles = [axes.get_title(loc="left") for axes in figure.get_axes()]
    assert sum(title == "6 others" for title in titles) == 3 * 2  # three images are shown, each with two classes
    assert any("3 of 4 images" in text.get_text() for text in figure.texts)


@pytest.mark.weights
def test_two_classes_on_a_mosaic_of_two_photographs() -> None:
    from skimage.data import chelsea, coffee

    model = tp.load("efficientnet_lite0")
    halves = [F.interpolate(tp.read_image(one()), (224, 112), mode="area") for one in (chelsea, coffee)]
    images = model.preprocess(torch.cat(halves, 3))
    steps = tp.grad_cam_steps(model, images, "tiger cat", rival="espresso")
    assert isinstance(steps, GradCamSteps)
    assert steps.difference is not None
    assert float(steps.difference.max()) < 1e-4  # float32, through the whole network
    share = steps.heatmap[0, :, :, :112].sum((1, 2)) / steps.heatmap[0].sum((1, 2))
    assert share[0] > 0.7  # 0.80 of the map of the cat lies on the cat's half
    assert share[1] < 0.3  # 0.22 of that of the cup
