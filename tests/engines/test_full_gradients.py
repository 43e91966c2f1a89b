"""A score is the sum of what its input and its operations contribute, whatever the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import NETS, pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.families.cams.full_gradients import full_gradients
from tapetum.types import MethodError


@pytest.mark.parametrize("name", NETS)
def test_the_input_term_and_all_bias_terms_sum_to_the_score(name: str) -> None:
    """Srinivas and Fleuret's proposition 1, beyond ReLUs: GELU, LayerNorm, attention, tokens that are added."""
    images = pictures(3)
    seen: list[Tensor] = []
    parts = full_gradients(as_score(shared(name), images, [1, 3, 0]), images, seen.append)
    assert parts.unknown == set()
    assert seen
    total = parts.from_input.sum((1, 2, 3)) + parts.biases
    torch.testing.assert_close(total, parts.score, rtol=1e-10, atol=1e-12)  # double precision, some hundred operations
    torch.testing.assert_close(sum(term.flatten(1).sum(1) for term in seen), parts.biases)


def test_the_terms_of_a_small_relu_network_are_biases_times_their_gradients() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    nn.init.uniform_(net[1].running_mean, -1, 1)
    nn.init.uniform_(net[1].bias, -1, 1)
    net, images = net.double().eval(), pictures(1)
    seen: list[Tensor] = []
    full_gradients(as_score(wrapped(net), images, 2), images, seen.append)
    conv = net[0](images).detach().requires_grad_()
    norm = net[1](conv).detach().requires_grad_()
    (at_norm,) = torch.autograd.grad(net[2:](norm)[0, 2], norm)
    (at_conv,) = torch.autograd.grad(net[1:](conv)[0, 2], conv)
    shift = net[1].bias - net[1].weight * net[1].running_mean / (net[1].running_var + net[1].eps).sqrt()
    expected = [at_norm * shift[:, None, None], at_conv * net[0].bias[:, None, None]]
    for ours, theirs in zip(seen[1:], expected, strict=True):  # the first is the head's
        torch.testing.assert_close(ours, theirs.detach())


class Clipped(nn.Module):
    """ReLU6 as a clamp in place, above and below: the upper bound is a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).mul_(20).clamp_(0, 6).mean((2, 3)))


def test_a_bound_that_is_reached_counts_as_a_bias() -> None:
    torch.manual_seed(0)
    model, images = wrapped(Clipped().double()), pictures(2)
    parts = full_gradients(as_score(model, images, 1), images, lambda _: None)
    assert parts.biases.abs().min() > 0.01
    assert parts.missing.max() < 1e-12


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2 + 1

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad * 2


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(Sign.apply(self.first(x)).mean((2, 3)))


def test_a_network_with_an_operation_that_hides_its_bias_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(MethodError, match=r"^full_grad: the terms of net do not sum to its score; .*use integrated_gradients$"):
        tp.full_grad(wrapped(Custom().double()), pictures(1), 1)
