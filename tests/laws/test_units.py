"""A unit inside any network of the zoo is a target for every method that sends something back from the score."""

from __future__ import annotations

import pytest
import torch
from tables import METHODS, QUICK, REFUSED
from together import holds
from torch import Tensor
from zoo import EARLY, pictures, shared

import tapetum as tp
from tapetum.registry import lookup
from tapetum.types import MethodError

BACKWARD = [name for name in METHODS if lookup(name).family in ("gradients", "contributions", "backprops")]

LAYERS = {
    "linear_conv": "0",
    "in_place": "features.5",
    "functional": "three",
    "reused": "three",
    "residual": "second",
    "channels_last": "second",
    "vit_token": "blocks.1",
    "vit_mean": "blocks.0",
    "as_dict": "net.three",
    "branches": "last",
}
"""A layer of each: in front of an in-place or a functional ReLU, a block that adds in place, channels last, tokens."""


def maps(name: str, x: Tensor) -> Tensor:
    """What the layer of the user's own module gives, (n, c, h, w), by a hook; a class token is left out."""
    module, seen = shared(name).module, []
    training = module.training
    handle = module.get_submodule(LAYERS[name]).register_forward_hook(lambda _m, _args, out: seen.append(out.clone()))
    try:
        module.eval()(x)
    finally:
        handle.remove()
        module.train(training)
    return seen[0] if seen[0].ndim == 4 else seen[0][:, -16:].transpose(1, 2).unflatten(2, (4, 4))


def units(name: str) -> list[tp.Unit]:
    """Of each image's channel with the largest mean, the mean; and of the second image its largest place."""
    found = maps(name, pictures(2)).detach()
    channels = found.mean((2, 3)).argmax(1).tolist()
    row, column = divmod(int(found[1, channels[1]].argmax()), found.shape[3])
    return [tp.Unit(LAYERS[name], channels[0]), tp.Unit(LAYERS[name], channels[1], (row, column))]


@pytest.mark.parametrize("method", BACKWARD)
def test_a_unit_is_explained_or_refused_in_one_line(method: str) -> None:
    def law(method: str, name: str) -> None:
        # the layer of the class lies behind the unit; one branch alone may have nothing that speaks for it
        layer = {"layer": "stem" if name == "branches" else EARLY[name]} if method == "guided_grad_cam" else {}
        try:
            result = lookup(method).function(shared(name), pictures(2), units(name), **QUICK.get(method, {}), **layer)
        except MethodError as refusal:
            assert "\n" not in str(refusal)
            assert (method, name) in REFUSED  # as for a class: without ReLUs, without a bend
            return
        assert (method, name) not in REFUSED
        assert result.status == ("ok", "ok")
        assert torch.isfinite(result.values).all()
        assert result.explains == tuple(units(name))

    holds(law, [(method, name) for name in LAYERS])


@pytest.mark.parametrize("name", LAYERS)
def test_saliency_of_a_unit_is_the_gradient_that_a_hook_gives(name: str) -> None:
    x, (mean, place) = pictures(2).requires_grad_(), units(name)
    found = maps(name, x)
    assert place.position is not None
    (expected,) = torch.autograd.grad(found[0, mean.channel].mean() + found[1, place.channel][place.position], x)
    assert expected.abs().max() > 0
    # float64, the same operations; the private copy has no in-place ones
    torch.testing.assert_close(tp.saliency(shared(name), x.detach(), [mean, place]).values, expected.abs(), rtol=1e-12, atol=0)
