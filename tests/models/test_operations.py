"""One plain name per operation, whatever its spelling, and one call that can be repeated otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following


class Calls(Following):
    """Every operation that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def on(self, call: Call) -> Any:
        self.calls.append(call)
        return call()


X = torch.tensor([[0.5, -1.0], [2.0, -0.25]])
POSITIVE = X > 0


def last_call(function: Callable[[], Any]) -> Call:
    with Calls() as seen:
        function()
    return seen.calls[-1]


NAMES: dict[str, list[Callable[[], Any]]] = {
    "add": [lambda: X + 1, lambda: 1 + X, lambda: torch.add(X, 1), lambda: Tensor.__radd__(X, 1)],
    "rsub": [lambda: 1 - X, lambda: torch.rsub(X, 1)],
    "sub": [lambda: X - 1, lambda: torch.subtract(X, 1)],
    "mul": [lambda: X * 2, lambda: 2 * X, lambda: torch.multiply(X, 2)],
    "div": [lambda: X / 2, lambda: torch.true_divide(X, 2), lambda: torch.divide(X, 2)],
    "floor_divide": [lambda: X // 2, lambda: torch.div(X, 2, rounding_mode="floor")],
    "rdiv": [lambda: 1 / X],
    "rpow": [lambda: 2**X],
    "neg": [lambda: -X, lambda: torch.negative(X)],
    "invert": [lambda: ~POSITIVE],
    "int": [lambda: int(X[0, 0])],
    "getitem": [lambda: X[0]],
    "mT": [lambda: X.mT],
    "matmul": [lambda: X @ X, lambda: torch.linalg.matmul(X, X)],
    "relu": [lambda: F.relu(X), X.relu, lambda: torch.relu(X)],
    "sigmoid": [X.sigmoid, lambda: torch.special.expit(X)],
    "logsigmoid": [lambda: F.logsigmoid(X)],
    "threshold": [lambda: F.threshold(X, 0, 0)],
    "clamp": [lambda: X.clip(0), lambda: X.clamp(0)],
    "cat": [lambda: torch.cat([X, X]), lambda: torch.concat([X]), lambda: torch.concatenate([X])],
    "transpose": [lambda: X.transpose(0, 1), lambda: X.swapaxes(0, 1)],
    "vector_norm": [lambda: torch.linalg.vector_norm(X)],
}


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_has_one_name(name: str) -> None:
    assert {last_call(spelling).name for spelling in NAMES[name]} == {name}


def plus_equals(x: Tensor) -> Tensor:
    x += 1
    return x


def power_equals(x: Tensor) -> Tensor:
    x **= 2
    return x


def item(x: Tensor) -> None:
    x[0] = 3.0


OVERWRITING: list[Callable[[Tensor], Any]] = [
    plus_equals,
    power_equals,
    item,
    Tensor.relu_,
    F.relu_,
    lambda x: F.relu(x, inplace=True),
    lambda x: F.leaky_relu(x, 0.3, True),
    lambda x: x.clamp_(-0.5, 0.7),
    lambda x: x.__imul__(2),
]


@pytest.mark.parametrize("overwrite", OVERWRITING)
def test_what_overwrites_has_a_twin_that_does_not(overwrite: Callable[[Tensor], Any]) -> None:
    pure = last_call(lambda: overwrite(X.clone())).pure()
    assert pure is not None
    expected, before = X.clone(), X.clone()
    overwrite(expected)
    assert torch.equal(pure.on([pure.main], [before])(), expected)
    assert torch.equal(before, X)


@pytest.mark.parametrize("spelling", [lambda: X.relu(), lambda: ~POSITIVE, lambda: X + 1, lambda: F.relu(X), lambda: X[0]])
def test_what_does_not_overwrite_has_none(spelling: Callable[[], Any]) -> None:
    assert last_call(spelling).pure() is None


def test_a_tensor_that_stands_twice_is_two_signals_and_one_input() -> None:
    x, y = X.clone().requires_grad_(), X.clone()
    call = Call(torch.addcmul, (y, x, x), {})
    assert (len(call.tensors), len(call.signals), len(call.inputs)) == (3, 2, 1)
    assert torch.equal(call.with_signals(y, 2 * y)(), y + 2 * y * y)
    assert torch.equal(call.on([x], [2 * y])(), y + 4 * y * y)
