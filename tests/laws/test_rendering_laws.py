"""Laws that every method that makes pictures obeys, over registry x zoo."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from snapshots import assert_no_hooks, assert_same, differences, hooks, snapshot
from together import holds
from torch import Tensor
from zoo import EARLY, pictures, shared, vision_model

import tapetum as tp
from tapetum.progress import Progress
from tapetum.registry import live, lookup, parameters
from tapetum.types import Cancelled, Rendering

METHODS = [method.name for method in tp.methods(kind="rendering")]
NETS = ("in_place", "functional", "residual", "channels_last", "vit_token", "as_dict", "branches")


def coarsest(name: str) -> str:
    """The map with the fewest places, but more than one."""
    mapped = [layer for layer in shared(name).layers() if layer.grid is not None and min(layer.grid) > 1]
    return min(mapped, key=lambda layer: layer.grid[0] * layer.grid[1]).name


QUICK: dict[str, Callable[[str], dict[str, Any]]] = {
    "visualize": lambda name: {"n_steps": 3, "size": 16},
    "neuron_interaction": lambda name: {"n_steps": 2, "size": 16},
    "interpolate": lambda name: {"n_steps": 2, "size": 16, "n_images": 3},
    "invert": lambda name: {"layer": EARLY[name], "n_steps": 3},
    "information_by_depth": lambda name: {"layers": EARLY[name], "n_steps": 2},
    "filter_specialization": lambda name: {"layers": EARLY[name], "n_steps": 2, "k": 2, "size": 16},
    "caricature": lambda name: {"layer": EARLY[name], "n_steps": 3},
    "activation_grid": lambda name: {"layer": coarsest(name), "n_steps": 1, "size": 16},
    "neuron_groups": lambda name: {"layer": EARLY[name], "n_steps": 2, "size": 16, "n_groups": 2},
    "deep_dream": lambda name: {"layer": EARLY[name], "n_octaves": 2, "n_steps": 2, "size": 16},
    "style_transfer": lambda name: {
        "style": pictures(1), "content_layer": EARLY[name], "style_layers": EARLY[name], "n_steps": 2, "size": 16
    },
    "accentuate": lambda name: {"layer": EARLY[name], "n_steps": 2, "n_views": 2, "size": 16},
}  # fmt: skip
"""Small settings for each method: the layer of each network is one that is not its last."""

JOINT = frozenset({"neuron_interaction", "interpolate"})
"""Methods whose pictures of one call are about each other, so that a batch is no set of single runs."""

SEPARATE = [
    pytest.param(method, name, marks=[pytest.mark.bits] if NETS[i % len(NETS)] == name else [])
    for i, method in enumerate(method for method in METHODS if method not in JOINT)
    for name in NETS
]
"""Under other kernels each method makes its pictures by one network, and all networks have their turn."""


def subject(method: str, name: str, n: int = 2) -> Any:
    """n images, or n units of the layer."""
    if lookup(method).takes == "units":
        return [f"{EARLY[name]}:{i}" for i in range(n)]
    return pictures(n)


def make(method: str, model: Any, name: str, about: Any = None, **more: Any) -> Rendering:
    about = subject(method, name) if about is None else about
    return lookup(method).function(model, about, **{**QUICK[method](name), **more})


@dataclass(frozen=True)
class Call:
    """What came out on a network of its own, and what changed meanwhile."""

    made: Rendering
    changed: list[str]
    hooks: list[str]
    events: list[Progress]
    shown: dict[int, Tensor]


@functools.cache
def call(method: str, name: str) -> Call:
    """Made once for all laws."""
    model, events, shown = vision_model(name), list[Progress](), dict[int, Tensor]()
    before = snapshot(model.module)

    def watcher(event: Progress) -> None:
        events.append(event)
        if event.so_far is not None and event.rows:
            shown.update(zip(event.rows, event.so_far(), strict=True))

    with tp.watching(watcher):
        made = make(method, model, name)
    return Call(made, differences(before, snapshot(model.module)), hooks(model.replica), events, shown)


def usual(method: str, name: str) -> Rendering:
    return call(method, name).made


@pytest.mark.parametrize("method", METHODS)
def test_pictures_are_finite_and_in_range_with_one_outcome_each_and_the_users_model_is_untouched(method: str) -> None:
    def law(method: str, name: str) -> None:
        made = usual(method, name)
        assert made.method == method
        assert made.pixels.dtype == torch.float64
        assert 0 <= float(made.pixels.min()) <= float(made.pixels.max()) <= 1  # NaN would fail both
        assert len(made.pixels) == len(made.scores) == len(made.objectives) == len(made.status)
        assert set(made.status) == {"ok"}
        assert made.scores.isfinite().all()
        assert call(method, name).changed == []
        assert call(method, name).hooks == []

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", METHODS)
def test_progress_ends_at_its_total(method: str) -> None:
    def law(method: str, name: str) -> None:
        events = call(method, name).events
        assert events[-1].done == events[-1].total > 0

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", METHODS)
def test_who_watches_sees_the_pictures_as_they_improve_and_at_last_those_of_the_result(method: str) -> None:
    def law(method: str, name: str) -> None:
        made, shown = usual(method, name), call(method, name).shown
        assert all(torch.equal(picture, made.pixels[row]) for row, picture in shown.items())
        for row in set(range(len(made))) - shown.keys():  # a unit of several images is made once
            assert any(torch.equal(made.pixels[row], picture) for picture in shown.values())
        asked = [event for event in call(method, name).events if event.so_far is not None]
        assert live(lookup(method))
        assert len(asked) >= len(call(method, name).events) / 2

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", sorted(JOINT))
def test_the_same_seed_gives_the_same_picture(method: str) -> None:
    """Of all others the single runs below say it."""

    def law(method: str, name: str) -> None:
        assert torch.equal(make(method, shared(name), name).pixels, usual(method, name).pixels)

    holds(law, [(method, name) for name in NETS])


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_picture(method: str) -> None:
    assert "seed" in {parameter.name for parameter in parameters(lookup(method))}
    assert not torch.equal(make(method, shared("residual"), "residual", seed=7).pixels, usual(method, "residual").pixels)


@pytest.mark.parametrize(("method", "name"), SEPARATE)
def test_a_batch_of_two_is_two_single_runs(method: str, name: str) -> None:
    about = subject(method, name)
    together = usual(method, name).pixels
    alone = torch.cat([make(method, shared(name), name, about[i : i + 1]).pixels for i in range(2)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(method: str, block: Any) -> None:
    with block():
        found = make(method, shared("residual"), "residual").pixels
    assert torch.equal(found, usual(method, "residual").pixels)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [1, 3])
def test_it_can_be_stopped_and_leaves_nothing_behind(method: str, at: int) -> None:
    model, seen = vision_model("residual"), []
    before = snapshot(model.module)

    def watcher(event: Progress) -> bool:
        seen.append(event)
        return len(seen) < at

    with tp.watching(watcher), pytest.raises(Cancelled):
        make(method, model, "residual")
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)


@pytest.mark.parametrize("method", METHODS)
def test_it_runs_by_name_with_provenance(method: str) -> None:
    about = subject(method, "residual")
    run = tp.run(method, shared("residual"), about, **QUICK[method]("residual"))
    assert torch.equal(run.value.pixels, usual(method, "residual").pixels)
    assert run.provenance.target == run.value.objectives
    with contextlib.suppress(KeyError):
        assert run.provenance.parameters["n_steps"] == QUICK[method]("residual")["n_steps"]
