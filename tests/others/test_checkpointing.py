"""Networks that forget on the way and compute again on the way back: the same numbers as without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kinds import KINDS
from torch import Tensor

import tapetum as tp
from tapetum.types import ModelError

IDENTITY: dict[str, Any] = {"size": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def model(name: str) -> Any:
    return tp.wrap(KINDS[name].build().double(), **IDENTITY)


@pytest.mark.parametrize("method", ["deep_lift", "shapley_cam", "lrp", "guided_backprop", "gradient_shap"])
def test_a_checkpoint_changes_no_map(method: str) -> None:
    found, wanted = (getattr(tp, method)(model(name), IMAGES).values for name in ("checkpointed", "plain"))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_pictures_are_made_through_a_checkpoint() -> None:
    made, wanted = (tp.visualize(model(name), ["body.4:3"], size=32, n_steps=3) for name in ("checkpointed", "plain"))
    torch.testing.assert_close(torch.as_tensor(made.scores), torch.as_tensor(wanted.scores), rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, in passes without gradients
def test_the_old_kind_is_refused_by_its_name() -> None:
    network = model("checkpointed_reentrant")
    for ask in (lambda: tp.saliency(network, IMAGES), lambda: tp.visualize(network, ["body.4:3"], size=32, n_steps=2)):
        with pytest.raises(ModelError, match=r"use_reentrant=True, .* occlusion"):
            ask()
    assert tp.occlusion(network, IMAGES).status == ("ok", "ok")


def test_nothing_that_autograd_keeps_outlives_the_pass() -> None:
    class Counted(torch.autograd.Function):
        alive = 0

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            Counted.alive += 1
            ctx.save_for_backward(x)
            ctx.token = Token()
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return 2 * grad

    class Token:
        def __del__(self) -> None:
            Counted.alive -= 1

    module = KINDS["checkpointed"].build().double()
    module.body[3] = torch.nn.Sequential(module.body[3], Through(Counted))
    tp.saliency(tp.wrap(module, **IDENTITY), IMAGES)
    assert Counted.alive == 0


class Through(torch.nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x)
