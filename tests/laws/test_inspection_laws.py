"""Laws that every inspection obeys, over registry x zoo: the model stays as it was, twice is the same, it is kept and drawn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from snapshots import assert_no_hooks, assert_same, snapshot
from together import holds
from torch import Tensor
from zoo import EARLY, pictures, shared, vision_model

import tapetum as tp
from tapetum.registry import lookup
from tapetum.types import TapetumError

METHODS = [method.name for method in tp.methods(kind="inspection")]
NETS = ("in_place", "functional", "residual", "channels_last", "vit_token", "as_dict", "branches")

QUICK: dict[str, Callable[[str], dict[str, Any]]] = {
    "concept_relevance": lambda name: {"layer": EARLY[name]},
}
"""Small settings, where the defaults are slow on the zoo's nets or their sizes do not fit."""


def asked(method: str, model: Any, name: str) -> Any:
    """The result on two images, or the refusal: some inspections are about convolutions, and not every net has one."""
    subject = () if lookup(method).takes == "model" else (pictures(2),)
    keywords = QUICK[method](name) if method in QUICK else {}
    try:
        return lookup(method).function(model, *subject, **keywords)
    except TapetumError as refusal:
        assert "\n" not in str(refusal)
        return refusal


@functools.cache
def usual(method: str, name: str) -> Any:
    """The same by the shared network, made once for all laws."""
    state = torch.get_rng_state()
    made = asked(method, shared(name), name)
    assert torch.equal(torch.get_rng_state(), state)
    return made


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a result, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for one in value for tensor in tensors(one)]
    return [] if not hasattr(value, "__dict__") else [tensor for one in vars(value).values() for tensor in tensors(one)]


def same(a: Any, b: Any) -> bool:
    pairs = list(zip(tensors(a), tensors(b), strict=True))
    return all(torch.equal(x.nan_to_num(nan=0.5), y.nan_to_num(nan=0.5)) for x, y in pairs)


@pytest.mark.parametrize("method", METHODS)
def test_it_answers_on_most_nets(method: str) -> None:
    refused = [name for name in NETS if isinstance(usual(method, name), TapetumError)]
    assert len(refused) <= len(NETS) // 2, refused


@pytest.mark.parametrize("method", METHODS)
def test_the_users_model_is_untouched_and_twice_is_the_same_also_where_gradients_are_off(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, state = vision_model(name), torch.get_rng_state()
        before = snapshot(model.module)
        with torch.inference_mode():
            again = asked(method, model, name)
        assert torch.equal(torch.get_rng_state(), state)
        assert_same(before, snapshot(model.module))
        assert_no_hooks(model.replica)
        made = usual(method, name)
        assert type(made) is type(again)
        assert isinstance(made, TapetumError) or tensors(made)
        assert isinstance(made, TapetumError) or same(made, again)

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_is_read_back(method: str, tmp_path: Path) -> None:
    def law(method: str, name: str) -> None:
        made = usual(method, name)
        if not isinstance(made, TapetumError):
            tp.save(made, tmp_path / name)
            back = tp.open(tmp_path / name)
            assert same(made, back)
            assert str(made) == str(back)

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", METHODS)
def test_it_draws_also_what_was_read_back(method: str, tmp_path: Path) -> None:
    made = usual(method, "residual")
    tp.save(made, tmp_path / "result")
    for one in made if isinstance(made, list) else [made]:
        assert tp.draw(one).get_axes()
    again = tp.open(tmp_path / "result")
    for one in again if isinstance(again, list) else [again]:
        assert tp.draw(one).get_axes()
