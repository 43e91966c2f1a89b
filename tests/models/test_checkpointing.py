"""Gradient checkpointing trades time for memory: with it everything is as without it, to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from zoo import CLASSES, Attention, conv, pictures, wrapped

import tapetum as tp
from tapetum.models.checkpointing import uncheckpointed
from tapetum.models.vision_model import VisionModel
from tapetum.types import TargetError

Call = Callable[[nn.Module, Tensor], Tensor]

WAYS: dict[str, Call] = {
    "plain": lambda block, x: block(x),
    "reentrant": lambda block, x: checkpoint(block, x, use_reentrant=True),
    "not reentrant": lambda block, x: checkpoint(block, x, use_reentrant=False),
    "sequential": lambda block, x: checkpoint_sequential(nn.Sequential(block), 1, x, use_reentrant=False),
}


class Convs(nn.Module):
    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call, self.stem, self.head = call, nn.Sequential(conv(3, 6), nn.ReLU()), nn.Linear(8, CLASSES)
        self.block = nn.Sequential(conv(6, 8, 2), nn.ReLU(), conv(8, 8), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.call(self.block, self.stem(images)).mean((2, 3)))


class Tokens(nn.Module):
    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call, self.patches, self.block, self.head = call, nn.Conv2d(3, 8, 4, 4), Attention(8), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.call(self.block, self.patches(images).flatten(2).transpose(1, 2)).mean(1))


def built(kind: type[Convs | Tokens], way: str) -> VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return wrapped(kind(WAYS[way]).double())


CONVS: dict[str, dict[str, Any]] = {
    "saliency": {}, "integrated_gradients": {"n_steps": 4}, "grad_cam": {}, "ablation_cam": {}, "guided_backprop": {},
    "deep_lift": {}, "lrp": {}, "full_grad": {}, "shapley_cam": {"layer": "block.1"}, "hires_cam": {"layer": "block.1"},
}  # fmt: skip
TOKENS: dict[str, dict[str, Any]] = {
    "gradient_attention": {},
    "attention_rollout": {},
    "le_grad": {},
    "deep_lift": {},
    "lrp": {},
}
CASES = [(kind, name, more) for kind, table in ((Convs, CONVS), (Tokens, TOKENS)) for name, more in table.items()]


@pytest.mark.parametrize("way", ["reentrant", "not reentrant", "sequential"])
@pytest.mark.parametrize(("kind", "method", "more"), CASES, ids=lambda one: getattr(one, "__name__", str(one)))
def test_maps_are_those_of_the_network_without_it(kind: type, method: str, more: dict[str, Any], way: str) -> None:
    plain, other = (getattr(tp, method)(built(kind, one), pictures(2), 1, **more) for one in ("plain", way))
    assert torch.equal(plain.values, other.values)
    assert plain.layer == other.layer


@pytest.mark.parametrize("way", ["reentrant", "not reentrant"])
def test_pictures_of_units_inside_are_those_of_the_network_without_it(way: str) -> None:
    plain, other = (tp.visualize(built(Convs, one), "block.0:3", n_steps=2) for one in ("plain", way))
    assert torch.equal(plain.pixels, other.pixels)


class OwnCheckpoint(torch.autograd.Function):
    """As several libraries have one: computed again in the backward pass, for `backward()` alone."""

    @staticmethod
    def forward(ctx: Any, block: nn.Module, x: Tensor) -> Tensor:
        return block(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError("Checkpointing is not compatible with .grad()")


def test_checkpointing_by_a_function_of_its_own_is_refused_where_a_gradient_would_go_through() -> None:
    torch.manual_seed(0)
    model = wrapped(Convs(OwnCheckpoint.apply).double())
    for method in (tp.saliency, tp.guided_backprop, tp.integrated_gradients):
        with pytest.raises(TargetError, match=r"Checkpointing is not compatible.*occlusion, rise or ablation_cam"):
            method(model, pictures(1), 1)
    torch.testing.assert_close(
        tp.occlusion(model, pictures(1), 1).values, tp.occlusion(built(Convs, "plain"), pictures(1), 1).values
    )


@pytest.mark.parametrize("way", ["reentrant", "not reentrant"])
def test_layers_are_those_of_the_network_without_it(way: str) -> None:
    assert str(built(Convs, way).layers()) == str(built(Convs, "plain").layers())


def test_torch_is_left_as_it_came_and_other_threads_checkpoint_as_ever() -> None:
    before, runs = dict(vars(torch_checkpoint)), []

    def block(x: Tensor) -> Tensor:
        runs.append(threading.current_thread().name)
        return x.sin()

    def gradient(name: str) -> None:
        leaf = torch.ones(2, requires_grad=True)
        checkpoint(block, leaf, use_reentrant=False).cos().sum().backward()
        assert leaf.grad is not None, name

    with uncheckpointed():
        gradient("here")
        thread = threading.Thread(target=gradient, args=("there",), name="there")
        thread.start()
        thread.join()
    assert runs.count("there") == 2  # forward, and again in the backward pass
    assert len(runs) == 3
    assert all(vars(torch_checkpoint)[name] is value for name, value in before.items())
