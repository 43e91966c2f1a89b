"""The engine of circuits: nodes are found by operations, and direct effects add up to the whole gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.circuits.groups import NodeGroup, plan
from tapetum.engines.circuits.passes import Outside, followed, read_with, score_with
from tapetum.engines.circuits.wires import reading, wires
from tapetum.engines.scores import as_score
from tapetum.types import MethodError

NETWORKS = [
    "in_place",
    "functional",
    "reused",
    "residual",
    "channels_last",
    "branches",
    "as_dataclass",
    "vit_token",
    "vit_mean",
]


def _groups(model: tp.VisionModel) -> tuple[NodeGroup, ...]:
    return plan(model).groups


@pytest.mark.parametrize("name", NETWORKS)
def test_direct_slopes_add_up_to_the_gradient_along_all_paths(name: str) -> None:
    """The chain rule over nodes: g_s = direct slope of the score + sum over later t of (direct slope of t, seeded by g_t)."""
    model, images = shared(name), pictures(2)
    with model.pinned(images):
        score, groups = as_score(model, images, 1), _groups(model)
        through, direct = wires(score, images, groups, cut=False), wires(score, images, groups)
        ones = torch.ones_like(through.value)
        whole, first = through.slopes(None, ones), direct.slopes(None, ones)
        for group in groups:
            total = first.get(group, torch.zeros_like(direct.leaves[group]))
            for later in groups:
                if later.step > group.step and later in whole:
                    total = total + direct.slopes(later, whole[later]).get(group, 0)
            torch.testing.assert_close(total, whole.get(group, torch.zeros_like(total)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_with_given_outputs_computes_only_what_is_needed_and_gives_the_same(name: str) -> None:
    model, images = shared(name), pictures(2)
    with model.pinned(images):
        score, groups = as_score(model, images, 1), _groups(model)
        clean, flow = followed(score, images, groups)
        value = score(images)
        torch.testing.assert_close(score_with(score, images, Outside(clean, flow)), value, rtol=1e-12, atol=0)
        for group in groups:
            given = {one: values for one, values in clean.items() if one.step < group.step}
            made = read_with(model, images, [group], Outside(given, flow), score.rows)[group]
            torch.testing.assert_close(made, clean[group], rtol=1e-12, atol=0)


def test_a_node_that_is_changed_changes_only_what_hears_it_directly() -> None:
    """In a chain, a change of the first layer reaches the third only through the second, which is held."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).double()
    model = tp.wrap(nn.Sequential(network, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=16, name="chain")
    images = pictures(1)
    with model.pinned(images):
        score, groups = as_score(model, images, 0), _groups(model)
        clean, flow = followed(score, images, groups)
        changed = {groups[0]: clean[groups[0]] * 0, groups[1]: clean[groups[1]]}
        made = read_with(model, images, [groups[2]], Outside(changed, flow), score.rows)[groups[2]]
        assert torch.equal(made, clean[groups[2]])
        alone = read_with(model, images, [groups[1]], Outside({groups[0]: changed[groups[0]]}, flow), score.rows)[groups[1]]
        assert not torch.allclose(alone, clean[groups[1]])


def test_nodes_of_a_convolution_are_read_after_its_batch_norm() -> None:
    groups = _groups(shared("in_place"))
    assert [group.layer for group in groups] == ["features.1", "features.5"]
    assert [group.kind for group in groups] == ["channel", "channel"]


class NormAct(nn.BatchNorm2d):
    """As in timm: a normalisation with its activation function, and modules between them that do nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(images)))


def test_a_channel_is_called_after_the_module_that_computes_it_and_not_after_one_that_passes_it_on() -> None:
    parts = nn.Sequential(nn.Conv2d(3, 4, 3), NormAct(4), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2), nn.Identity(), nn.ReLU())
    net = nn.Sequential(parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert [group.layer for group in _groups(tp.wrap(net.eval(), size=8, mean=0, std=1))] == ["0.1", "0.3"]


@pytest.mark.parametrize("name", ["vit_token", "vit_mean"])
def test_heads_and_mlps_of_a_transformer_are_nodes(name: str) -> None:
    kinds = [group.kind for group in _groups(shared(name))]
    assert kinds.count("head") >= 1
    assert kinds.count("mlp") >= 1
    assert "channel" not in kinds[: kinds.index("head")]  # the embedding of patches is no node


def test_the_heads_of_one_attention_sum_to_its_output() -> None:
    """By hand: the output of attention is the sum over heads of softmax(q k) v through each head's part of the projection."""
    model, images = shared("vit_token"), pictures(1)
    with model.pinned(images):
        score = as_score(model, images, 0)
        group = next(one for one in _groups(model) if one.kind == "head")
        values = read_with(model, images, [group], Outside({}), score.rows)[group]
        table = group.by_node(values, 1)
        assert table.shape[:2] == (1, group.count)
        torch.testing.assert_close(table.sum(1).sum(), values.sum(), rtol=1e-12, atol=1e-12)
        only = torch.zeros(group.count, dtype=values.dtype)
        only[0] = 1
        alone = group.by_node(values * group.spread(only, values), 1)
        assert torch.equal(alone[:, 0], table[:, 0])
        assert not alone[:, 1:].any()


def test_a_channel_is_read_where_the_score_listens() -> None:
    group = NodeGroup(0, "conv2d", "one", "channel", 2, 1)
    slope = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    slope[0, 1] = torch.tensor([[3.0, -1.0], [0.0, 0.0]])
    weights = reading(group, 1, (slope,), 1)
    assert torch.equal(weights[0, 1], torch.tensor([[0.75, 0.25], [0.0, 0.0]], dtype=torch.float64))
    assert not weights[0, 0].any()


def test_a_silenced_channel_is_read_where_the_score_would_listen() -> None:
    group = NodeGroup(0, "conv2d", "one", "channel", 1, 1)
    silent, would = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 1.0]]]])
    assert torch.equal(reading(group, 0, (silent, would), 1), torch.tensor([[[[0.5, 0.5]]]]))


class _Wandering(nn.Module):
    """Takes another way for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = images * 2 if bool(images.mean() > 0.1) else images
        return self.two(F.relu(self.one(x)).mean((2, 3)))


def test_a_network_that_takes_another_way_with_other_images_is_refused() -> None:
    model = tp.wrap(_Wandering().double(), size=16, name="wandering")
    with pytest.raises(MethodError, match="another way"):
        tp.circuit(model, 0, torch.ones(1, 3, 16, 16, dtype=torch.float64))
