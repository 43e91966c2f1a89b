"""Targets with a place: boxes of detectors and regions of segmentation networks, on toys whose truth is known by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, wrapped

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.models.vision_model import VisionModel
from tapetum.types import TargetError

SIDE = 16
QUADRANTS = [(0, 0), (0, 8), (8, 0), (8, 8)]
"""(top, left) of each."""
BOXES = torch.tensor([[left, top, left + 8, top + 8] for top, left in QUADRANTS], dtype=torch.float64)


class Quadrants(nn.Module):
    """Detects in each quadrant label 1 with sigmoid(mean of red there), and label 2 with sigmoid(mean of green)."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.score_thresh = threshold
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:2, :, None, None])

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        maps = self.conv(images)
        parts = torch.stack([maps[:, :, top : top + 8, left : left + 8].mean((2, 3)) for top, left in QUADRANTS], 1)
        answers = []
        for scores in parts.sigmoid():  # (4, 2)
            kept = scores.flatten() > self.score_thresh
            labels = torch.tensor([1, 2] * 4, device=images.device)
            boxes = BOXES.to(images).repeat_interleave(2, 0)
            answers.append({"boxes": boxes[kept], "labels": labels[kept], "scores": scores.flatten()[kept]})
        return answers


class Stripes(nn.Module):
    """Segments: background 0, class 1 by red, class 2 by green, at every `stride`-th pixel."""

    def __init__(self, stride: int = 1, bare: bool = False) -> None:
        super().__init__()
        self.conv, self.bare = nn.Conv2d(3, 3, stride, stride), bare
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.zero_() if self.conv.bias is not None else None
            self.conv.weight[1, 0] = self.conv.weight[2, 1] = 1 / stride**2

    def forward(self, images: Tensor) -> Any:
        maps = self.conv(images)
        return maps if self.bare else {"out": maps, "aux": maps * 0}


def detector(threshold: float = 0.0) -> VisionModel:
    return tp.wrap(
        Quadrants(threshold).double(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, labels=("__background__", "cat", "dog")
    )


def segmenter(stride: int = 1, bare: bool = False) -> VisionModel:
    names = ("__background__", "cat", "dog")
    return tp.wrap(Stripes(stride, bare).double(), size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, labels=names)


IMAGES = pictures(2, side=SIDE)
RED = IMAGES[:, 0].reshape(2, 2, 8, 2, 8).mean((2, 4)).flatten(1).sigmoid()  # (2, 4): the score of each quadrant
GREEN = IMAGES[:, 1].reshape(2, 2, 8, 2, 8).mean((2, 4)).flatten(1).sigmoid()


def scores(model: VisionModel, target: Any, images: Tensor = IMAGES) -> Tensor:
    return as_score(model, images, target)(images)


# --- boxes


def test_a_box_scores_the_overlap_times_the_confidence_of_the_best_detection() -> None:
    for quadrant in range(4):
        exact = tp.Box("cat", *BOXES[quadrant].tolist())
        torch.testing.assert_close(scores(detector(), exact), RED[:, quadrant], rtol=1e-12, atol=0)
    # x 0..12, y 0..8 has 64 px of quadrant 0 and 32 of quadrant 1: IoU 64/96 and 32/128
    shifted = torch.maximum(RED[:, 0] * 2 / 3, RED[:, 1] / 4)
    torch.testing.assert_close(scores(detector(), tp.Box(1, 0, 0, 12, 8)), shifted, rtol=1e-12, atol=0)


def test_a_label_alone_and_no_target_at_all_mean_the_surest_detection() -> None:
    model = detector()
    for target in ("dog", 2, tp.Box("dog")):
        score = as_score(model, IMAGES, target)
        torch.testing.assert_close(score(IMAGES), GREEN.amax(1), rtol=1e-12, atol=0)
        assert [box.corners for box in score.explains(2)] == [tuple(BOXES[best].tolist()) for best in GREEN.argmax(1)]
    torch.testing.assert_close(scores(model, None), torch.maximum(RED, GREEN).amax(1), rtol=1e-12, atol=0)
    # the box stays where it was found, whatever is hidden afterwards
    score = as_score(model, IMAGES, "cat")
    assert float(score.take([0])(torch.zeros_like(IMAGES[:1]))) == 0.5


@pytest.mark.parametrize("quadrant", range(4))
def test_the_maps_of_a_box_lie_in_the_quadrant_that_its_score_looks_at(quadrant: int) -> None:
    model, box = detector(), tp.Box("cat", *BOXES[quadrant].tolist())
    top, left = QUADRANTS[quadrant]
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[top : top + 8, left : left + 8] = True
    gradient = tp.input_x_gradient(model, IMAGES, box).values / IMAGES
    slope = RED[:, quadrant] * (1 - RED[:, quadrant]) / 64  # of the sigmoid of a mean of 64 pixels
    torch.testing.assert_close(gradient[:, 0], slope[:, None, None] * inside, rtol=1e-9, atol=1e-15)
    assert not gradient[:, 1:].any()
    # hiding one pixel can also make another box the best only where confidences are equal: they are not
    hidden = tp.occlusion(model, IMAGES, box, window=4, stride=4).values[:, 0]
    assert not hidden[:, ~inside].any()
    assert hidden[:, inside].any()


@pytest.mark.parametrize(
    "target", [None, "cat", [tp.Box("cat"), tp.Box("dog", 0, 0, 8, 8)], [tp.Box(1, 0, 0, 12, 8), tp.Box(2)]]
)
@pytest.mark.parametrize("method", ["saliency", "occlusion", "grad_cam", "rise"])
def test_boxes_of_a_batch_are_those_of_its_images(target: Any, method: str) -> None:
    keywords: dict[str, Any] = {
        "occlusion": {"window": 8, "stride": 8},
        "rise": {"n_masks": 8, "cells": 2},
        "grad_cam": {"layer": "conv"},
    }.get(method, {})
    run, model = getattr(tp, method), detector()
    both = run(model, IMAGES, target, **keywords)
    for row in range(2):
        one = target[row] if isinstance(target, list) else target
        alone = run(model, IMAGES[row : row + 1], one, **keywords)
        assert alone.target == (both.target[row],)
        torch.testing.assert_close(alone.values[0], both.values[row], rtol=1e-12, atol=1e-15)
        again = run(model, IMAGES[row : row + 1], [both.explains[row]], **keywords)
        assert torch.equal(again.values, alone.values)
        spelled = run(model, IMAGES[row : row + 1], both.target[row], **keywords)
        torch.testing.assert_close(spelled.values, alone.values, rtol=1e-12, atol=1e-15)


def test_images_without_a_detection_under_a_mask_score_zero_and_give_a_zero_gradient() -> None:
    images = torch.ones_like(IMAGES[:1])
    score = as_score(detector(0.6), images, "cat")
    empty = torch.zeros_like(images).requires_grad_()
    with torch.enable_grad():
        value = score(empty)
        (gradient,) = torch.autograd.grad(value.sum(), empty)
    assert value.tolist() == [0.0]
    assert not gradient.any()


def test_a_box_that_nothing_was_found_for_is_refused() -> None:
    refused: list[tuple[VisionModel, Any, str]] = [
        (detector(0.999), None, "no detection of anything: lower the score_thresh"),
        (detector(0.999), "dog", "no detection of dog: lower the score_thresh"),
        (detector(), tp.Box("cat", 0, 0, 17, 8), r"the box \(0, 0, 17, 8\) does not lie in the image of 16 x 16 px"),
        (detector(), tp.Box("bird", 0, 0, 8, 8), 'no label "bird"'),
        (detector(), "cat - dog", "is no target for detectors: give a label with a box"),
        (detector(), tp.Region("cat"), "no target for detectors"),
        (segmenter(), tp.contrast(1, 2), "is no target for segmentation networks"),
    ]
    for model, target, words in refused:
        with pytest.raises(TargetError, match=words) as caught:
            scores(model, target)
        assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match=r"four corners"):
        tp.Box("cat", 1, 2)
    with pytest.raises(TargetError, match=r"box 8,0,1,4 is empty"):
        tp.Box("cat", 8, 0, 1, 4)
    near = torch.full_like(IMAGES[:1], -5)
    near[:, :, :8, :8] = 5
    with pytest.raises(TargetError, match=r"no detection of cat overlaps the box; the surest is cat@0,0,8,8"):
        scores(detector(0.5), tp.Box("cat", 8, 8, 16, 16), near)


# --- regions


def test_a_region_is_the_mean_logit_of_its_class() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[2:5, 3:9] = True
    expected = IMAGES[:, 0, 2:5, 3:9].mean((1, 2))
    for model in (segmenter(), segmenter(bare=True)):
        for target in (tp.Region("cat", mask), tp.Region(1, (3, 2, 9, 5)), "cat@3,2,9,5", tp.Box("cat", 3, 2, 9, 5)):
            torch.testing.assert_close(scores(model, target), expected, rtol=1e-12, atol=1e-14)
    table = torch.stack([torch.zeros_like(IMAGES[:, 0]), IMAGES[:, 0], IMAGES[:, 1]], 1).softmax(1)
    on_scale = as_score(segmenter(), IMAGES, tp.Region(1, mask), "probability")(IMAGES)
    torch.testing.assert_close(on_scale, table[:, 1, 2:5, 3:9].mean((1, 2)), rtol=1e-12, atol=0)


def test_coarse_maps_count_by_the_share_of_each_cell_that_the_region_covers() -> None:
    # one cell of 4 x 4 px whole, its neighbour for a quarter: weights 1 and 1/4
    cells = IMAGES[:, 1].reshape(2, 4, 4, 4, 4).mean((2, 4))
    expected = (cells[:, 0, 0] + cells[:, 0, 1] / 4) / 1.25
    torch.testing.assert_close(scores(segmenter(4), tp.Region("dog", (0, 0, 5, 4))), expected, rtol=1e-12, atol=1e-14)


def test_without_a_mask_the_region_is_where_the_class_was_predicted_and_stays_there() -> None:
    best = torch.stack([torch.zeros_like(IMAGES[:, 0]), IMAGES[:, 0], IMAGES[:, 1]], 1).argmax(1)
    expected = torch.stack([image[0][where == 1].mean() for image, where in zip(IMAGES, best, strict=True)])
    score = as_score(segmenter(), IMAGES, "cat")
    torch.testing.assert_close(score(IMAGES), expected, rtol=1e-12, atol=1e-14)
    for region, where in zip(score.explains(2), best, strict=True):
        assert torch.equal(region.mask, where == 1)
    assert float(score.take([1])(torch.zeros_like(IMAGES[:1]))) == 0
    chosen = as_score(segmenter(), IMAGES).explains(2)
    for region, where in zip(chosen, best, strict=True):
        counts = torch.bincount(where.flatten(), minlength=3)
        assert region.label == int(counts[1:].argmax()) + 1  # the background does not count
    name = ("cat", "dog")[chosen[0].label - 1]
    assert tp.saliency(segmenter(), IMAGES[:1]).target == (f"{name} in {int((best[0] == chosen[0].label).sum())} of 256 px",)


def test_the_maps_of_a_region_lie_in_it() -> None:
    gradient = tp.input_x_gradient(segmenter(), IMAGES, tp.Region("cat", (3, 2, 9, 5))).values / IMAGES
    expected = torch.zeros_like(IMAGES)
    expected[:, 0, 2:5, 3:9] = 1 / 18
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("target", [None, "cat", [tp.Region("cat"), tp.Region("dog", (0, 0, 8, 8))]])
@pytest.mark.parametrize("method", ["saliency", "occlusion", "grad_cam", "ablation_cam"])
def test_regions_of_a_batch_are_those_of_its_images(target: Any, method: str) -> None:
    keywords = {"window": 8, "stride": 8} if method == "occlusion" else {}
    run, model = getattr(tp, method), segmenter(2)
    keywords |= {"layer": "conv"} if method.endswith("cam") else {}
    both = run(model, IMAGES, target, **keywords)
    for row in range(2):
        one = target[row] if isinstance(target, list) else target
        alone = run(model, IMAGES[row : row + 1], one, **keywords)
        assert alone.target == (both.target[row],)
        torch.testing.assert_close(alone.values[0], both.values[row], rtol=1e-12, atol=1e-15)
        again = run(model, IMAGES[row : row + 1], [both.explains[row]], **keywords)
        assert torch.equal(again.values, alone.values)


def test_a_region_that_is_empty_or_elsewhere_is_refused() -> None:
    refused: list[tuple[VisionModel, Any, str]] = [
        (segmenter(), tp.Region("cat", torch.zeros(SIDE, SIDE)), "the region is empty: its mask has no pixel"),
        (segmenter(), tp.Region("cat", torch.ones(8, 8)), r"the region's mask is 8 x 8, the image 16 x 16"),
        (segmenter(), tp.Region("cat", (0, 0, 20, 4)), "does not lie in the image"),
        (segmenter(), tp.Region("cat", (1.1, 1, 1.4, 4)), "the region is empty"),
        (segmenter(), tp.Region("bird"), 'no label "bird"'),
        (segmenter(), tp.Region(7), "class 7 does not exist"),
        (wrapped(nn.Sequential(nn.Conv2d(3, 2, 16), nn.Flatten()).double()), tp.Region(1), "is not a segmentation network"),
    ]
    for model, target, words in refused:
        with pytest.raises(TargetError, match=words) as caught:
            scores(model, target)
        assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match="predicts only background"):
        scores(segmenter(), None, -IMAGES.abs())
    with pytest.raises(TargetError, match="predicts cat nowhere in the image"):
        scores(segmenter(), "cat", -IMAGES.abs())


# --- what is kept of them


@pytest.mark.parametrize("target", ["box", "region"])
def test_results_with_a_place_are_saved_and_opened(target: str, tmp_path: Any) -> None:
    model, what = (detector(), tp.Box("cat")) if target == "box" else (segmenter(), tp.Region("cat"))
    done = tp.run("saliency", model, IMAGES, target=what)
    assert done.provenance.parameters["target"] == [str(one) for one in done.value.explains]
    opened = tp.open(tp.save(done, tmp_path / "result")).value
    again = tp.saliency(model, IMAGES, list(opened.explains))
    assert torch.equal(again.values, done.value.values)


@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_faithfulness_of_a_box_is_measured_by_its_own_score(metric: str) -> None:
    model, box = detector(), tp.Box("cat", 0, 0, 8, 8)
    maps = tp.occlusion(model, IMAGES, box, window=4, stride=4)
    result = getattr(tp, metric)(model, IMAGES, maps, n_steps=4, fill="zero")
    whole = -1 if metric == "insertion" else 0  # the end at which nothing is hidden
    torch.testing.assert_close(result.curve[:, whole], RED[:, 0], rtol=1e-12, atol=0)
