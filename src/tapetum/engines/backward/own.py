"""Finds a network's custom operations (`torch.autograd.Function`) that act like ReLUs: backward rules cannot reach them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from tapetum.engines.gradients import graph_nodes
from tapetum.engines.scores import ModelScore, UnitScore

NONE = "no operations of its own"
"""Name under which a network without custom operations is remembered, so that it is not searched again."""


def relus_of_its_own(score: ModelScore, images: Tensor) -> tuple[str, ...]:
    """Returns the names of custom operations that, like a ReLU, let the gradient through at some places and block it at others.

    They are recognised by what they do with the gradient of this score, not by their code.
    """
    if score.model.remember(NONE):
        return ()
    gates: set[str] = set()

    def watch(name: str) -> Callable[[Any, Any], None]:
        def look(passed: Any, arrived: Any) -> None:
            if any(_is_masked(one, arrived[0]) for one in passed):
                gates.add(name)

        return look

    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        values = score(leaf)
        nodes = [node for node in graph_nodes(values) if isinstance(node, BackwardCFunction)]
        for node in nodes:
            node.register_hook(watch(re.sub(r"Backward\d*$", "", type(node).__name__)))
        if nodes:
            torch.autograd.grad(values.sum(), leaf, allow_unused=True)
        elif not isinstance(score, UnitScore):  # a unit inside the network shows nothing of the layers after it
            score.model.remember(NONE, lambda: True)
    return tuple(sorted(gates))


def _is_masked(passed: Tensor | None, arrived: Tensor | None) -> bool:
    """Checks whether an operation passed the arriving gradient on at some places and set it to 0 at all others."""
    if passed is None or arrived is None or passed.shape != arrived.shape:
        return False
    some = arrived != 0
    let, kept_back = (passed == arrived) & some, (passed == 0) & some
    return bool(((let | kept_back) == some).all()) and bool(let.any()) and bool(kept_back.any())
