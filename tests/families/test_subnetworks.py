"""Parts of networks: what is removed is gone behind its own batch-norm and activation; overlaps and shares by closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from snapshots import assert_same, snapshot
from torch import Tensor, nn
from zoo import net, pictures, vision_model, wrapped

import tapetum as tp
from tapetum.families.subnetworks.cutting import last_of
from tapetum.families.subnetworks.masks import by_chance
from tapetum.types import LayerError, MethodError

KEEP = torch.tensor([True, False, True, True, False, True, True, False])


class Stages(nn.Module):
    """A convolution with batch-norm and ReLU, a grouped and a depthwise one, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.grouped, self.depthwise = nn.Conv2d(8, 4, 1, groups=2), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.head = nn.Linear(4, 5)
        nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        nn.init.uniform_(self.norm.bias, 0.3, 0.6)  # a removed channel would shine behind the batch-norm

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.relu(self.norm(self.conv(x))))

    def behind(self, maps: Tensor) -> Tensor:
        return self.head(self.depthwise(self.grouped(maps)).mean((2, 3)))


def stages() -> Stages:
    return Stages().double().eval()


@pytest.mark.parametrize("layer", ["conv", "norm", "relu"])
def test_a_removed_channel_gives_zero_behind_its_own_batch_norm_and_activation(layer: str) -> None:
    module, images = stages(), pictures(2)
    part = tp.subnetwork(wrapped(module), {layer: KEEP})
    maps = module.relu(module.norm(module.conv(images))) * KEEP[:, None, None]
    assert torch.allclose(part(images), module.behind(maps), atol=1e-12)
    with tp.capture(part, ["relu"]) as acts:
        part(images)
    assert torch.equal(acts["relu"][:, ~KEEP], torch.zeros_like(acts["relu"][:, ~KEEP]))
    assert bool((acts["relu"][:, KEEP] > 0).any())


def test_a_removed_channel_can_keep_its_mean() -> None:
    module, images = stages(), pictures(3)
    part = tp.subnetwork(wrapped(module), {"conv": KEEP}, fill="mean", images=images)
    maps = module.relu(module.norm(module.conv(images)))
    means = maps.mean((0, 2, 3))[:, None, None]
    assert torch.allclose(part(images), module.behind(torch.where(KEEP[:, None, None], maps, means)), atol=1e-12)


def test_masks_of_kernels_cut_the_weights_of_plain_grouped_and_depthwise_convolutions() -> None:
    module, images = stages(), pictures(2)
    model = wrapped(module)
    plain = torch.rand(8, 3) < 0.5
    whole = torch.rand(4, 8) < 0.5  # output channels 0, 1 read inputs 0 to 3, outputs 2, 3 read inputs 4 to 7
    own = torch.cat([whole[:2, :4], whole[2:, 4:]])
    deep = torch.tensor([[True], [False], [True], [True]])
    x = module.relu(module.norm(F.conv2d(images, module.conv.weight * plain[:, :, None, None], module.conv.bias, padding=1)))
    x = F.conv2d(x, module.grouped.weight * own[:, :, None, None], module.grouped.bias, groups=2)
    x = F.conv2d(x, module.depthwise.weight * deep[:, :, None, None], module.depthwise.bias, padding=1, groups=4)
    expected = module.head(x.mean((2, 3)))
    for grouped in (whole, own):
        part = tp.subnetwork(model, {"conv": plain, "grouped": grouped, "depthwise": deep})
        assert torch.allclose(part(images), expected, atol=1e-12)
    single = torch.rand(5, 4) < 0.5
    part = tp.subnetwork(model, {"head": single})
    pooled = module.depthwise(module.grouped(module.relu(module.norm(module.conv(images))))).mean((2, 3))
    assert torch.allclose(part(images), pooled @ (module.head.weight * single).T + module.head.bias, atol=1e-12)


def test_in_a_residual_block_the_branch_alone_is_cut_not_the_sum() -> None:
    module, images = net("residual").eval(), pictures(2)
    model, keep = wrapped(module, "residual"), torch.tensor([True, False, False, True, True, False])
    assert last_of(model, "first.two") == "first.two"  # `out += identity` comes before the ReLU
    part = tp.subnetwork(model, {"first.two": keep})
    x = module.stem(images)
    y = module.first.two(module.first.relu(module.first.one(x))) * keep[:, None, None]
    expected = module.head(module.second(module.down(F.relu(y + x))))
    assert torch.allclose(part(images), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["in_place", "functional", "residual", "channels_last", "vit_token", "as_dict", "branches"])
def test_the_users_model_stays_as_it_is_and_a_full_mask_changes_nothing(name: str) -> None:
    model, images = vision_model(name), pictures(2)
    layer = next(one for one in model.survey.order if model.survey[one].grid is not None and model.survey[one].calls == 1)
    before, channels = snapshot(model.module), model.survey[layer].channels
    assert channels is not None
    whole = tp.subnetwork(model, {layer: torch.ones(channels, dtype=torch.bool)})
    part = tp.subnetwork(model, {layer: torch.zeros(channels, dtype=torch.bool)})
    assert_same(before, snapshot(model.module))
    target = 1
    score, same, less = (tp.as_score(one, images, target)(images) for one in (model, whole, part))
    assert torch.equal(score, same)
    assert not torch.allclose(score, less)


def test_every_method_runs_on_a_part_and_it_has_a_name_of_its_own() -> None:
    model, images = wrapped(stages(), "stages"), pictures(2)
    part, other = (tp.subnetwork(model, {"conv": keep}) for keep in (KEEP, ~KEEP))
    assert part.name.startswith("stages-part-")
    assert part.name != other.name  # where work is kept by weights and name, parts are not mixed up
    assert tp.grad_cam(part, images, 1, layer="relu").values.shape[0] == 2
    grads = tp.saliency(part, images, 1).values
    again = tp.saliency(tp.subnetwork(part, {"relu": torch.zeros(8, dtype=torch.bool)}), images, 1)
    assert bool(grads.any())
    assert not bool(again.values.any())


def test_masks_keep_the_highest_scores_of_each_layer_or_of_all() -> None:
    scores = {"a": torch.tensor([3.0, -9.0, 1.0, 2.0]), "b": torch.tensor([[10.0, 20.0], [30.0, 0.5]])}
    each = tp.unit_mask(scores, 0.5)
    assert each["a"].tolist() == [True, False, False, True]
    assert each["b"].tolist() == [[False, True], [True, False]]
    every = tp.unit_mask(scores, 0.5, over="all")
    assert every["a"].tolist() == [True, False, False, False]
    assert every["b"].tolist() == [[True, True], [True, False]]
    assert tp.unit_mask(scores, 0.25, size=True)["a"].tolist() == [False, True, False, False]
    assert tp.unit_mask(scores, 0.01)["a"].sum() == 1


def test_the_overlap_by_chance_is_the_mean_over_all_random_masks() -> None:
    n, a, b = 7, 3, 4
    first = set(range(a))
    overlaps = [len(first & set(other)) for other in itertools.combinations(range(n), b)]
    expected = np.mean([x / (a + b - x) for x in overlaps])
    found, p = by_chance(n, a, b, 2)
    assert found == pytest.approx(expected, abs=1e-12)
    assert p == pytest.approx(np.mean([x >= 2 for x in overlaps]), abs=1e-12)
    masks = {"x": torch.tensor([True] * 3 + [False] * 4), "y": torch.tensor([True, False])}
    other = {"x": torch.tensor([False, True, True, True, True, False, False]), "y": torch.tensor([True, True])}
    made = tp.mask_overlap(masks, other)
    assert made.iou.tolist() == pytest.approx([2 / 5, 1 / 2])
    assert made.expected.tolist() == pytest.approx([expected, 1 / 2])
    assert made.total == pytest.approx(3 / 7)
    assert made.expected_total == pytest.approx((12 / 7 + 1) / (10 - 12 / 7 - 1))
    empty = {"x": torch.zeros(3, dtype=torch.bool)}
    assert tp.mask_overlap(empty, empty).total == 1.0


def test_the_share_that_a_part_keeps_of_a_linear_score_is_that_of_its_channels() -> None:
    class Colors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread, self.head = nn.Conv2d(3, 8, 1, bias=False), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.spread(x).mean((2, 3)))

    module, images = Colors().double().eval(), pictures(6) + 1
    terms = module.spread(images).mean((2, 3)) * module.head.weight[1]
    scores = terms.sum(0).detach()
    masks = tp.unit_mask({"spread": scores * scores.sum().sign()}, 0.5)
    found = tp.mask_faithfulness(wrapped(module), masks, images, 1)
    assert found.kept == pytest.approx(float(scores[masks["spread"]].sum() / scores.sum()), abs=1e-9)
    assert found.part.numpy() == pytest.approx((terms[:, masks["spread"]].sum(1) + module.head.bias[1]).detach().numpy())
    assert found.interval[0] <= found.kept <= found.interval[1]
    assert found.p <= 0.1  # one of seventy halves is the best half itself
    assert found.kept >= max(found.random_kept) - 1e-9


def test_removed_channels_give_their_means_over_other_images_and_over_the_same_ones_nothing_is_lost() -> None:
    module, images = stages(), pictures(6)
    masks, model = {"depthwise": torch.tensor([True, False, True, False])}, wrapped(module)
    found = tp.mask_faithfulness(model, masks, images, 1, fill="mean", reference=images[:2], parts=2)
    part = tp.subnetwork(model, masks, fill="mean", images=images[:2])
    assert torch.allclose(found.part, part(images)[:, 1], atol=1e-12)
    assert found.kept == found.kept
    same = tp.mask_faithfulness(model, masks, images, 1, fill="mean", reference=images, parts=2)
    assert same.kept != same.kept  # the head is linear: what one image loses another gains
    assert "no share to keep" in same.notes[-1]
    with pytest.raises(MethodError, match="takes other images, reference="):
        tp.mask_faithfulness(model, masks, images, 1, fill="mean")


def test_scores_of_units_are_what_a_linear_head_makes_of_them() -> None:
    module, images = stages(), pictures(5)
    maps = module.depthwise(module.grouped(module.relu(module.norm(module.conv(images)))))
    expected = (maps.mean((2, 3)) * module.head.weight[1]).mean(0)
    found = tp.unit_scores(wrapped(module), images, 1, "depthwise")
    assert torch.allclose(found["depthwise"], expected.detach(), atol=1e-12)
    assert list(tp.unit_scores(wrapped(module), images, 1, ["conv", "grouped"], way="relevance")) == ["conv", "grouped"]


@pytest.mark.usefixtures("unchecked")
def test_masks_that_fit_nothing_are_refused_in_one_line() -> None:
    model = wrapped(stages())
    with pytest.raises(MethodError, match="conv has 8 channels, and its mask 4"):
        tp.subnetwork(model, {"conv": KEEP[:4]})
    with pytest.raises(MethodError, match="have 2 groups: its mask is"):
        tp.subnetwork(model, {"grouped": torch.ones(4, 7, dtype=torch.bool)})
    with pytest.raises(LayerError, match="relu is no convolution or linear layer"):
        tp.subnetwork(model, {"relu": torch.ones(8, 8, dtype=torch.bool)})
    with pytest.raises(MethodError, match="True or False"):
        tp.subnetwork(model, {"conv": torch.rand(8)})
    with pytest.raises(LayerError, match="means 6 layers"):
        tp.subnetwork(model, {"*": KEEP})
    with pytest.raises(MethodError, match="takes images="):
        tp.subnetwork(model, {"conv": KEEP}, fill="mean")
    reused = vision_model("reused")
    with pytest.raises(LayerError, match="one run of a module that runs several times"):
        tp.subnetwork(reused, {"relu[0]": torch.ones(6, dtype=torch.bool)})
    with pytest.raises(MethodError, match="share is in"):
        tp.unit_mask({"a": torch.rand(3)}, 0)
    with pytest.raises(MethodError, match="name the same layers"):
        tp.mask_overlap({"a": KEEP}, {"b": KEEP})
