"""What a network does last: whether a sigmoid made its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.models.vision_model import VisionModel

SIGMOIDS = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_", "special_expit"})
PASSED_ON = frozenset(
    {
        "squeeze", "unsqueeze", "view", "reshape", "flatten", "permute", "transpose", "contiguous", "clone", "to", "float",
        "double", "half", "__getitem__", "unbind", "split", "chunk", "detach", "mean", "clamp", "interpolate", "cat", "stack",
    }
)  # fmt: skip
"""Operations that leave numbers in [0, 1] there."""


class _Sigmoids(TorchFunctionMode):
    """Which tensors came out of a sigmoid, also after being cut or laid out anew."""

    def __init__(self) -> None:
        super().__init__()
        self.made = WeakIdKeyDictionary()
        self.kept: list[Tensor] = []
        self.operations = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        self.operations += 1
        first = args[0] if args else None
        inputs = first if isinstance(first, (tuple, list)) else [first]
        from_one = [one for one in inputs if isinstance(one, Tensor)]
        if name in SIGMOIDS or (name in PASSED_ON and from_one and all(one in self.made for one in from_one)):
            for tensor in output if isinstance(output, (tuple, list)) else [output]:
                if isinstance(tensor, Tensor):
                    self.made[tensor] = True
                    self.kept.append(tensor)  # a weak key must outlive the pass
        return output


def ends_in_sigmoid(model: VisionModel, size: tuple[int, int], part: Callable[[Any], Tensor]) -> bool | None:
    """Whether the answer, `part` of the output for images of (h, w), is what a sigmoid gave; None: nothing was to be seen."""
    blank = model.blank(1, size)
    with torch.no_grad(), _Sigmoids() as seen:
        found = part(model(blank))
    if found in seen.made:
        return True
    return False if seen.operations > 1 else None
