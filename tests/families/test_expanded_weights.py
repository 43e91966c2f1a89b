"""Expanded weights: closed forms of kernels through batch-norm, pooling, residuals and grouped convolutions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import shared

import tapetum as tp
from tapetum.types import LayerError


def _model(*parts: nn.Module) -> tp.VisionModel:
    torch.manual_seed(0)
    return tp.wrap(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double(), size=24, name="small")


def _conv(a: int, b: int, side: int = 3, **how: int) -> nn.Conv2d:
    return nn.Conv2d(a, b, side, padding=side // 2, **how)


def test_between_neighbours_they_are_the_weights() -> None:
    model = _model(_conv(3, 4), nn.ReLU(), _conv(4, 5))
    found = tp.expanded_weights(model, "0", "2:3")
    torch.testing.assert_close(found.weights, model.module[2].weight[3].detach(), rtol=1e-12, atol=1e-15)
    assert found.begins == (11, 11)


def test_batch_norm_is_folded_in() -> None:
    norm = nn.BatchNorm2d(5)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    nn.init.normal_(norm.weight)
    model = _model(_conv(3, 4), nn.ReLU(), _conv(4, 5), norm)
    scale = float(norm.weight[3].detach() / (norm.running_var[3] + norm.eps).sqrt())
    found = tp.expanded_weights(model, "0", "3:3")
    torch.testing.assert_close(found.weights, model.module[2].weight[3].detach() * scale, rtol=1e-12, atol=1e-15)


def test_over_two_convolutions_the_kernels_are_convolved() -> None:
    """W[c] = sum over b of w2[u, b] * w1[b, c], a full two-dimensional convolution, whatever activation lies between."""
    model = _model(_conv(3, 4), nn.ReLU(), _conv(4, 5), nn.ReLU6(), _conv(5, 2))
    first, second = model.module[2].weight.detach(), model.module[4].weight[1].detach()
    full = F.conv2d(F.pad(first.transpose(0, 1), (2, 2, 2, 2)), second.flip(1, 2)[None]).squeeze(1)
    found = tp.expanded_weights(model, "0", "4:1")
    torch.testing.assert_close(found.weights, full, rtol=1e-10, atol=1e-14)


def test_max_pooling_counts_as_the_average_of_its_window() -> None:
    model = _model(_conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), _conv(4, 5, 1))
    found = tp.expanded_weights(model, "0", "3:2")
    weight = model.module[3].weight[2, :, 0, 0].detach()
    torch.testing.assert_close(found.weights, (weight / 4)[:, None, None].expand(4, 2, 2), rtol=1e-12, atol=1e-15)


def test_a_depthwise_convolution_leads_from_one_channel_alone() -> None:
    model = _model(_conv(3, 4), nn.ReLU(), _conv(4, 4, groups=4))
    found = tp.expanded_weights(model, "0", "2:1")
    assert found.weights.abs().sum((1, 2)).nonzero().flatten().tolist() == [1]
    torch.testing.assert_close(found.weights[1], model.module[2].weight[1, 0].detach(), rtol=1e-12, atol=1e-15)


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = _conv(3, 4), _conv(4, 4), _conv(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.one(images))
        return self.three(F.relu(x + self.two(x))).mean((2, 3))


def test_a_residual_connection_adds_the_identity_to_the_kernel() -> None:
    network = _Residual().double()
    model = tp.wrap(network, size=24, name="residual")
    found = tp.expanded_weights(model, "one", "three:0")
    last = network.three.weight[0, :, 0, 0].detach()
    kernel = torch.einsum("b,bcyx->cyx", last, network.two.weight.detach())
    kernel[:, 1, 1] += last
    torch.testing.assert_close(found.weights, kernel, rtol=1e-12, atol=1e-15)


def test_strength_and_words_name_the_strongest_channel_first() -> None:
    found = tp.expanded_weights(shared("functional"), "one", "three:2")
    order = found.strongest(3)
    sizes = found.weights.abs().sum((1, 2))
    assert sizes[order].tolist() == sorted(sizes.tolist(), reverse=True)[:3]
    assert str(found).splitlines()[2].split()[0] == str(order[0])
    assert found.strength.shape == (6,)


@pytest.mark.parametrize(
    ("source", "unit", "words"), [("three", "one:0", "does not run before"), ("nothing", "three:0", "close names")]
)
def test_refusals_name_the_layers(source: str, unit: str, words: str) -> None:
    with pytest.raises(LayerError, match=words):
        tp.expanded_weights(shared("functional"), source, unit)
