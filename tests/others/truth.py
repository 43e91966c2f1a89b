"""What methods must give, in plain torch on the plain module: nothing here asks tapetum for a number.

Each function of CHECKS takes a `Case` and fails by an AssertionError; a refusal is left to whoever runs it.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from row import Other
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

import tapetum as tp


@dataclass
class Case:
    """One network, wrapped and plain, with two images."""

    other: Other
    model: Any
    plain: nn.Module
    images: Tensor

    def output(self, images: Tensor) -> Tensor:
        """The numbers of the plain module; images are copied, since some networks change theirs."""
        return self.other.table(self.other.run(self.plain, images.clone()))

    def table(self, images: Tensor) -> Tensor:
        """(n, k), one column for each class that can be asked for."""
        numbers = self.output(images)
        if self.other.words == "maps":
            return numbers.mean((2, 3))  # of the whole picture
        if numbers.ndim == 1:
            numbers = numbers[:, None]
        return torch.cat([-numbers, numbers], 1) if self.other.words == "binary" else numbers

    def probabilities(self, images: Tensor) -> Tensor | None:
        """By hand; None of numbers."""
        table = self.table(images)
        if self.other.words == "maps":
            return self.output(images).softmax(1).mean((2, 3))
        return {
            "softmax": lambda: 1 / (table[:, None] - table[:, :, None]).exp().sum(2),
            "probabilities": lambda: table,
            "independent": lambda: table,
            "log_probabilities": table.exp,
            "sigmoid": lambda: 1 / (1 + (-table).exp()),
            "binary": lambda: 1 / (1 + (-table).exp()),
            "numbers": lambda: None,
        }[self.other.words]()

    @cached_property
    def classes(self) -> list[int]:
        """What each image is explained as: the network's own answer; 1 where it has none."""
        if self.other.words == "maps" or self.other.target is not None:
            return [1] * len(self.images)
        with torch.no_grad():
            return self.table(self.images).argmax(1).tolist()

    @property
    def target(self) -> Any:
        if self.other.words != "maps":
            return self.other.target
        height, width = self.images.shape[-2:]
        return tp.Region(1, (0, 0, width, height))

    def score(self, images: Tensor, rows: list[int] | None = None) -> Tensor:
        """(n,) the number of each image's class."""
        wanted = [self.classes[row] for row in (rows if rows is not None else range(len(self.images)))]
        return self.table(images)[range(len(images)), wanted]

    def chance(self, images: Tensor, row: int) -> Tensor:
        """(m,) the probability of one image's class in several pictures, or the number where there is none."""
        probabilities = self.probabilities(images)
        return (self.table(images) if probabilities is None else probabilities)[:, self.classes[row]]

    def gradient(self, images: Tensor, rows: list[int] | None = None) -> Tensor:
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self.score(leaf, rows).sum(), leaf)
        return found

    def close(self, found: Tensor, wanted: Tensor, what: str) -> None:
        """Up to rounding, in parts of the largest number."""
        rough = {torch.float64: 1e-6, torch.float32: 2e-3, torch.bfloat16: 0.2, torch.float16: 0.05}[self.images.dtype]
        rough = self.other.rough or rough
        found, wanted = found.double(), wanted.double()
        assert found.shape == wanted.shape, f"{what}: shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
        off = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-300))
        assert off <= rough, f"{what}: off by {off:.1e} of the largest"


def _explained(case: Case, maps: Any) -> None:
    if case.other.words == "maps":
        return
    found = [int(getattr(one, "index", one)) for one in maps.explains]
    assert found == case.classes, f"explains {found}, the network answers {case.classes}"


# --- at the image


def saliency(case: Case) -> None:
    maps = tp.saliency(case.model, case.images, case.target)
    _explained(case, maps)
    case.close(maps.values, case.gradient(case.images).abs(), "saliency")


def input_x_gradient(case: Case) -> None:
    maps = tp.input_x_gradient(case.model, case.images, case.target)
    case.close(maps.values, case.images * case.gradient(case.images), "input x gradient")


def integrated_gradients(case: Case) -> None:
    n = 6
    maps = tp.integrated_gradients(case.model, case.images, case.target, n_steps=n)
    points, weights = np.polynomial.legendre.leggauss(n)
    total = sum(w / 2 * case.gradient((p + 1) / 2 * case.images) for p, w in zip(points, weights, strict=True))
    case.close(maps.values, case.images * total, "integrated gradients")


def occlusion(case: Case) -> None:
    side = 8
    maps = tp.occlusion(case.model, case.images, case.target, window=side, stride=side)
    height, width = case.images.shape[-2:]
    wanted = case.images.new_zeros(len(case.images), 1, height, width)
    with torch.no_grad():
        whole = case.score(case.images)
        for top in range(0, height, side):
            for left in range(0, width, side):
                hidden = case.images.clone()
                hidden[..., top : top + side, left : left + side] = 0
                drop = (whole - case.score(hidden))[:, None, None, None]
                wanted[..., top : top + side, left : left + side] = drop
    case.close(maps.values, wanted, "occlusion")


# --- at a layer


@dataclass
class Seen:
    """A tensor that a layer gave: in which of its runs, where in its output, and its value as a map."""

    run: int
    place: int
    tensor: Tensor
    as_map: Callable[[Tensor], Tensor]


@contextmanager
def watched(module: nn.Module, layer: str, change: Callable[[int, list[Any]], list[Any]]) -> Iterator[None]:
    """`change(run, tensors and others of the output)` gives what goes on in place of them."""
    runs = 0

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal runs
        parts, shape = tree_flatten(output)
        runs += 1
        return tree_unflatten(change(runs - 1, parts), shape)

    handle = module.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def as_seen(run: int, place: int, tensor: Tensor, images: Tensor) -> Seen | None:
    """(n, c, h, w), (n, h, w, c), or tokens (n, t, c) of which the last h * w are the places."""
    height, width = images.shape[-2:]
    if tensor.ndim == 4:
        first = tensor.shape[2] * width == tensor.shape[3] * height  # the last two have the picture's shape
        last = tensor.shape[1] * width == tensor.shape[2] * height
        assert first != last, f"a tensor {tuple(tensor.shape)} whose layout nobody can tell"
        return Seen(run, place, tensor, (lambda x: x) if first else (lambda x: x.movedim(3, 1)))
    if tensor.ndim != 3:
        return None
    h = math.isqrt(tensor.shape[1] * height // width)
    w = h * width // height
    prefix = tensor.shape[1] - h * w
    if h < 2 or prefix > 5:
        return None
    return Seen(run, place, tensor, lambda x: x[:, prefix:].unflatten(1, (h, w)).movedim(3, 1))


def candidates(case: Case, layer: str) -> list[tuple[Seen, Tensor | None]]:
    """Every tensor of every run of a layer, with its gradient where there is one."""
    kept: list[tuple[int, int, Tensor]] = []

    def keep(run: int, parts: list[Any]) -> list[Any]:
        copies = [part.clone() if isinstance(part, Tensor) else part for part in parts]
        kept.extend((run, place, part) for place, part in enumerate(copies) if isinstance(part, Tensor))
        return copies

    leaf = case.images.detach().clone().requires_grad_()
    with torch.enable_grad(), watched(case.plain, layer, keep):
        score = case.score(leaf).sum()
    found = []
    for run, place, tensor in kept:
        reached = tensor.requires_grad and score.requires_grad
        (grad,) = torch.autograd.grad(score, tensor, allow_unused=True, retain_graph=True) if reached else (None,)
        seen = as_seen(run, place, tensor.detach(), case.images) if len(tensor) == len(case.images) else None
        if seen is not None:
            found.append((seen, grad))
    return found


def _layer_of(maps: Any) -> str:
    return str(maps.layer).partition(":")[0]


def _at_layer(case: Case, maps: Any, wanted: Callable[[Seen, Tensor, Tensor | None], Tensor | None]) -> None:
    """The map is one of those that the chosen layer's tensors give; one that is only rounding is not called ok."""
    _explained(case, maps)
    layer, errors = _layer_of(maps), []
    found = candidates(case, layer)
    runs = len({seen.run for seen, _ in found})
    for seen, grad in found:
        acts = seen.as_map(seen.tensor)
        truth = wanted(seen, acts, None if grad is None else seen.as_map(grad))
        if truth is None:
            continue
        try:
            case.close(maps.values, truth, f"at {layer}")
        except AssertionError as error:
            errors.append(str(error))
            continue
        assert runs == 1 or any("run" in one for one in maps.notes), f"nobody is told which of {runs} runs of {layer} this is"
        return
    raise AssertionError(min(errors, default=f"{layer} does not reach the score, status {maps.status}"))


def grad_cam(case: Case) -> None:
    maps = tp.grad_cam(case.model, case.images, case.target)

    def wanted(_: Seen, acts: Tensor, grads: Tensor | None) -> Tensor | None:
        return None if grads is None else (grads.mean((2, 3), keepdim=True) * acts).sum(1, keepdim=True)

    _at_layer(case, maps, wanted)


def layer_cam(case: Case) -> None:
    maps = tp.layer_cam(case.model, case.images, case.target)

    def wanted(_: Seen, acts: Tensor, grads: Tensor | None) -> Tensor | None:
        return None if grads is None else (grads.clamp(min=0) * acts).sum(1, keepdim=True)

    _at_layer(case, maps, wanted)


def ablation_cam(case: Case) -> None:
    maps = tp.ablation_cam(case.model, case.images, case.target)
    layer = _layer_of(maps)

    def wanted(seen: Seen, acts: Tensor, _: Tensor | None) -> Tensor | None:
        images = case.images.detach().clone().requires_grad_()  # without gradients torch's encoders skip their own modules
        with torch.enable_grad():
            whole = case.score(images)
            total = torch.zeros_like(acts[:, :1])
            for channel in range(acts.shape[1]):

                def without(run: int, parts: list[Any], channel: int = channel) -> list[Any]:
                    if run != seen.run:
                        return parts
                    part = parts[seen.place].clone()
                    places = seen.as_map(part)  # a view: class tokens stay as they are
                    places[:, channel] = 0
                    return [part if i == seen.place else one for i, one in enumerate(parts)]

                with watched(case.plain, layer, without):
                    weight = ((whole - case.score(images)) / whole.abs()).detach()
                total += weight[:, None, None, None] * acts[:, channel : channel + 1]
        # a layer of which the score hears nothing moves it by rounding alone, and has no map
        return total if total.abs().max() > 1e-9 * acts.abs().max() else None

    _at_layer(case, maps, wanted)


# --- rules


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad.clamp(min=0) * (x > 0)


class _GuidedMode(TorchFunctionMode):
    """Every ReLU by hand, however it is called."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("relu", "relu_"):
            self.count += 1
            return _Guided.apply(args[0])
        if name in ("clamp", "clamp_", "clamp_min") and _zero_floor(args, kwargs):
            self.count += 1
            return _Guided.apply(args[0])
        if name in ("relu6", "hardtanh"):
            self.count += 1
            low, high = _argument(args, kwargs, 1, "min_val"), _argument(args, kwargs, 2, "max_val")
            low, high = (0.0, 6.0) if name == "relu6" else (low, high)
            if low == 0:
                return high - F.threshold(high - _Guided.apply(args[0]), 0, 0)
        return func(*args, **kwargs)


def _argument(args: Any, kwargs: Any, place: int, name: str) -> Any:
    return kwargs.get(name, args[place] if len(args) > place else None)


def _zero_floor(args: Any, kwargs: Any) -> bool:
    return _argument(args, kwargs, 1, "min") == 0 and _argument(args, kwargs, 2, "max") is None


def guided_backprop(case: Case) -> None:
    maps = tp.guided_backprop(case.model, case.images, case.target)
    mode = _GuidedMode()
    leaf = case.images.detach().clone().requires_grad_()
    with torch.enable_grad():
        with mode:
            score = case.score(leaf)
        (wanted,) = torch.autograd.grad(score.sum(), leaf)
    assert mode.count or not torch.allclose(maps.values, case.gradient(case.images)), "plain gradient under another name"
    case.close(maps.values, wanted, "guided backprop")


def deep_lift(case: Case) -> None:
    """Complete: the values sum to what the score gains from black, which the plain module says."""
    maps = tp.deep_lift(case.model, case.images, case.target)
    with torch.no_grad():
        change = case.score(case.images) - case.score(torch.zeros_like(case.images))
    assert torch.isfinite(maps.values).all()
    _sums_to(case, maps.values, change, "the change from black", 1e-7)


def lrp(case: Case) -> None:
    """Conserved: without any constant in the network, the values sum to the score that the plain module gives."""
    bare = dataclasses.replace(case, plain=without_constants((case.other.twin or case.other.build)().to(case.images.dtype)))
    bare.model = wrapped(case.other, without_constants(case.other.build().to(case.images.dtype)))
    vars(bare).pop("classes", None)
    maps = tp.lrp(bare.model, case.images, case.target, composite="zero")
    assert torch.isfinite(maps.values).all()
    with torch.no_grad():
        score = bare.score(case.images)
    _sums_to(case, maps.values, score, "the score", 1e-4)  # epsilons of normalisations keep a little


def _sums_to(case: Case, values: Tensor, wanted: Tensor, what: str, exact: float) -> None:
    """Up to rounding, in parts of all that is added and subtracted."""
    rough = max(exact, 8 * torch.finfo(case.images.dtype).eps)  # shares are differences divided by differences
    gap = (values.double().sum((1, 2, 3)) - wanted).abs() / values.double().abs().sum((1, 2, 3)).clamp(min=1e-12)
    assert gap.max() <= rough, f"the values do not sum to {what}: off by {float(gap.max()):.1e}"


CONSTANTS = ("bias", "token", "position", "pos_embed", "latents", "offset", "class_embedding")


def without_constants(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, weight in (*module.named_parameters(), *module.named_buffers()):
            if name.endswith("running_mean") or any(word in name.lower() for word in CONSTANTS):
                weight.zero_()
    for held in vars(module).values():  # modules that torch does not know of
        for part in held.values() if isinstance(held, dict) else held if isinstance(held, list) else ():
            if isinstance(part, nn.Module):
                without_constants(part)
    return module


def attention_rollout(case: Case) -> None:
    """By the attentions that transformers itself gives."""
    maps = tp.attention_rollout(case.model, case.images, case.target)
    assert float(maps.values.min()) >= 0
    plain = case.plain
    with torch.no_grad():
        if hasattr(plain, "attentions"):
            steps = plain.attentions(case.images)
        else:
            assert hasattr(plain, "config"), "rollout of a network whose attentions nobody knows"
            eager = type(plain)._from_config(copy.deepcopy(plain.config), attn_implementation="eager").to(case.images.dtype)
            eager.load_state_dict(plain.state_dict())
            steps = eager.eval()(case.images, output_attentions=True).attentions
    reach = torch.eye(steps[0].shape[-1], dtype=case.images.dtype).expand(len(case.images), -1, -1)
    for one in steps:
        fused = (one.mean(1) + torch.eye(one.shape[-1], dtype=one.dtype)) / 2
        reach = fused / fused.sum(-1, keepdim=True) @ reach
    cells = maps.values[0].numel()
    prefix = reach.shape[-1] - cells
    rows = {"first": reach[:, 0], "mean": reach.mean(1), "patches": reach[:, prefix:].mean(1), "two": reach[:, :2].mean(1)}
    rows["first and patches"] = (reach[:, 0] + reach[:, prefix:].sum(1)) / (1 + cells)
    errors = []
    for name, row in rows.items():
        try:
            case.close(maps.values.flatten(1), row[:, prefix:], f"rollout of {name}")
        except AssertionError as error:
            errors.append(str(error))
        else:
            return
    raise AssertionError(min(errors))


# --- probabilities


def predict(case: Case) -> None:
    rows = tp.predict(case.model, case.images, k=99)
    with torch.no_grad():
        table, wanted = case.table(case.images), case.probabilities(case.images)
    for row, lines in enumerate(rows):
        assert sorted(one.index for one in lines) == list(range(table.shape[1]))
        found = torch.tensor([getattr(one, "probability", getattr(one, "value", None)) for one in lines])
        numbers = table if wanted is None else wanted
        assert hasattr(lines[0], "probability") == (wanted is not None), "numbers that are called probabilities"
        case.close(found, numbers[row, [one.index for one in lines]], "predict")


def deletion(case: Case) -> None:
    _curve(case, tp.deletion, hide=True)


def insertion(case: Case) -> None:
    _curve(case, tp.insertion, hide=False)


def _curve(case: Case, metric: Any, hide: bool) -> None:
    maps = tp.occlusion(case.model, case.images, case.target, window=16, stride=16)  # needs no gradient
    n, (height, width) = 4, case.images.shape[-2:]
    order = torch.stack([torch.randperm(height * width, generator=torch.Generator().manual_seed(row)) for row in range(2)])
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(height * width, 0, -1).expand(2, -1))
    values = ranks.view(2, 1, height, width).to(case.images).expand_as(maps.values).contiguous()
    made = dataclasses.replace(maps, values=values, status=("ok", "ok"))
    found = metric(case.model, case.images, made, n_steps=n, fill="zero")
    wanted = []
    for row in range(2):
        pictures = []
        for step in range(n + 1):
            mask = torch.ones(height * width, dtype=case.images.dtype)
            mask[order[row, : round(height * width * step / n)]] = 0
            mask = (mask if hide else 1 - mask).view(height, width)
            pictures.append(case.images[row] * mask)
        with torch.no_grad():
            wanted.append(torch.cat([case.chance(one[None], row) for one in pictures]))
    case.close(found.curve, torch.stack(wanted), metric.__name__)


def rise(case: Case) -> None:
    """On white images over black the network is shown the masks themselves, and is asked for each by hand."""
    shown: list[Tensor] = []

    def run(module: nn.Module, images: Tensor) -> Any:
        if images.device.type != "meta":
            shown.append(images.detach().clone())
        return case.other.run(module, images)

    white = dataclasses.replace(case, images=torch.ones_like(case.images[:1]))
    vars(white).pop("classes", None)
    model = wrapped(case.other, case.other.build().to(case.images.dtype), call=run)
    maps = tp.rise(model, white.images, case.target, n_masks=8, seed=3, cells=4)
    many = torch.cat([one for one in shown if one.shape[1:] == white.images.shape[1:]]).contiguous()
    masks = torch.stack(
        [one for one in many if one.min() > -0.01 and one.max() < 1.01 and one.std() > 0 and _same_channels(one)]
    )
    assert len(masks) == 8, f"{len(masks)} masks were shown"
    with torch.no_grad():
        chances = torch.stack([white.chance(one[None], 0)[0] for one in masks])
    wanted = (chances[:, None, None] * (masks[:, 0] / 0.5 - 1)).mean(0)
    case.close(maps.values[0, 0], wanted, "rise")


def _same_channels(picture: Tensor) -> bool:
    return bool((picture == picture[:1]).all())


CHECKS: dict[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        predict, saliency, input_x_gradient, integrated_gradients, grad_cam, layer_cam, ablation_cam, occlusion, lrp,
        deep_lift, guided_backprop, attention_rollout, rise, deletion, insertion,
    )
}  # fmt: skip


# --- cases


def wrapped(other: Other, module: nn.Module, **more: Any) -> Any:
    c, h, w = other.shape
    size: Any = h if h == w else (h, w)
    return tp.wrap(module, size=size, mean=(0.0,) * c, std=(1.0,) * c, **{**other.options, **more})


def case_of(other: Other, dtype: torch.dtype = torch.float64) -> Case:
    """The same module twice: what tapetum gets is never asked for the truth."""
    generator = torch.Generator().manual_seed(1)
    c, h, w = other.shape
    coarse = torch.randn(2, c, 4, 4, generator=generator, dtype=torch.float64)
    images = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=False)
    images = images + 0.1 * torch.randn(2, c, h, w, generator=generator, dtype=torch.float64)
    dtype = other.dtype or dtype
    plain, given = (other.twin or other.build)().to(dtype), other.build().to(dtype)
    return Case(other, wrapped(other, given), plain, images.to(dtype))
