"""Differences from a reference are passed back exactly, by every operation and every spelling of it.

Tolerance 1e-12 of values near one: float64, a few operations long.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import pictures, wrapped

import tapetum as tp
from tapetum.families.contributions.multipliers import Differences
from tapetum.types import MethodError


def passed_back(
    function: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Contributions of each value of x to the weighted sum of the output, and that sum's change."""
    with torch.enable_grad():
        with Differences() as reference:
            before = function(x0.clone().requires_grad_().clone()).detach()
        with Differences(reference.noted):
            leaf = x.clone().requires_grad_()
            now = function(leaf.clone())
        torch.testing.assert_close(now.detach(), function(x.clone()), rtol=1e-12, atol=1e-12)  # the value stays
        weights = torch.linspace(-1, 2, now.numel(), dtype=x.dtype).view_as(now) if weights is None else weights
        (slopes,) = torch.autograd.grad((now * weights).sum(), leaf)
    return slopes * (x - x0), ((now.detach() - before) * weights).sum()


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, x0 = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    x0.view(-1)[::5] = x.view(-1)[::5]  # some places do not change
    return x, x0


def in_place(x: Tensor) -> Tensor:
    x = x * 1
    x.relu_()
    x += x.sigmoid()
    x *= x.tanh()
    x[:, 0] = x[:, 1] ** 2
    F.leaky_relu(x, 0.3, True)
    return x.clamp_(-0.5, 0.7)


def own_norm(x: Tensor) -> Tensor:
    return (x - x.mean(1, keepdim=True)) / (x.pow(2).mean(1, keepdim=True) + 0.1).sqrt()


def masked(x: Tensor) -> Tensor:
    return (x @ x.mT).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf).softmax(-1) @ x


WEIGHT = torch.arange(8.0).double()
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "functional": lambda x: F.gelu(F.silu(x)) + torch.relu(x) + x.exp().log1p() + F.hardswish(x) + F.softplus(x),
    "in_place": in_place,
    "two_of_one": lambda x: x * x + x**3 + 2 / (3 + x.square()) - (1 - x) / (2 + x.abs()),
    "product": lambda x: x * x.sigmoid() * x.mean(2, keepdim=True),
    "divided_in_place": lambda x: (x * 1).div_(x.square() + 1),
    "matmul": lambda x: torch.bmm(x, x.mT) + torch.einsum("nij,nkj->nik", x, x.tanh()),
    "softmax": lambda x: x.softmax(-1) + F.log_softmax(2 * x, 1) + torch.softmax(x, dim=0),
    "masked": masked,
    "attention": lambda x: F.scaled_dot_product_attention(x, 2 * x, x.tanh()),
    "layer_norm": lambda x: F.layer_norm(x, (8,), torch.arange(8.0).double(), torch.ones(8).double()),
    "group_norm": lambda x: F.group_norm(x[:, :, :, None], 4, torch.arange(8.0).double()),
    "rms_norm": lambda x: F.rms_norm(x, (8,)),
    "own_norm": own_norm,
    "normalize": lambda x: F.normalize(x, dim=2) + x / x.norm(dim=1, keepdim=True),
    "max_pool": lambda x: F.max_pool2d(F.relu(x), 3, 2, padding=1) + nn.MaxPool2d(3, 2, 1)(x),
    "max_pool_1d": lambda x: F.max_pool1d(x, 2),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, 2),
    "logsigmoid": lambda x: F.logsigmoid(x) + F.tanhshrink(x),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "instance_norm": lambda x: F.instance_norm(x, weight=WEIGHT),
    "instance_norm_of_torch": lambda x: torch.instance_norm(x, WEIGHT, -WEIGHT, None, None, True, 0.1, 1e-5, False),
    "stack": lambda x: torch.stack([x.relu(), x.tanh()], 1),
    "amax": lambda x: x.amax((1, 2)) + x.amax(2, keepdim=True).amax((1, 2)) + x.amax((-1, 1)),
    "glu": lambda x: F.glu(x, 1),
    "local_response_norm": lambda x: F.local_response_norm(x[:, :, :, None], 3, alpha=0.5),
    "batch_norm": lambda x: F.batch_norm(x[:1], torch.zeros(8).double(), torch.arange(1.0, 9).double()).flatten(1).mT,
    "views": lambda x: torch.cat([x.flatten(1)[:, 3:], x.roll(1, 2).reshape(2, -1)], 1).unflatten(1, (-1, 25)).relu(),
    "encoder": lambda x: ENCODER(x),
}
ENCODER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=torch.float64).eval().requires_grad_(False)


@pytest.mark.parametrize("name", OPERATIONS)
def test_all_of_the_change_is_passed_back(name: str) -> None:
    x, x0 = pair(2, 8, 8)
    contributions, change = passed_back(OPERATIONS[name], x, x0)
    assert abs(float(contributions.sum() - change)) < 1e-12 * max(1.0, float(contributions.abs().sum()))
    assert (contributions[x == x0] == 0).all()


def test_an_element_wise_function_passes_back_its_own_change() -> None:
    x, x0 = pair(2, 8, 8)
    weights = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for function in (F.relu, torch.tanh, F.gelu, F.relu6):
        contributions, _ = passed_back(function, x, x0, weights)
        torch.testing.assert_close(contributions, weights * (function(x) - function(x0)), rtol=1e-10, atol=1e-12)


def test_where_nothing_changed_the_multiplier_is_the_derivative() -> None:
    x = torch.tensor([-2.0, 1.0, 3.0], dtype=torch.float64)
    with torch.enable_grad():
        with Differences() as reference:
            torch.tanh(x.clone().requires_grad_())
        with Differences(reference.noted):
            leaf = x.clone().requires_grad_()
            value = torch.tanh(leaf)
        (slopes,) = torch.autograd.grad(value.sum(), leaf)
    torch.testing.assert_close(slopes, 1 - x.tanh() ** 2, rtol=0, atol=1e-15)


def test_a_product_halves_what_belongs_to_both() -> None:
    x, x0 = (torch.tensor(values, dtype=torch.float64) for values in ([3.0, 5.0], [1.0, 2.0]))
    contributions, change = passed_back(lambda x: x[0:1] * x[1:2], x, x0, torch.ones(1).double())
    assert contributions.tolist() == [(5 + 2) / 2 * (3 - 1), (3 + 1) / 2 * (5 - 2)]
    assert float(change) == 13


def test_a_maximum_gives_its_change_to_the_place_of_the_larger_one() -> None:
    x, x0 = (torch.tensor([values], dtype=torch.float64) for values in ([4.0, 1.0, 0.0, 2.0], [0.0, 3.0, 5.0, 1.0]))
    contributions, _ = passed_back(lambda x: F.max_pool1d(x, 2), x, x0, torch.ones(1, 2).double())
    assert contributions.tolist() == [[4 - 3, 0, 2 - 5, 0]]


def test_a_flat_baseline_does_not_blow_normalisations_up() -> None:
    """Its normaliser is 1 / sqrt(eps), about 316: halves of a product would be as large, and cancel."""
    x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name in ("layer_norm", "group_norm", "rms_norm"):
        contributions, _ = passed_back(OPERATIONS[name], x, torch.zeros_like(x), torch.ones(1).double())
        assert contributions.abs().max() < 50
        # from the origin on, the normaliser of the image holds: it is the plain linear share
        if name == "rms_norm":
            expected = x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
            torch.testing.assert_close(contributions, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("operation", [torch.fft.fft2, torch.cumprod, torch.atan2])
def test_an_operation_without_a_rule_is_refused_by_name(operation: Callable[..., Tensor]) -> None:
    x, x0 = pair(2, 8, 8)
    more = {"cumprod": (1,), "atan2": (x,)}.get(operation.__name__, ())
    with pytest.raises(MethodError, match=rf"no rule for the operation '{operation.__name__.strip('_')}'"):
        passed_back(lambda x: operation(x, *more).abs(), x, x0)


@pytest.mark.parametrize("order", [1, torch.inf])
def test_other_norms_than_the_euclidean_are_refused(order: float) -> None:
    x, x0 = pair(2, 8, 8)
    with pytest.raises(MethodError, match=f"norm of order {order}"):
        passed_back(lambda x: x / torch.linalg.vector_norm(x, ord=order, dim=1, keepdim=True), x, x0)


def test_a_division_that_rounds_is_no_division() -> None:
    x, x0 = pair(2, 8, 8)
    with pytest.raises(MethodError, match="floor_divide"):
        passed_back(lambda x: torch.div(4 * x, x.square() + 1, rounding_mode="floor"), x, x0)


class Gate(nn.Module):
    """Passes what is larger than the mean: a comparison, of which no operation shows the change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        return self.linear((x * (x > x.mean())).mean((2, 3)))


class Fork(Gate):
    """Another way for dark images."""

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images).relu()
        x = x.sigmoid() if images.abs().sum() > 0 else x
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize(("build", "words"), [(Gate, "compares, detaches or rounds"), (Fork, "another way")])
def test_a_network_that_decides_by_comparisons_is_refused(build: Callable[[], nn.Module], words: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(MethodError, match=words) as caught:
        tp.deep_lift(wrapped(build().double()), pictures(2), 1)
    assert "\n" not in str(caught.value)


# --- a network by hand


class Small(nn.Module):
    """Functional ReLUs, of which one spelling works in place, and a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(a, b) for a, b in ((3 * 16, 12), (6, 6), (6, 5)))

    def forward(self, images: Tensor) -> Tensor:
        x = F.avg_pool2d(images, 4).flatten(1)
        x = F.max_pool1d(F.relu(self.one(x)), 2)
        return self.three(self.two(x).relu_())


def test_the_rescale_rule_by_hand() -> None:
    torch.manual_seed(0)
    module = Small().double()
    image, baseline = pictures(1), 0.5 * pictures(1, seed=3)
    w = {name: value.detach().numpy() for name, value in module.named_parameters()}

    def run(pixels: Tensor) -> list[np.ndarray]:
        x = pixels[0].numpy().reshape(3, 4, 4, 4, 4).mean((2, 4)).ravel()
        a = w["one.weight"] @ x + w["one.bias"]
        pooled = np.maximum(a, 0).reshape(6, 2).max(1)
        b = w["two.weight"] @ pooled + w["two.bias"]
        return [x, a, pooled, b]

    (_, a, pooled, b), (_, a0, pooled0, b0) = run(image), run(baseline)
    multiplier = w["three.weight"][2].copy()
    for j in range(6):
        multiplier[j] *= (max(b[j], 0) - max(b0[j], 0)) / (b[j] - b0[j])
    after = w["two.weight"].T @ multiplier
    before = np.zeros(12)
    for window in range(6):
        rows = [2 * window, 2 * window + 1]
        largest = max(rows, key=lambda row: max(a[row] if pooled[window] > pooled0[window] else a0[row], 0))
        before[largest] = after[window] * (pooled[window] - pooled0[window]) / (a[largest] - a0[largest])
    expected = (w["one.weight"].T @ before).reshape(3, 4, 4).repeat(4, 1).repeat(4, 2) / 16
    expected = expected * (image - baseline)[0].numpy()
    values = tp.deep_lift(wrapped(module), image, 2, baseline=baseline).values[0].numpy()
    assert np.abs(values - expected).max() < 1e-12 * np.abs(expected).max()
    assert np.abs(expected).max() > 0


ARCHITECTURES = {
    "efficientnet": ("efficientnet_lite0", {}, 64),
    "squeeze_and_excite": ("mobilenetv3_small_050", {}, 64),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1)}, 64),
    "swin": ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}, 224),
    "distilled": ("deit_tiny_distilled_patch16_224", {"depth": 2, "img_size": 64}, 64),
    "cross_covariance": ("xcit_nano_12_p16_224", {"depth": 1, "img_size": 64}, 64),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_real_architectures_are_complete(name: str) -> None:
    model_name, keywords, side = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = timm.create_model(model_name, num_classes=5, **keywords).double()
        with torch.no_grad():
            module.train()(torch.randn(4, 3, side, side, dtype=torch.float64))  # batch-norm statistics of their own
    images = pictures(1, side)
    values = tp.deep_lift(tp.wrap(module.eval(), size=side, mean=(0.0,) * 3, std=(1.0,) * 3), images, 2).values
    with torch.no_grad():
        change = float((module(images) - module(images * 0))[0, 2])
    assert abs(float(values.sum()) - change) < 1e-10 * float(values.abs().sum())
