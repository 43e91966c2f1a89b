"""Operations of the network's own (`torch.autograd.Function`): their backward pass is theirs, and no rule reaches it."""

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
"""Fact remembered of a network without such operations."""


def relus_of_its_own(score: ModelScore, images: Tensor) -> tuple[str, ...]:
    """Names of the network's own operations that let a gradient through at some places and nothing at others, as a ReLU does.

    Recognised by what they do with the gradient of this score, so it does not matter how they are written.
    """
    if score.model.recall(NONE):
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
        elif not isinstance(score, UnitScore):  # behind a unit inside there may be some
            score.model.remember(NONE, lambda: True)
    return tuple(sorted(gates))


def _is_masked(passed: Tensor | None, arrived: Tensor | None) -> bool:
    """Whether the gradient that arrived is passed on times 0 or 1, and both occur."""
    if passed is None or arrived is None or passed.shape != arrived.shape:
        return False
    some = arrived != 0
    let, kept_back = (passed == arrived) & some, (passed == 0) & some
    return bool(((let | kept_back) == some).all()) and bool(let.any()) and bool(kept_back.any())
