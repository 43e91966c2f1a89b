"""Relevance of whole networks: what it adds up to, and that it is the same for every way to write a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from zoo import CLASSES, NETS, SIDE, Head, ViT, conv, net, pictures, shared, wrapped

import tapetum as tp
from tapetum.types import MethodError, TapetumError, Unit

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}  # float64; small denominators amplify another order of the sums

RELUS = [name for name in NETS if name not in ("channels_last", "vit_token", "vit_mean")]


def logits(output: Any) -> Tensor:
    """The table in an answer of torchvision's or of the zoo's networks."""
    found = output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)
    return found[0] if isinstance(found, (tuple, list)) else found


def unbiased(name: str) -> nn.Module:
    """Without biases, class token and positions: nothing in it adds anything that is not the image's."""
    module = net(name)
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if path.endswith(("bias", "running_mean")) or path in ("token", "positions"):
            tensor.data.zero_()
    return module


def scores(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return logits(model(x))[range(2), [1, 3]]


# --- closed forms and conservation


@pytest.mark.parametrize("name", RELUS)
def test_on_a_relu_network_without_biases_lrp_0_is_input_x_gradient(name: str) -> None:
    model, x = wrapped(unbiased(name)), pictures(2)
    ours = tp.lrp(model, x, [1, 3], composite="zero").values
    torch.testing.assert_close(ours, tp.input_x_gradient(model, x, [1, 3]).values, **EXACT)


@pytest.mark.parametrize("name", list(NETS))
@pytest.mark.parametrize("composite", ["zero", "epsilon", "epsilon_plus", "epsilon_plus_flat", "epsilon_gamma_box"])
def test_without_biases_relevance_is_conserved(name: str, composite: Any) -> None:
    """Through attention, layer norms, max-pooling, concatenation and residual sums."""
    if name == "channels_last" and "plus" in composite:
        return  # its depth-wise units are on where nothing excites them: by z+ what reaches those goes nowhere
    model, x = wrapped(unbiased(name)), pictures(2)
    total = tp.lrp(model, x, [1, 3], composite=composite).values.sum((1, 2, 3))
    tolerance = 1e-9 if composite == "zero" else 1e-3  # the stabilizer of 1e-6 keeps a share where an output is small
    torch.testing.assert_close(total, scores(model, x), rtol=tolerance, atol=0)


class Carried(nn.Module):
    """A network whose biases are an input: its images have a fourth channel of ones that carries them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.net = net(name).eval()
        for path, tensor in self.net.named_parameters():
            if path in ("token", "positions"):
                tensor.data.zero_()
        self.one = [torch.zeros(0)]
        for part in list(self.net.modules()):
            for key, child in part.named_children():
                if isinstance(child, (nn.Conv2d, nn.Linear, nn.LayerNorm, nn.BatchNorm2d)):
                    part.add_module(key, Biased(child, self.one))

    def forward(self, images: Tensor) -> Tensor:
        self.one[0] = images[:, 3].mean((1, 2))
        return logits(self.net(images[:, :3]))


class Biased(nn.Module):
    """The operation without its bias, plus bias times one."""

    def __init__(self, part: nn.Module, one: list[Tensor]) -> None:
        super().__init__()
        self.part, self.one = part, one

    def forward(self, x: Tensor) -> Tensor:
        part, one = self.part, self.one[0]
        if isinstance(part, nn.Conv2d):
            y, bias = F.conv2d(x, part.weight, None, part.stride, part.padding, part.dilation, part.groups), part.bias
        elif isinstance(part, nn.BatchNorm2d):
            y = F.batch_norm(x, torch.zeros_like(part.running_mean), part.running_var, part.weight, None, False, 0, part.eps)
            bias = part.bias - part.running_mean * part.weight / (part.running_var + part.eps).sqrt()
        elif isinstance(part, nn.Linear):
            y, bias = F.linear(x, part.weight), part.bias
        else:
            assert isinstance(part, nn.LayerNorm)
            y, bias = F.layer_norm(x, part.normalized_shape, part.weight, None, part.eps), part.bias
        spread = (-1, *(1,) * (y.ndim - 1))
        along = (1, -1, 1, 1) if isinstance(part, (nn.Conv2d, nn.BatchNorm2d)) else (1,) * (y.ndim - 1) + (-1,)
        return y + bias.view(along) * one.view(spread)


@pytest.mark.parametrize("name", ["in_place", "residual", "branches", "channels_last", "vit_token", "vit_mean", "as_dict"])
def test_with_biases_the_pixels_and_the_biases_share_the_score(name: str) -> None:
    """Biases made an input: what lrp leaves out of the pixels is what arrives there, to the last bit of it."""
    carried = Carried(name).double()
    module = net(name)
    for path, tensor in module.named_parameters():
        if path in ("token", "positions"):
            tensor.data.zero_()
    x = torch.cat([pictures(2), torch.ones(2, 1, SIDE, SIDE, dtype=torch.float64)], 1)
    model = tp.wrap(carried, size=SIDE, mean=(0.0,) * 4, std=(1.0,) * 4)
    shares = tp.lrp(model, x, [1, 3], composite="zero").values
    usual = tp.lrp(wrapped(module), x[:, :3], [1, 3], composite="zero").values
    torch.testing.assert_close(shares[:, :3], usual, **EXACT)
    torch.testing.assert_close(shares.sum((1, 2, 3)), scores(model, x), **EXACT)
    assert (shares[:, 3].abs().sum((1, 2)) > 1e-3).all()


def _held(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """x times the constant function(x) / x: an activation that passes relevance on."""
    return x * (function(x) / x).detach()


class HeldViT(ViT):
    """The zoo's transformer with attention weights, deviations and gates as constants."""

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            q, k, v = block.qkv(self.normed(block.norm1, x)).chunk(3, -1)
            x = x + block.out((q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1).detach() @ v)
            x = x + block.down(_held(block.up(self.normed(block.norm2, x)), F.gelu))
        return self.linear(self.normed(self.norm, x)[:, 0])

    @staticmethod
    def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
        deviation = (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt().detach()
        return (x - x.mean(-1, keepdim=True)) / deviation * norm.weight + norm.bias


def test_lrp_0_of_a_transformer_is_input_x_gradient_with_attention_and_deviations_held() -> None:
    """The other way to write it: constants by detach, everything else by autograd. Biases, token and positions included."""
    held = HeldViT(True).double()
    held.load_state_dict(net("vit_token").state_dict())
    x = pictures(2).requires_grad_()
    (gradient,) = torch.autograd.grad(held(x)[range(2), [1, 3]].sum(), x)
    ours = tp.lrp(shared("vit_token"), x.detach(), [1, 3], composite="zero").values
    torch.testing.assert_close(ours, (x * gradient).detach(), **EXACT)


class Gated(nn.Module):
    """Squeeze-and-excitation and SiLU, in a chosen spelling."""

    def __init__(self, gate: Callable[[Tensor], Tensor], swish: Callable[[Tensor], Tensor], product: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.squeeze, self.excite, self.two = conv(3, 6), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1), conv(6, 8)
        self.gate, self.swish, self.product, self.head = gate, swish, product, Head(8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.swish(self.one(images))
        gate = self.gate(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.head(self.swish(self.two(self.product(x, gate))))


def test_gates_are_held_constant_however_they_are_written() -> None:
    x = pictures(2)

    def explained(*spelling: Any) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            return tp.lrp(wrapped(Gated(*spelling).double()), x, [1, 3], composite="zero").values

    held = Gated(lambda z: z.sigmoid().detach(), lambda z: _held(z, F.silu), lambda x, gate: x * gate).double()
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(held(leaf)[range(2), [1, 3]].sum(), leaf)
    for spelling in (
        (torch.sigmoid, F.silu, lambda x, gate: x * gate),
        (Tensor.sigmoid, nn.SiLU(inplace=True), lambda x, gate: gate * x),
        (lambda z: 1 / (1 + (-z).exp()), lambda z: z * z.sigmoid(), lambda x, gate: x.mul_(gate)),
        (lambda z: (z / 2).tanh() * 0.5 + 0.5, lambda z: z / (1 + torch.exp(-z)), torch.mul),
        (torch.sigmoid, F.silu, lambda x, gate: x * gate.expand_as(x)),
    ):
        torch.testing.assert_close(explained(*spelling), (x * gradient).detach(), **EXACT)


class Spelled(nn.Module):
    """A residual block and a classifier, its operations as given."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor], relu: Callable[[Tensor], Tensor], mean: Any, flat: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.linear = conv(3, 6), conv(6, 6), nn.Linear(6, CLASSES)
        self.add, self.relu, self.mean, self.flat = add, relu, mean, flat

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.one(images))
        x = self.relu(self.add(self.two(x), x))
        return self.linear(self.flat(self.mean(x)))


def _added(out: Tensor, x: Tensor) -> Tensor:
    out += x
    return out


def _without_use(out: Tensor, x: Tensor) -> Tensor:
    out.add_(x)
    return out


def _by_item(out: Tensor, x: Tensor) -> Tensor:
    both = torch.zeros_like(out)
    both[:, :3] = out[:, :3] + x[:, :3]
    both[:, 3:] = x[:, 3:] + out[:, 3:]
    return both


SPELLINGS: list[tuple[Any, ...]] = [
    (torch.add, F.relu, lambda x: x.mean((2, 3)), lambda x: x),
    (_added, nn.ReLU(inplace=True), lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: x.flatten(1)),
    (_without_use, torch.relu_, nn.AdaptiveAvgPool2d(1), lambda x: x.view(len(x), -1)),
    (_by_item, lambda x: x.clamp_(min=0), lambda x: F.avg_pool2d(x, SIDE), lambda x: x[..., 0, 0]),
    (lambda out, x: torch.stack([out, x]).sum(0), lambda x: x.relu_(), lambda x: x.flatten(2).mean(-1), lambda x: x),
    (lambda out, x: torch.addcmul(x, torch.full_like(x, 2), out, value=0.5), F.relu, lambda x: x.mean((2, 3)), lambda x: x),
    (lambda out, x: sum([out, x]), Tensor.relu, lambda x: x.sum((2, 3)) / SIDE**2, lambda x: x),
]


@pytest.mark.parametrize("composite", ["zero", "epsilon_plus"])
def test_every_spelling_gives_the_same_relevance(composite: Any) -> None:
    x = pictures(2)
    with torch.random.fork_rng(devices=[]):
        maps = [tp.lrp(wrapped(Spelled(*one).double()), x, [1, 3], composite=composite).values for one in SPELLINGS]
    for other in maps[1:]:
        # the stabilizer of 1e-6 counts once for a sum that is written in one step, twice for two
        torch.testing.assert_close(other, maps[0], rtol=0, atol=1e-3 * float(maps[0].abs().max()))


def test_multi_head_attention_modules_are_the_written_out_ones() -> None:
    class Mixer(nn.Module):
        def __init__(self, written_out: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patches, self.attention = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
            self.linear, self.written_out = nn.Linear(8, CLASSES), written_out

        def forward(self, images: Tensor) -> Tensor:
            x = self.patches(images).flatten(2).transpose(1, 2)
            mixed = self.by_hand(x) if self.written_out else self.attention(x, x, x, need_weights=False)[0]
            return self.linear((x + mixed).mean(1))

        def by_hand(self, x: Tensor) -> Tensor:
            attention = self.attention
            q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
            q, k, v = (one.unflatten(-1, (2, 4)).transpose(1, 2) for one in (q, k, v))
            weights = torch.einsum("nhqd,nhkd->nhqk", q, k).div(2).softmax(-1)
            return attention.out_proj((weights @ v).transpose(1, 2).flatten(2))

    x = pictures(2)
    with torch.random.fork_rng(devices=[]):
        ours, by_hand = (tp.lrp(wrapped(Mixer(one).double()), x, [1, 3], composite="zero").values for one in (False, True))
    torch.testing.assert_close(ours, by_hand, **EXACT)


# --- refusals


class Odd(nn.Module):
    """One more operation on the way."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.head, self.operation = conv(3, 6), Head(6), operation

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.operation(self.stem(images)))


class Swish(torch.autograd.Function):
    """What no function mode sees."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * x.sigmoid() * (1 + x * (1 - x.sigmoid()))


REFUSED: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda x: x**2, "Pow"),
    (lambda x: torch.div(x, 2, rounding_mode="floor"), "Div"),
    (lambda x: torch.cat([x[:, :3] * x[:, 3:], x[:, :3]], 1), "Mul"),
    (lambda x: torch.addcmul(x, x.flip(1), x.flip(2)), "Addcmul"),
    (lambda x: x.softmax(1), "Softmax"),
    (lambda x: x.cumsum(1), "Cumsum"),
    (Swish.apply, "Swish"),
    (lambda x: x.flatten(2).matmul(x.flatten(2).mT)[..., None], "Bmm"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "name"), REFUSED)
def test_an_operation_without_a_rule_is_named_and_refused(operation: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(MethodError, match=rf"no rule for the operation {name}") as caught:
        tp.lrp(wrapped(Odd(operation).double()), pictures(1), 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("activation", [F.logsigmoid, F.tanhshrink, torch.special.expit])
def test_relevance_goes_through_an_activation_as_it_is(activation: Callable[[Tensor], Tensor]) -> None:
    """By hand: with h = f(z), R = h * d score / d h at h and at z, and R_x = x * W^T (R / z)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Odd(activation).double()
    x = pictures(1)
    leaf = x.clone().requires_grad_()
    z = module.stem(leaf)
    h = activation(z).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module.head(h)[0, 1], h)
    (back,) = torch.autograd.grad(z, leaf, (h * gradient / z).detach())
    torch.testing.assert_close(tp.lrp(wrapped(module), x, 1, composite="zero").values, x * back, rtol=1e-9, atol=1e-12)


def test_both_batch_norms_take_their_arguments_in_their_own_order() -> None:
    mean, variance, weight, bias = (torch.arange(1.0, 7).double() + i for i in range(4))
    x, maps = pictures(1), []
    for norm in (
        lambda z: F.batch_norm(z, mean, variance, weight, bias),
        lambda z: torch.batch_norm(z, weight, bias, mean, variance, False, 0.1, 1e-5, False),
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            maps.append(tp.lrp(wrapped(Odd(norm).double()), x, 1).values)
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=0)


def test_a_view_that_is_overwritten_behind_our_back_is_refused() -> None:
    def behind(x: Tensor) -> Tensor:
        x[:, :3].relu_()
        return x

    with pytest.raises(MethodError, match="overwritten in place"):
        tp.lrp(wrapped(Odd(behind).double()), pictures(1), 1)


# --- conditions

LAYERS = {"in_place": "features.4", "residual": "first", "vit_token": "blocks.0", "channels_last": "first", "branches": "last"}


@pytest.mark.parametrize("composite", ["zero", "epsilon_gamma_box"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_maps_through_single_channels_add_up_to_the_whole(name: str, composite: Any) -> None:
    """Also at a convolution whose batch-norm is merged into it (in_place)."""
    model, x, layer = shared(name), pictures(2), LAYERS[name]
    channels = range(int(model.survey[layer].channels or 0))
    whole = tp.lrp(model, x, [1, 3], composite=composite).values
    parts = [tp.lrp(model, x, [1, 3], composite=composite, through=f"{layer}:{k}").values for k in channels]
    torch.testing.assert_close(torch.stack(parts).sum(0), whole, **EXACT)
    some = tp.lrp(model, x, [1, 3], composite=composite, through=[f"{layer}:0", Unit(layer, 2)]).values
    torch.testing.assert_close(some, parts[0] + parts[2], **EXACT)
    text = tp.lrp(model, x, [1, 3], composite=composite, through=f"{layer}:0, {layer}:2").values
    assert torch.equal(text, some)
    places = [Unit(layer, 1, (row, column)) for row in range(2) for column in range(2)]
    few = tp.lrp(model, x, [1, 3], composite=composite, through=places).values
    each = [tp.lrp(model, x, [1, 3], composite=composite, through=str(place)).values for place in places]
    torch.testing.assert_close(few, torch.stack(each).sum(0), **EXACT)


def test_concept_relevance_is_activation_x_gradient_on_a_relu_network_without_biases() -> None:
    model, x = wrapped(unbiased("functional")), pictures(2)
    found = tp.concept_relevance(model, x, [1, 3], layer="two", k=6, composite="zero")
    acts = F.relu(model.module.one(x)).detach()
    inside = model.module.two(acts).detach().requires_grad_()
    rest = model.module.head(model.module.four(model.module.three(inside.relu()).relu()).relu())
    (gradient,) = torch.autograd.grad(rest[range(2), [1, 3]].sum(), inside)
    expected = (inside * gradient).detach()
    order = expected.sum((2, 3)).argsort(1, descending=True)
    assert torch.equal(found.channels, order)
    torch.testing.assert_close(found.values, torch.stack([e[o] for e, o in zip(expected, order, strict=True)]), **EXACT)
    torch.testing.assert_close(found.values.sum((1, 2, 3)), scores(model, x), **EXACT)
    torch.testing.assert_close(found.relevance, found.values.sum((2, 3)), **EXACT)
    few = tp.concept_relevance(model, x, [1, 3], layer="two", k=2, composite="zero")
    torch.testing.assert_close(few.total, scores(model, x), **EXACT)  # also of the channels that are not kept


def test_a_layer_that_nothing_comes_through_is_said_to_be_one() -> None:
    module = net("reused")
    module.head.linear.weight.data[1] = 0
    found = tp.concept_relevance(wrapped(module), pictures(2), [1, 3])
    first, second, *_ = str(found).splitlines()
    assert first.endswith("nothing of the score came through it")
    assert "channel" in second


def test_a_dead_channel_passes_nothing_on_and_an_unknown_one_is_refused() -> None:
    module = net("reused")
    module.two.weight.data[4], module.two.bias.data[4] = 0, -1.0
    model, x = wrapped(module), pictures(1)
    assert (tp.lrp(model, x, 1, through="two:4").values == 0).all()
    assert (tp.lrp(model, x, 1, through="two:3").values != 0).any()
    for through in ("two:9", "nowhere:1", "two"):
        with pytest.raises(TapetumError):
            tp.lrp(model, x, 1, through=through)


def test_a_unit_as_target_starts_with_its_own_activation() -> None:
    model, x = wrapped(unbiased("functional")), pictures(2)
    unit = Unit("three", 2, (1, 2))
    values = tp.lrp(model, x, unit, composite="zero").values
    with tp.capture(model, "three") as acts:
        model(x)
    torch.testing.assert_close(values.sum((1, 2, 3)), acts["three"][:, 2, 1, 2], **EXACT)


# --- excitation backprop


def excited(x: np.ndarray, w: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P_i = sum_j P_j (x_i w_ij)+ / sum_i (x_i w_ij)+, with loops."""
    found = np.zeros_like(x)
    for j in range(w.shape[1]):
        shares = np.array([max(x[i] * w[i, j], 0) for i in range(len(x))])
        if shares.sum() > 0:
            found += p[j] * shares / (shares.sum() + 1e-6)
    return found


def layers_of(module: Any, x: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """(input, matrix) of each layer of the zoo's `reused`, the mean over places as part of the classifier."""
    found, functions = [], [module.one, module.two, module.three]
    with torch.no_grad():
        for function in functions:
            units = torch.eye(x[0].numel(), dtype=x.dtype).view(-1, *x.shape[1:])
            still = function(torch.zeros_like(x))
            found.append((x.flatten().numpy(), (function(units) - still).flatten(1).numpy()))
            x = function(x).relu()
        mean = torch.eye(x.shape[1], dtype=x.dtype).repeat_interleave(x[0, 0].numel(), 0).numpy()
        flat = x.flatten().numpy()
        pooled = mean.T @ flat
        found += [(flat, mean), (pooled, module.head.linear.weight.T.numpy())]
    return found


@pytest.mark.parametrize("contrastive", [False, True])
def test_excitation_backprop_is_the_walk_of_the_paper(contrastive: bool) -> None:
    """Biases are there and play no role; the contrastive map starts with the difference at the classifier's input."""
    small = F.interpolate(pictures(1), (6, 6))
    module = net("reused")
    *below, top = layers_of(module, small)
    winner = np.eye(CLASSES)[2]
    p = excited(*top, winner) - (excited(top[0], -top[1], winner) if contrastive else 0)
    for x, w in reversed(below):
        p = excited(x, w, p)
    method = tp.contrastive_excitation_backprop if contrastive else tp.excitation_backprop
    model = tp.wrap(module, size=6, mean=(0.0,) * 3, std=(1.0,) * 3)
    ours = method(model, small, 2).values.flatten().numpy()
    # a mean and a sum over places carry a stabilizer of 1e-6 in other units
    np.testing.assert_allclose(ours, p, rtol=0, atol=1e-4 * np.abs(p).max())
    np.testing.assert_allclose(p.sum(), 0 if contrastive else 1, atol=1e-3)


def test_excitation_is_read_at_any_layer_and_is_a_probability_there() -> None:
    model, x = shared("residual"), pictures(2)
    for layer in ("first", "second", "down"):
        values = tp.excitation_backprop(model, x, [1, 3], at=layer).values
        assert tuple(values.shape[2:]) == model.survey[layer].grid
        total = values.sum((1, 2, 3))
        assert ((total > 0.5) & (total <= 1 + 1e-9)).all()


# --- published networks

PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "torchvision densenet": lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=CLASSES),
    "torchvision efficientnet_b0": lambda: torchvision.models.efficientnet_b0(num_classes=CLASSES),
    "torchvision mobilenet_v3": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "torchvision googlenet": lambda: torchvision.models.googlenet(num_classes=CLASSES, init_weights=False, aux_logits=False),
    "torchvision vit": lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES),
    "torchvision swin": lambda: torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=CLASSES),
    "torchvision convnext": lambda: torchvision.models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)],
                                                                num_classes=CLASSES),
    "timm vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=CLASSES),
    "timm efficientnet_lite0": lambda: timm.create_model("efficientnet_lite0", num_classes=CLASSES),
    "timm convnext": lambda: timm.create_model("convnext_atto", num_classes=CLASSES),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_relevance_is_conserved_on_networks_as_they_are_published(name: str) -> None:
    """With random weights, without biases and positions; a gradient taken for relevance anywhere would show in the sum."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = PUBLISHED[name]().double().eval()
        for path, tensor in module.named_parameters():
            if path.endswith("bias") or "pos_embed" in path or "token" in path:
                tensor.data.zero_()
            elif "relative_position" not in path and not tensor.any():
                nn.init.normal_(tensor, std=0.1)  # a classifier that starts with zeros
    model, x = tp.wrap(module, size=32), pictures(1, 32)
    with torch.no_grad():
        score = module(x)[:, 2]
    total = tp.lrp(model, x, 2, composite="zero").values.sum((1, 2, 3))
    torch.testing.assert_close(total, score, rtol=1e-6, atol=0)  # hundreds of operations, some sums nearly cancel


def test_the_share_of_the_score_that_arrives_is_told() -> None:
    model, images = shared("in_place"), pictures(1)
    result = tp.lrp(model, images, 1)
    with torch.no_grad():
        share = float(result.values.sum() / model(images)[0, 1])
    assert f"{share:.0%} of the score arrives at the image" in " ".join(result.notes)
    assert not any("arrives" in note for note in tp.lrp(model, images, 1, through="features.3:0").notes)
