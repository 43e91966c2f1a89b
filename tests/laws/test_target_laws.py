"""Every method takes every kind of target: a batch of two, each image with its own, is two single images."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from tables import METHODS, QUICK
from together import holds
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.models.vision_model import VisionModel
from tapetum.registry import lookup
from tapetum.types import LayerError, MethodError

BOXES = torch.tensor([[0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]])


class Maps(nn.Module):
    """Three classes at every second pixel, as segmentation networks give them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.relu, self.two = nn.Conv2d(3, 6, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, images: Tensor) -> Any:
        return {"out": self.head(self.relu(self.two(self.relu(self.one(images)))))}


class Boxes(Maps):
    """Each class detected in each quadrant, as sure as its mean logit there."""

    def forward(self, images: Tensor) -> Any:
        scores = nn.functional.adaptive_avg_pool2d(super().forward(images)["out"], 2).flatten(2).sigmoid()
        labels, boxes = torch.arange(3).repeat_interleave(4), BOXES.to(images).repeat(3, 1)
        return [{"boxes": boxes, "labels": labels, "scores": one.flatten()} for one in scores]


@functools.cache
def model(kind: str) -> VisionModel:
    if kind not in ("box", "region"):
        return shared("residual")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return wrapped((Boxes if kind == "box" else Maps)().double())


TARGETS: dict[str, tuple[Any, Any]] = {
    "output": (tp.Output(1), tp.Output(3)),
    "scale": (tp.log_probability(1), tp.probability(tp.contrast(1, 2))),
    "union": (tp.union(1, 3), tp.probability(tp.union(0, 2, 4))),
    "similarity": (tp.Similarity(torch.arange(5.0) - 1), tp.Similarity(pictures(1, seed=4))),
    "unit": (tp.Unit("down", 1), tp.Unit("down", 3, (2, 4))),
    "concept": (tp.Concept("down", torch.arange(8.0) - 2), tp.Concept("down", -torch.ones(8), "less", (2, 4))),
    "box": (tp.Box(1), tp.Box(2, 0, 0, 12, 8)),
    "region": (tp.Region(1, (0, 0, 9, 9)), tp.Region(2, (4, 4, 16, 12))),
    "box predicted": (None, None),
    "region predicted": (None, None),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_target_one_for_each_image(method: str) -> None:
    run, keywords, images = lookup(method).function, QUICK.get(method, {}), pictures(2)

    def law(method: str, kind: str) -> None:
        targets, network = TARGETS[kind], model(kind.split()[0])
        try:
            both = run(network, images, None if None in targets else list(targets), **keywords)
        except (MethodError, LayerError) as refusal:  # a method for other networks, or for classes alone
            assert "\n" not in str(refusal)
            return
        assert torch.isfinite(both.values).all()
        for row, target in enumerate(targets):
            alone = run(network, images[row : row + 1], target, **keywords)
            assert alone.target == (both.target[row],)
            # float64: another batch size adds in another order; attributions near zero lose digits against the largest
            near = {"rtol": 1e-9, "atol": 1e-10 * float(alone.values.abs().max())}
            torch.testing.assert_close(alone.values[0], both.values[row], **near)

    holds(law, [(method, kind) for kind in TARGETS])


def test_a_layer_behind_the_unit_that_is_explained_is_refused() -> None:
    with pytest.raises(LayerError, match=r"^second runs after the target and so has no part in it: give a layer= in front"):
        tp.grad_cam(shared("residual"), pictures(2), tp.Unit("down", 1))
    assert tp.grad_cam(shared("residual"), pictures(2), tp.Unit("down", 1), layer="first").status == ("ok", "ok")
