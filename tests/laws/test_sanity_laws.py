"""Laws of `sanity_check`, which randomises weights: on a copy, seeded, and without a trace, also when it is stopped."""

from __future__ import annotations

import pytest
import torch
from snapshots import assert_no_hooks, assert_same, snapshot
from zoo import pictures, vision_model

import tapetum as tp
from tapetum.progress import watching
from tapetum.types import Cancelled


@pytest.mark.parametrize("name", ["in_place", "functional", "channels_last", "vit_token", "branches"])
def test_the_users_model_is_untouched_and_twice_is_the_same(name: str) -> None:
    model, images = vision_model(name), pictures(2)
    before, state = snapshot(model.module), torch.get_rng_state()
    first, again = (tp.sanity_check(model, images, "saliency, smooth_grad", seeds=2, steps=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)
    assert str(first) == str(again)
    for a, b in zip(first.cascading.values(), again.cascading.values(), strict=True):
        assert torch.equal(a, b)


def test_a_check_that_is_stopped_leaves_the_users_model_as_it_was() -> None:
    model = vision_model("in_place")
    before = snapshot(model.module)
    with pytest.raises(Cancelled), watching(lambda event: not (event.unit == "networks" and event.done == 2)):
        tp.sanity_check(model, pictures(2), "saliency", seeds=3, steps=2)
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)
