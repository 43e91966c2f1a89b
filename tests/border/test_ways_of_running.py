"""How networks run their passes: images one by one, in another precision, without gradients, inside functions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import net, pictures, wrapped

import tapetum as tp
from tapetum.types import LayerError, MethodError

# --- a network that takes the images of a batch one by one


class InTurn(nn.Module):
    """The same network, run in a loop over the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.net(image[None]) for image in images])


CHEAP: dict[str, dict[str, Any]] = {
    "ss_cam": {"n_samples": 3}, "is_cam": {"n_steps": 2}, "rise": {"n_masks": 9, "cells": 3}, "opti_cam": {"n_steps": 3},
    "smooth_grad_cam_plus_plus": {"n_samples": 4}, "kernel_shap": {"n_samples": 24, "n_segments": 4}, "occlusion": {},
}  # fmt: skip


@pytest.mark.parametrize("method", [one.name for one in tp.methods() if one.kind == "attribution" and (
    one.name in CHEAP or one.family in ("cams", "contributions", "backprops"))])  # fmt: skip
def test_images_that_are_taken_one_by_one_have_the_maps_of_a_batch(method: str) -> None:
    """A layer has one image at a time there; a map of the last image is none of the first."""
    together, in_turn = wrapped(net("reused").eval()), wrapped(InTurn(net("reused").eval()))
    function, more = tp.lookup(method).function, CHEAP.get(method, {})
    images = pictures(3)
    wanted, found = function(together, images, [1, 0, 2], **more), function(in_turn, images, [1, 0, 2], **more)
    assert found.status == wanted.status
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-6, atol=1e-9)
    assert found.layer in (None, wanted.layer, f"net.{wanted.layer}")


def test_a_capture_of_images_that_are_taken_one_by_one_is_refused() -> None:
    model = wrapped(InTurn(net("reused").eval()))
    with tp.capture(model, "net.three") as acts:
        model(pictures(1))
    assert len(acts["net.three"]) == 1
    words = "net.three gives maps of 1 of the 2 images of a pass, since net takes them one by one: give one image, or batch=1"
    with pytest.raises(LayerError, match=words), tp.capture(model, "net.three"):
        model(pictures(2))
    assert tp.activation_maps(model, pictures(1), layers=["net.three"])


# --- precisions of a pass


class Coarse(nn.Module):
    """Runs as somebody's settings say: under autocast, or in inference mode."""

    def __init__(self, inside: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__()
        self.net, self.inside = net("reused").float(), inside

    def forward(self, images: Tensor) -> Tensor:
        with self.inside():
            return self.net(images)


def test_a_network_under_autocast_has_the_relevance_of_its_float32_up_to_rounding() -> None:
    """bfloat16 has 8 bits: parts of a hundredth after five operations; the ways back run outside of the user's block."""
    coarse = tp.wrap(Coarse(lambda: torch.autocast("cpu", torch.bfloat16)).eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    exact = tp.wrap(net("reused").float().eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    images = pictures(2).float()
    for method in (tp.lrp, tp.guided_backprop, tp.deconvnet, tp.grad_cam, tp.saliency):
        found, wanted = method(coarse, images, 1), method(exact, images, 1)
        assert found.status == wanted.status
        torch.testing.assert_close(found.values.float(), wanted.values, rtol=0, atol=0.1 * float(wanted.values.abs().max()))


@pytest.mark.parametrize("method", ["eigen_cam", "ablation_cam", "kpca_cam", "score_cam", "occlusion"])
def test_a_network_in_inference_mode_has_the_maps_of_the_same_outside(method: str) -> None:
    quiet = tp.wrap(Coarse(torch.inference_mode).eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    plain = tp.wrap(net("reused").float().eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    function = tp.lookup(method).function
    found, wanted = (function(model, pictures(2).float(), 1) for model in (quiet, plain))
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "make",
    [
        lambda model, image: tp.visualize(model, "net.three:1", n_steps=2, size=16),
        lambda model, image: tp.visualize(model, 1, n_steps=2, size=16),
        lambda model, image: tp.invert(model, image, layer="net.three", n_steps=2),
        lambda model, image: tp.deep_dream(model, image, layer="net.three", n_octaves=1, n_steps=2),
        lambda model, image: tp.caricature(model, image, layer="net.three", n_steps=2),
    ],
)
def test_no_picture_is_made_up_where_nothing_has_a_gradient(inside: Any, make: Callable[..., object]) -> None:
    model = tp.wrap(Coarse(inside).eval(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(MethodError, match=r"(net.three|the answer) of Coarse has no gradient towards the picture"):
        make(model, pictures(1).float())


def test_modules_that_only_run_inside_functions_are_no_layers() -> None:
    class Each(InTurn):
        def forward(self, images: Tensor) -> Tensor:
            return torch.func.vmap(lambda image: self.net(image[None])[0])(images)

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = [net("reused")]

        def forward(self, images: Tensor) -> Tensor:
            return torch.func.functional_call(self.inside[0], dict(self.inside[0].named_parameters()), (images,))

    images = pictures(2)
    wanted = tp.saliency(wrapped(net("reused").eval()), images, 1).values
    for build in (lambda: Each(net("reused")), Called):
        model = wrapped(build().eval())
        torch.testing.assert_close(tp.saliency(model, images, 1).values, wanted)
        with pytest.raises(LayerError, match=r"no layers|inside torch.func|no modules inside that compute"):
            tp.layer_table(model, images)
        with pytest.raises(LayerError):
            tp.visualize(model, "net.head.linear:1", n_steps=1)
