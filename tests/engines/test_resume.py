"""`resume` computes only what lies behind a layer, and the score is the one of a full pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from zoo import EARLY, NETS, Head, conv, pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.probe import activations, edit
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import as_score
from tapetum.models.choice import choose_layer
from tapetum.models.vision_model import VisionModel

CASES = [(name, layer) for name in NETS if name != "linear" for layer in (None, EARLY[name])]


class Counter(TorchFunctionMode):
    """Counts the operations that cost something."""

    count = 0
    costly = (F.conv2d, F.linear, torch.conv2d, F.scaled_dot_product_attention)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in self.costly
        return func(*args, **(kwargs or {}))


def operations(work: Callable[[], object]) -> int:
    with Counter() as counter, torch.no_grad():
        work()
    return counter.count


def full(model: VisionModel, image: Tensor, layer: str, maps: Tensor, target: Any) -> Tensor:
    """The score with the layer's activation replaced, by complete passes."""
    with torch.no_grad(), edit(model, {layer: lambda _: maps.clone()}):
        return (
            as_score(model, image, target)(image.expand(len(maps), -1, -1, -1))
            if callable(target)
            else _class(model(image.expand(len(maps), -1, -1, -1)), target)
        )


def _class(output: Any, target: int) -> Tensor:
    table = output if isinstance(output, Tensor) else output["logits"] if isinstance(output, dict) else output.logits
    return table[:, target]


def variants(activation: Tensor) -> Tensor:
    """The activation itself, dimmed, with a channel removed, and mirrored."""
    without = activation.clone()
    without[:, 0] = 0
    return torch.cat([activation, 0.3 * activation, without, activation.flip(-1)])


def check(model: VisionModel, image: Tensor, layer: str, tolerance: float) -> Tail:
    score = as_score(model, image, 1)
    tail = resume(score, layer, image)
    maps = variants(tail.activation)
    kept = maps.clone()
    with torch.no_grad():
        first = tail(maps)
        assert torch.equal(maps, kept)  # the caller's maps are not worked on in place
        again, alone = tail(maps), tail(maps[2:3])
        whole = score(image)
    expected = full(model, image, layer, maps, 1)
    scale = float(expected.abs().max())
    for ours, theirs in ((first, expected), (again, expected), (alone, expected[2:3]), (first[:1], whole)):
        assert float((ours - theirs).abs().max()) <= tolerance * scale
    assert float((expected[0] - expected[1:]).abs().max()) > 0  # the layer matters, so agreement says something
    return tail


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_resume_equals_the_full_pass(name: str, layer: str | None) -> None:
    model, image = shared(name), pictures(1)
    layer = layer or choose_layer(model.survey)[0]
    tail = check(model, image, layer, 1e-10)  # float64
    assert torch.equal(tail.activation, activations(model, image, layer))
    maps = variants(tail.activation)
    expensive = operations(lambda: full(model, image, layer, maps, 1))
    cheap = operations(lambda: tail(maps))
    assert cheap < expensive or not tail.skipped
    first = model.survey.order[0]
    assert bool(tail.skipped) != f"{first}.".startswith(f"{layer}.")  # only a network's first layer has nothing before it


LARGE = {
    "resnet18": ("layer2", 64),
    "vgg11": ("features.8", 64),
    "densenet121": ("features.denseblock2", 64),
    "googlenet": ("inception3b", 64),
    "convnext_tiny": ("features.3", 64),
    "swin_t": ("features.3", 224),
    "vit_b_16": ("encoder.layers.encoder_layer_5", 224),
    "mobilenet_v2": ("features.7", 64),
    "shufflenet_v2_x0_5": ("stage2", 64),
    "efficientnet_lite0": ("blocks.2", 64),
    "timm:deit_tiny_patch16_224": ("blocks.5", 224),
    "timm:mobilevit_s": ("stages.1", 64),
}


SLOW = ("vgg11", "densenet121", "swin_t", "vit_b_16")  # random weights alone take seconds


def alive(module: nn.Module) -> None:
    """Random networks may answer the same to every image: batch-norm statistics that fit no input, or a head of zeros."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.Linear) and not part.weight.any():
                nn.init.normal_(part.weight, std=0.1)
        if norms:
            module.train()
            for norm in norms:
                norm.momentum = 1.0
            module(torch.randn(4, 3, 64, 64))
            module.eval()


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in LARGE])
def test_resume_equals_the_full_pass_on_networks_of_usual_size(name: str) -> None:
    early, side = LARGE[name]
    model = tp.load(name, weights=None)
    alive(model.module)
    image = pictures(1, side, dtype=torch.float32)
    for layer in (early, choose_layer(model.survey)[0]):
        # single precision; other batch sizes take other kernels, and deep networks add their rounding up
        tail = check(model, image, layer, 1e-4)
        assert tail.skipped
        saved = operations(lambda layer=layer: full(model, image, layer, tail.activation, 1)) - operations(  # noqa: B023
            lambda: tail(tail.activation)  # noqa: B023
        )
        assert saved > 0


class InPlaceAfter(nn.Module):
    """The layer `two` is overwritten by what follows it, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 6), conv(6, 6), Head(6)

    def forward(self, images: Tensor) -> Tensor:
        x = self.one(images)
        out = self.two(x)
        out += x
        out.mul_(2).relu_()
        return self.head(out)


def seeded(kind: Callable[[], nn.Module]) -> VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return wrapped(kind().double())


@pytest.mark.parametrize("layer", ["one", "two"])
def test_in_place_operations_behind_the_layer_do_not_corrupt_the_record(layer: str) -> None:
    model, image = seeded(InPlaceAfter), pictures(1)
    tail = check(model, image, layer, 1e-10)
    assert torch.equal(tail.activation, activations(model, image, layer))


class Twice(nn.Module):
    """The layer `shared` runs twice, and its first answer is used again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.between, self.head = conv(3, 6), conv(6, 6), conv(6, 6), Head(6)

    def forward(self, images: Tensor) -> Tensor:
        x = self.shared(self.stem(images))
        return self.head(self.shared(self.between(x)).mul_(2) + x)


def test_a_module_that_runs_twice_is_never_replayed() -> None:
    model, image = seeded(Twice), pictures(1)
    assert "shared" not in check(model, image, "between", 1e-10).skipped


def test_a_layer_that_runs_twice_is_resumed_at_its_last_run() -> None:
    model, image = seeded(Twice), pictures(1)
    score = as_score(model, image, 1)
    tail = resume(score, "shared", image)
    with torch.no_grad():
        torch.testing.assert_close(tail(tail.activation), score(image), rtol=1e-10, atol=1e-12)
        net, maps = model.module, 0.3 * tail.activation
        expected = net.head(2 * maps + net.shared(net.stem(image)))[:, 1]
        for _ in range(2):  # the operation in place must not change the caller's maps
            torch.testing.assert_close(tail(maps), expected, rtol=1e-10, atol=1e-12)


def test_gradients_through_a_resumed_tail_are_those_of_the_full_pass() -> None:
    model, image = shared("residual"), pictures(1)
    tail = resume(as_score(model, image, 1), "first", image)
    maps = tail.activation.clone().requires_grad_()
    (ours,) = torch.autograd.grad(tail(maps).sum(), maps)
    rest = model.replica
    again = tail.activation.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(rest.head(rest.second(rest.down(again)))[:, 1].sum(), again)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


class ByShape(nn.Module):
    """Keeps positions that do not depend on the batch beside those that do, and an output whose batch is second."""

    class Swapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.swap, self.last, self.head = conv(3, 6), self.Swapped(), conv(6, 6), Head(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.last(self.swap(self.stem(images)).transpose(0, 1)))


def test_an_output_whose_first_axis_is_not_the_batch_is_computed_and_not_replayed() -> None:
    assert "swap" not in check(seeded(ByShape), pictures(1), "last", 1e-10).skipped


def test_nothing_stays_behind_on_the_replica() -> None:
    model, image = seeded(InPlaceAfter), pictures(1)
    tail = resume(as_score(model, image, 1), "two", image)
    with pytest.raises(RuntimeError):
        tail(torch.zeros(1, 5, 16, 16, dtype=torch.float64))  # a wrong number of channels
    assert all("forward" not in vars(part) for part in model.replica.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.replica.modules())
