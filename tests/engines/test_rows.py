"""Inside `RowWise` a picture's numbers and gradients are those that it has alone, whatever kernels the processor takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.engines.render.rows import RowWise

pytestmark = pytest.mark.bits

SIDES = (3, 5, 7), (6, 14, 9)
"""(c, h, w): odd numbers leave something over at the end of vectors."""


def weights(like: Tensor, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(like.dtype)


def attention(x: Tensor) -> Tensor:
    torch.manual_seed(1)
    layer = nn.MultiheadAttention(x.shape[1] * 2, 2, batch_first=True).requires_grad_(False).to(x.dtype)
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens, tokens.tanh()], 2)
    return layer(tokens, tokens, tokens)[0]


def fused_attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)[:, None]
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def windows(x: Tensor) -> Tensor:
    """Several rows a picture, as windows of attention are."""
    parts = x.reshape(-1, *x.shape[2:])
    return F.linear(parts, weights(x, 11, parts.shape[-1])).reshape(len(x), -1)


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": lambda x: F.conv2d(x, weights(x, 17, x.shape[1], 1, 1)),
    "channels last": lambda x: F.conv2d(x.contiguous(memory_format=torch.channels_last), weights(x, 17, x.shape[1], 3, 3)),
    "strided convolution": lambda x: F.conv2d(x, weights(x, 12, x.shape[1], 3, 3), stride=2, padding=1),
    "grouped convolution": lambda x: F.conv2d(x, weights(x, x.shape[1], 1, 3, 3), groups=x.shape[1]),
    "transposed convolution": lambda x: F.conv_transpose2d(x, weights(x, x.shape[1], 4, 2, 2), stride=2),
    "convolution of a line": lambda x: F.conv1d(x.flatten(2), weights(x, 4, x.shape[1], 5)),
    "linear": lambda x: F.linear(x.flatten(1), weights(x, 10, x[0].numel())),
    "linear to one": lambda x: F.linear(x.mean((2, 3)), weights(x, 1, x.shape[1])),
    "linear of tokens": lambda x: F.linear(x.flatten(2).transpose(1, 2), weights(x, 9, x.shape[1])),
    "matrix": lambda x: x.flatten(1) @ weights(x, x[0].numel(), 6),
    "vector": lambda x: x.flatten(1) @ weights(x, x[0].numel()),
    "products of two": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "einsum with weights": lambda x: torch.einsum("bchw,dc->bdhw", x, weights(x, 5, x.shape[1])),
    "fused attention": fused_attention,
    "torch's attention": attention,
    "windows": windows,
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x * 1, inplace=True),
    "mish": F.mish,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "sigmoid in place": lambda x: (x * 1).sigmoid_(),
    "elu": F.elu,
    "a power": lambda x: (x.abs() + 0.1) ** 1.7,
    "squeeze and excitation": lambda x: (
        x * F.linear(x.mean((2, 3)), weights(x, x.shape[1], x.shape[1])).sigmoid()[..., None, None]
    ),
    "softmax over channels": lambda x: x.softmax(1),
    "log softmax": lambda x: F.log_softmax(x, -1),
    "logsumexp": lambda x: x.logsumexp(1),
    "mean of all": lambda x: x.mean((1, 2, 3)),
    "sum over places": lambda x: x.sum((-2, -1)),
    "standard deviation": lambda x: x.std(1),
    "pooling": lambda x: F.adaptive_avg_pool2d(x, 1),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group norm": lambda x: F.group_norm(x, 3),
    "enlarged": lambda x: F.interpolate(x, (17, 11), mode="bilinear"),
}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def through(step: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """What comes of the images, and the gradient of a sum of it that weighs each number otherwise."""
    moving = images.clone().requires_grad_()
    with RowWise(len(images)):
        made = step(moving * 1.5)
    weighed = made * weights(made, *made.shape[1:]) if made.ndim > 1 else made
    return made.detach(), torch.autograd.grad(weighed.sum(), moving)[0]


def check(step: Callable[[Tensor], Tensor], images: Tensor) -> None:
    alone = [through(step, one) for one in images.split(1)]
    for n in (len(images), 2):
        made, gradient = through(step, images[:n])
        assert torch.equal(made, torch.cat([one for one, _ in alone[:n]]))
        assert torch.equal(gradient, torch.cat([one for _, one in alone[:n]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_a_picture_has_the_numbers_and_gradients_that_it_has_alone(name: str, dtype: torch.dtype) -> None:
    for side in SIDES:
        check(STEPS[name], torch.randn(5, *side, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", STEPS)
def test_so_it_has_with_several_threads(name: str) -> None:
    check(STEPS[name], torch.randn(3, *SIDES[0], generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["gelu", "softmax over channels", "mean of all", "pooling", "sigmoid"])
@pytest.mark.usefixtures("threads")
def test_many_numbers_that_threads_share_out(name: str) -> None:
    check(STEPS[name], torch.randn(3, 3, 131, 127, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["linear", "products of two", "gelu"])
def test_where_numbers_begin_in_memory_does_not_matter(name: str) -> None:
    room = torch.randn(4 * 105 + 1, generator=torch.Generator().manual_seed(0))
    images = room[:-1].view(4, 3, 5, 7)
    elsewhere = room.roll(1)[1:].view(4, 3, 5, 7)  # the same numbers, four bytes further on
    assert elsewhere.data_ptr() % 64 != images.data_ptr() % 64
    check(STEPS[name], elsewhere)
    assert torch.equal(through(STEPS[name], images)[0], through(STEPS[name], elsewhere)[0])


def test_what_is_computed_is_what_torch_computes() -> None:
    images = torch.randn(4, 6, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (STEPS["gelu"], STEPS["sigmoid in place"], STEPS["products of two"], STEPS["layer norm"]):
        torch.testing.assert_close(through(step, images)[0], step(images * 1.5))
    torch.testing.assert_close(through(attention, images)[0], attention(images * 1.5))
