"""The private copy is the user's network, however that is put together, or it is refused; the user's own is left alone."""

from __future__ import annotations

import copy
import functools
import sys
import threading
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models.feature_extraction import create_feature_extractor
from zoo import SIDE, Head, Reused, conv, net, pictures, wrapped

import tapetum as tp
from tapetum.models.reaching import reach
from tapetum.types import ModelError

IMAGES = pictures(2)


def plain_gradient(module: nn.Module, images: Tensor = IMAGES, target: int = 1) -> Tensor:
    """By autograd, on the user's module."""
    was = module.training
    module.eval()
    inputs = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(inputs * 1)[:, target].sum(), inputs)
    module.train(was)
    return gradient


class Scaled(nn.Module):
    """A convolution, batch-norm and dropout behind whatever a test puts in `change`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop, self.head = conv(3, 6), nn.BatchNorm2d(6), nn.Dropout(0.5), Head(6)
        self.change: Any = None
        nn.init.uniform_(self.norm.running_mean, -0.3, 0.3)
        self.double()

    def body(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.conv(images)).relu()))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


def patched_with_a_closure() -> nn.Module:
    module = Scaled()
    old = module.forward
    module.forward = lambda images: -old(images * 2)
    return module


def patched_with_a_closure_over_itself() -> nn.Module:
    module = Scaled()
    module.forward = lambda images: -module.body(images)
    return module


def patched_with_a_method() -> nn.Module:
    def forward(self: Scaled, images: Tensor) -> Tensor:
        return self.body(images - 1)

    module = Scaled()
    module.forward = MethodType(forward, module)
    return module


def patched_with_a_partial() -> nn.Module:
    def forward(inner: Scaled, scale: float, images: Tensor) -> Tensor:
        return inner.body(images * scale)

    module = Scaled()
    module.forward = functools.partial(forward, module, 3.0)
    return module


def a_hook_that_changes_the_input() -> nn.Module:
    module = Scaled()
    module.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * -2,))
    module.norm.register_forward_hook(lambda part, _inputs, output: output + module.conv.weight.sum())
    return module


def lists_of_functions() -> nn.Module:
    class Listed(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            for step in self.steps:
                images = step(images)
            return self.table["head"][0](images)

    module = Listed()
    module.steps = [module.conv, lambda maps: module.norm(maps), torch.relu, functools.partial(F.max_pool2d, kernel_size=2)]
    module.table = {"head": (module.head, None)}
    return module


def modules_in_a_list() -> nn.Module:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [conv(3, 6).double(), nn.BatchNorm2d(6).double(), nn.Dropout(0.5)]
            self.head = Head(6).double()

        def forward(self, images: Tensor) -> Tensor:
            return self.head(functools.reduce(lambda maps, part: part(maps), self.parts, images))

        def train(self, mode: bool = True) -> Hidden:
            for part in self.parts:
                part.train(mode)
            return super().train(mode)

    return Hidden()


def tensors_in_a_table() -> nn.Module:
    class Tabled(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            return self.body((images - self.constants["mean"]) / self.constants["more"][0])

    module = Tabled()
    module.constants = {"mean": torch.full((1, 3, 1, 1), 0.4, dtype=torch.float64), "more": [module.conv.weight.std() * 2]}
    return module


def a_copy_that_is_itself() -> nn.Module:
    class Itself(Scaled):
        def __deepcopy__(self, memo: Any) -> Itself:
            return self

    return Itself()


def a_copy_that_loses_a_sign() -> nn.Module:
    class Loses(Scaled):
        def __init__(self, sign: int = 1) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, images: Tensor) -> Tensor:
            return self.sign * self.body(images)

        def __deepcopy__(self, memo: Any) -> Loses:
            made = type(self)()
            made.load_state_dict(self.state_dict())
            return made

    return Loses(-1)


def normalised_weights() -> nn.Module:
    module = Scaled()
    parametrizations.weight_norm(module.conv)
    parametrizations.spectral_norm(module.head.linear)
    return module


def tied_weights() -> nn.Module:
    class Tied(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.other = conv(3, 6).double()
            self.other.weight = self.conv.weight

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images) + self.head(self.other(images * 0.5))

    return Tied()


def merged_when_evaluated() -> nn.Module:
    """As LoRA layers do: eval mode adds the low rank to the weight, training mode takes it away again."""

    class Low(nn.Linear):
        def __init__(self) -> None:
            super().__init__(6, 5, dtype=torch.float64)
            self.a, self.b = nn.Parameter(torch.randn(5, 2).double()), nn.Parameter(torch.randn(2, 6).double())
            self.merged = False

        def train(self, mode: bool = True) -> Low:
            super().train(mode)
            if mode == self.merged:
                self.weight.data += (-1 if mode else 1) * (self.a @ self.b).detach()
                self.merged = not mode
            return self

        def forward(self, values: Tensor) -> Tensor:
            values_low = 0 if self.merged else values @ self.b.T @ self.a.T
            return F.linear(values, self.weight, self.bias) + values_low

    module = Scaled()
    module.head.linear = Low()
    return module


def locks_and_files() -> nn.Module:
    """What cannot be copied, and needs no copy, at several depths, beside modules that do."""

    class Settings:
        def __init__(self) -> None:
            self.lock, self.file, self.inside = threading.RLock(), sys.stdout, {"rows": (i for i in range(3))}
            self.itself = self

    class Guarded(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.settings, self.body_lock = Settings(), {"a": [threading.Lock(), self.head]}
            self.hidden = [conv(3, 6).double()]

        def forward(self, images: Tensor) -> Tensor:
            with self.settings.lock, self.body_lock["a"][0]:
                return self.body(images) + self.head(self.hidden[0](images))

    return Guarded()


def a_graph() -> nn.Module:
    """As torch.fx, and torchvision's extraction of features, make it: each has a class of its own."""
    return torch.fx.symbolic_trace(Scaled())


def a_graph_inside() -> nn.Module:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = create_feature_extractor(Scaled(), {"norm": "normed"})
            self.head = Head(6).double()

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.maps(images)["normed"])

    return Around()


WHOLE = [
    patched_with_a_closure, patched_with_a_closure_over_itself, patched_with_a_method, patched_with_a_partial,
    a_hook_that_changes_the_input, lists_of_functions, modules_in_a_list, tensors_in_a_table, a_copy_that_is_itself,
    normalised_weights, tied_weights, merged_when_evaluated, a_graph, a_graph_inside,
    locks_and_files,
]  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("build", WHOLE)
def test_whatever_holds_its_parts_the_copy_answers_like_the_network_and_runs_parts_of_its_own(
    build: Callable[[], nn.Module], training: bool
) -> None:
    torch.manual_seed(0)
    module = build().train(training)
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    model = wrapped(module)
    calls: list[nn.Module] = []
    parts = [one for one in reach(module).modules if one is not module]
    maps = tp.input_x_gradient(model, IMAGES, 1)
    handles = [part.register_forward_pre_hook(lambda part, _: calls.append(part)) for part in parts]
    with model.pinned():
        model(IMAGES)
    for handle in handles:
        handle.remove()
    assert module.training == training
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in module.state_dict().items())
    torch.testing.assert_close(maps.values, plain_gradient(module) * IMAGES)
    assert maps.notes == ()
    assert not {id(one) for one in reach(model.replica).modules} & {id(one) for one in reach(module).modules}
    assert all(part.training is False for part in reach(model.replica).modules)
    assert calls == []


def test_the_hooks_and_lists_of_the_user_see_nothing_of_it() -> None:
    module, seen = net("reused").eval(), []
    module.one.register_forward_hook(lambda *_: seen.append(1))
    module.kept = []
    module.two.register_forward_hook(lambda *_: module.kept.append(2))
    model = wrapped(module)
    for method in (tp.saliency, tp.grad_cam, tp.occlusion):
        method(model, IMAGES, 1)
    assert seen == module.kept == []


def test_a_copy_that_is_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match=r"net cannot be copied privately: its copy gives another answer; give its parts as"):
        tp.saliency(wrapped(a_copy_that_loses_a_sign().eval()), IMAGES, 1)


class Single(nn.Module):
    """float32 inside, and the answer in another precision."""

    def __init__(self, answer: torch.dtype) -> None:
        super().__init__()
        self.net, self.answer = Reused().float(), answer

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).to(self.answer)


@pytest.mark.parametrize("answer", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding_on_the_way_is_no_other_answer(answer: torch.dtype) -> None:
    """Batches of other sizes round otherwise: by 1e-7 here, which is much for the float64 of the answer."""
    for side in (16, 15, 11):
        maps = tp.saliency(tp.wrap(Single(answer).eval(), size=side), pictures(3, side).float() - 0.5, 1)
        assert not any("answer depends" in sentence or "answers differently" in sentence for sentence in maps.notes)


def test_a_network_elsewhere_in_training_mode_is_refused() -> None:
    outside = Scaled()
    statistics = outside.norm.running_mean.clone()

    class Elsewhere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            return ELSEWHERE[0](images)

    ELSEWHERE[:] = [outside]
    with pytest.raises(ModelError, match="it runs a BatchNorm2d that it does not hold, which is in training mode"):
        tp.saliency(wrapped(Elsewhere().double()), IMAGES, 1)
    assert torch.equal(outside.norm.running_mean, statistics)
    outside.eval()
    maps = tp.input_x_gradient(wrapped(Elsewhere().double()), IMAGES, 1)
    torch.testing.assert_close(maps.values, plain_gradient(outside) * IMAGES)


ELSEWHERE: list[nn.Module] = []


def test_compiled_parts_run_as_they_are_and_keep_their_names() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = torch.compile(net("reused"))

        def forward(self, images: Tensor) -> Tensor:
            return -self.inside(images)

    module = Around().eval()
    maps = tp.grad_cam(wrapped(module), IMAGES, 1)
    assert maps.layer == "inside._orig_mod.three"
    torch.testing.assert_close(tp.saliency(wrapped(module), IMAGES, 1).values, plain_gradient(module.inside._orig_mod).abs())


# --- networks that write


class Subtracts(nn.Module):
    """Normalises the batch that it is given, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Reused().double()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.sub_(0.3).div_(0.5))


@pytest.mark.parametrize(
    ("method", "more"),
    [("input_x_gradient", {}), ("smooth_grad", {"n_samples": 3}), ("grad_cam", {}), ("ablation_cam", {}),
     ("occlusion", {"window": 8, "stride": 8}), ("rise", {"n_masks": 8, "cells": 2}), ("lrp", {}), ("kernel_shap",
     {"segments": "grid", "n_segments": 4, "n_samples": 16}), ("integrated_gradients", {"n_steps": 3}), ("score_cam", {})],
)  # fmt: skip
def test_a_network_that_writes_into_its_input_gets_a_copy(method: str, more: dict[str, Any]) -> None:
    class Plain(Subtracts):
        def forward(self, images: Tensor) -> Tensor:
            return self.net((images - 0.3) / 0.5)

    module, images = Subtracts(), IMAGES.clone()
    same = Plain()
    same.load_state_dict(module.state_dict())
    function = getattr(tp, method)
    one, other = function(wrapped(module), images, 1, **more), function(wrapped(same), images, 1, **more)
    torch.testing.assert_close(one.values, other.values)
    assert torch.equal(images, IMAGES)
    if method == "input_x_gradient":
        torch.testing.assert_close(one.values, plain_gradient(same) * IMAGES)


def test_statistics_that_move_in_eval_mode_move_in_the_copy_alone() -> None:
    class Moves(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.conv(images)
            return self.head(F.batch_norm(maps, self.norm.running_mean, self.norm.running_var, training=True).relu())

    module = Moves()
    before = copy.deepcopy(module.state_dict())
    maps = tp.saliency(wrapped(module), IMAGES, 1, batch=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert any("computes statistics of the batch" in sentence for sentence in maps.notes)


# --- networks whose answer does not stay


class Normalised(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False).double()


class Dropped(Scaled):
    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.conv(images), 0.5))


class Noisy(Scaled):
    def forward(self, images: Tensor) -> Tensor:
        return self.body(images + torch.rand_like(images))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(Normalised, "computes statistics of the batch"), (Dropped, "answers differently every time"),
     (Noisy, "answers differently every time"), (Scaled, None)],
)  # fmt: skip
def test_an_answer_that_does_not_stay_is_said(kind: type[nn.Module], sentence: str | None) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    model = wrapped(kind())
    torch.set_rng_state(state)
    for method in (tp.saliency, tp.occlusion):
        notes = method(model, IMAGES, 1, **({"window": 8, "stride": 8} if method is tp.occlusion else {})).notes
        assert [one for one in notes if sentence is not None and sentence in one] or sentence is None
        assert sentence is not None or not [one for one in notes if "answer" in one]


def test_comparing_leaves_torchs_random_numbers_as_they_were() -> None:
    model = wrapped(net("reused"))
    state = torch.get_rng_state()
    model(IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert IMAGES.shape[-1] == SIDE
