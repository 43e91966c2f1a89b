"""Finds out whether a network's answer is the output of a sigmoid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import CASTS, JOINS, MOVES, words
from tapetum.models.vision_model import VisionModel

PASSED_ON = MOVES | JOINS | CASTS | words("mean clamp interpolate")
"""Operations that keep numbers in [0, 1]."""

OF_SEVERAL = words("mul prod cumprod rsub maximum minimum amax amin")
"""Operations whose result is in [0, 1] if all inputs are: products of probabilities, one minus a probability."""

UNCLEAR = words("exp clamp hardtanh erf")
"""Operations after which numbers in [0, 1] may be probabilities or measurements."""


class _Sigmoids(Following):
    """Tracks which tensors come from a sigmoid, even if sliced or reshaped since, and which are of unclear origin."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.unclear = WeakIdKeyDictionary(), WeakIdKeyDictionary()
        self.kept: list[Tensor] = []
        self.operations = 0

    def on(self, call: Call) -> Any:
        output, name, first = call(), call.name, call.main
        self.operations += 1
        inputs = first if isinstance(first, (tuple, list)) else call.args if name in OF_SEVERAL else [first]
        tensors = [one for one in inputs if isinstance(one, Tensor)]
        keeps = name in PASSED_ON or name in OF_SEVERAL
        if name in ("sigmoid", "hardsigmoid") or (keeps and tensors and all(one in self.made for one in tensors)):
            self._mark(self.made, output)
        elif name in UNCLEAR or (name in PASSED_ON and tensors and all(one in self.unclear for one in tensors)):
            self._mark(self.unclear, output)
        return output

    def _mark(self, tensors: WeakIdKeyDictionary, output: Any) -> None:
        for tensor in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(tensor, Tensor):
                tensors[tensor] = True
                self.kept.append(tensor)  # the dictionary does not keep its keys alive


def ends_in_sigmoid(model: VisionModel, size: tuple[int, int], part: Callable[[Any], Tensor]) -> bool | None:
    """Checks in one pass on a blank image of `size` (h, w) whether the answer, `part` of the output, comes from a sigmoid.

    Returns None if that is unknown.
    """
    blank = model.blank(1, size)
    with torch.no_grad(), _Sigmoids() as seen:
        found = part(model(blank))
    if found in seen.made:
        return True
    return False if seen.operations > 1 and found not in seen.unclear else None
