"""Helpers of objectives: activations as maps, one number per picture, checks of arguments, and names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.render.objectives.base import Seen
from tapetum.types import LayerError, MethodError, TapetumError, TargetError

Vector = Tensor | Sequence[float | int] | NDArray[Any]
"""One number per channel, (c,)."""

# --- activations


def maps(seen: Seen, layer: str, pre_activation: bool = False) -> Tensor:
    """Returns the activation of a layer as maps (n, c, h, w), or (n, c, 1, 1) for vectors, at least as
    precise as the pixels.
    """
    act = seen.before[layer] if pre_activation else seen[layer]
    act = act.to(torch.promote_types(act.dtype, seen.pixels.dtype))  # sums in bfloat16 would keep only two digits
    if act.ndim not in (2, 4):
        shape = " x ".join(map(str, act.shape))
        raise LayerError(f"{layer} gives {shape} numbers: an objective reads maps (n, c, h, w) or vectors (n, c)")
    return act if act.ndim == 4 else act[..., None, None]


def channel_of(act: Tensor, layer: str, index: int) -> Tensor:
    """Returns one channel (n, h, w) of maps (n, c, h, w); refuses an index that the layer does not have."""
    channels = int(act.shape[1])
    if index >= channels:
        raise TargetError(f"unit {layer}:{index} does not exist: {layer} has {channels} channels, 0 to {channels - 1}")
    return act[:, index]


def place_of(act: Tensor, layer: str, row: int | None, column: int | None) -> Tensor:
    """Returns the vectors (n, c) of maps (n, c, h, w) at one position, by default (h // 2, w // 2)."""
    height, width = size_of(act)
    y, x = height // 2 if row is None else row, width // 2 if column is None else column
    if y >= height or x >= width:
        raise TargetError(f"place {y}, {x} does not exist: the map of {layer} has {height} x {width} at this picture size")
    return act[:, :, y, x]


def along(vector: Tensor, act: Tensor, layer: str) -> Tensor:
    """Converts a vector (c,) to the type and shape that broadcast along the channels of `act` (n, c, ...)."""
    if len(vector) != act.shape[1]:
        raise TargetError(f"{len(vector)} numbers were given for {layer}, which has {act.shape[1]} channels: give one each")
    return vector.to(act.device, act.dtype).view(-1, *[1] * (act.ndim - 2))


# --- one number per picture, computed picture by picture: a whole batch may add up in another order


def sum_each(values: Tensor) -> Tensor:
    """Returns the sum per picture, (n, ...) to (n,)."""
    return _each(values, torch.sum)


def mean(values: Tensor) -> Tensor:
    """Returns the mean per picture, (n, ...) to (n,)."""
    return _each(values, torch.mean)


def norm(values: Tensor) -> Tensor:
    """Returns the Euclidean norm per picture, (n, ...) to (n,); its gradient at zero is zero."""
    return _each(values, torch.linalg.vector_norm)


def _each(values: Tensor, number: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([number(one) for one in values])


# --- arguments


def whole_number(number: Any, what: str, low: int = 0, refusal: type[TapetumError] = TargetError) -> int:
    """Returns the number as int; raises `refusal` unless it is a whole number from `low` up."""
    if isinstance(number, bool) or not hasattr(number, "__index__") or number.__index__() < low:
        raise refusal(f"{what} is a whole number from {low} up, not {number!r}")
    return number.__index__()


def checked_place(row: Any, column: Any) -> tuple[int, int] | None:
    """Returns the position (row, column), or None if neither is given; refuses one without the other."""
    if (row is None) != (column is None):
        raise TargetError("a place has a row and a column: give both, or neither for the middle")
    return None if row is None else (whole_number(row, "a row"), whole_number(column, "a column"))


def vector_of(numbers: Any, what: str) -> Tensor:
    """Returns a copy of the numbers as a vector (c,); refuses numbers that are not finite, or all zero."""
    try:
        vector = numbers.detach() if isinstance(numbers, Tensor) else torch.as_tensor(numbers, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(f"{what} is one number a channel, (c,), not {numbers!r:.40}") from error
    if vector.ndim != 1 or not len(vector) or vector.dtype == torch.bool or vector.is_complex():
        raise TargetError(f"{what} is one number a channel, (c,), not {argument_text(vector)}")
    return _sound(vector if vector.is_floating_point() else vector.double(), what)


def activation_of(given: Any, what: str = "the given activation") -> Tensor:
    """Returns a copy, as (c, h, w), of the activation of one picture: (1, c, h, w), (c, h, w), (1, c) or (c,).

    Refuses an activation that is not finite, or zero everywhere.
    """
    if not isinstance(given, Tensor) or not given.is_floating_point():
        raise TargetError(f"{what} is a tensor of floating-point numbers (c, h, w), not {type(given).__name__}")
    act = given.detach()
    if act.ndim in (2, 4):
        if len(act) != 1:
            raise TargetError(f"{what} is of one picture, not of {len(act)}: give each(...) one objective a picture")
        act = act[0]
    act = act[:, None, None] if act.ndim == 1 else act
    if act.ndim != 3 or not act.numel():
        raise TargetError(f"{what} is (c, h, w) or (c,), not {argument_text(given)}")
    return _sound(act, what)


def _sound(values: Tensor, what: str) -> Tensor:
    if not values.isfinite().all():
        raise TargetError(f"{what} holds NaN or infinity")
    if not values.any():
        raise TargetError(f"{what} is zero everywhere: it has no direction, and nothing can be compared with it")
    return values.clone()


def positive(number: Any, what: str, low: float | int = 0, *, reached: bool = False) -> float:
    """Returns the number as float; refuses one that is not finite and above `low`, or with `reached` at least `low`."""
    known = isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) != float("inf")
    if not known or not (number > low or (reached and number == low)):
        raise MethodError(
            f"{what} is a number {'from' if reached else 'above'} {low:g}{' up' if reached else ''}, not {number!r}"
        )
    return float(number)


# --- names


def call_text(function: str, *arguments: Any, **options: Any) -> str:
    """Returns the name of an objective as a call, such as "neuron(layer4, 5, 3, 3)", without arguments that are None."""
    words = [argument_text(one) for one in arguments if one is not None]
    words += [f"{key}={argument_text(one)}" for key, one in options.items() if one is not None]
    return f"{function}({', '.join(words)})"


def argument_text(argument: Any) -> str:
    """Returns the text of an argument in a name: numbers in short form, tensors by their shape."""
    if isinstance(argument, Tensor):
        return f"{' x '.join(map(str, argument.shape)) or 'one'} numbers"
    return f"{argument:g}" if isinstance(argument, float) else str(argument)
