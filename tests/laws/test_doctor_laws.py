"""The doctor leaves its patient as it was, on every network of the zoo, and says the same twice."""

from __future__ import annotations

import pytest
import torch
from snapshots import assert_no_hooks, assert_same, snapshot
from zoo import NETS, pictures, vision_model

import tapetum as tp


@pytest.mark.parametrize("name", NETS)
def test_the_users_model_is_untouched_and_the_doctor_says_the_same_twice(name: str) -> None:
    model, state = vision_model(name), torch.get_rng_state()
    model.module.train()
    before = snapshot(model.module)
    found = tp.doctor(model, pictures(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)
    assert str(tp.doctor(model, pictures(3))) == str(found)
    assert {one.severity for one in found.findings} <= {"note", "warning"}
    assert {one.name for one in found.serious} <= {"training_mode", "no_places"}
