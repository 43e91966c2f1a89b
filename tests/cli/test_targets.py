"""Targets as texts on the command line: classes and contrasts, units, boxes and regions."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

DENSE = """
import torch
import tapetum as tp

LABELS = ["__background__", "cat", "dog"]


class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, 2, padding=1)

    def forward(self, images):
        left = self.conv(images)[..., :8].relu().mean((1, 2, 3)).sigmoid()
        boxes = torch.tensor([[0.0, 0.0, 16.0, 32.0]])
        labels = torch.tensor([1])
        return [{"boxes": boxes, "labels": labels, "scores": score[None]} for score in left]


def detector():
    torch.manual_seed(0)
    return tp.wrap(Detector(), size=32, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS)


def segmenter():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1))
    return tp.wrap(net, size=32, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS)
"""


@pytest.fixture
def place(place):
    (place / "dense.py").write_text(DENSE)
    return place


TARGETS = {
    ("net.py:build", "tabby rather than dog"): "tabby rather than dog",
    ("net.py:build", "tabby - dog"): "tabby rather than dog",
    ("net.py:build", "log-probability of dog"): "log-probability of dog",
    ("net.py:build", "output 3"): "output 3",
    ("net.py:build", "features.0.0:2"): "features.0.0:2",
    ("dense.py:detector", "cat"): "cat@0,0,16,32",
    ("dense.py:detector", "cat@0,0,20,30"): "cat@0,0,20,30",
    ("dense.py:segmenter", "dog@0,0,8,8"): "dog in 64 of 1024 px",
}


@pytest.mark.parametrize(("model", "target"), TARGETS)
def test_run_takes_a_target_as_text(tapetum: CommandLine, place: Path, model: Any, target: Any) -> None:
    if target.startswith("features"):
        layers = tapetum("layers", model).out
        target = f"{next(line.split()[0] for line in layers.splitlines() if 'Conv2d' in line)}:2"
    answer = tapetum("run", "saliency", "cat.png", "--model", model, "--target", target, "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    (image,) = json.loads((place / "out" / "report.json").read_text())["images"]
    assert image["target"] == TARGETS.get((model, target), target)


@pytest.mark.parametrize("target", [None, "cat", "cat@0,0,16,32"])
def test_a_detection_is_reported(tapetum: CommandLine, place: Path, target: str | None) -> None:
    words = () if target is None else ("--target", target)
    model = ("--model", "dense.py:detector", "--methods", "saliency,occlusion", "--out", "out")
    answer = tapetum("explain", "cat.png", *model, *words)
    assert (answer.status, answer.err) == (0, "")
    (image,) = json.loads((place / "out" / "report.json").read_text())["images"]
    assert image["predictions"] == []
    assert "cat@0,0,16,32" in json.dumps(image)
    assert "cat@0,0,16,32" in (place / "out" / "report.html").read_text()


REFUSED = {
    ("net.py:build", "tabby rather than mouse"): 'no label "mouse"',
    ("net.py:build", "tabby@0,0,4,4"): "is not a detector: a box is no target for it; give a class",
    ("net.py:build", "similarity to a cat"): "has no text tower",
    ("dense.py:detector", "cat@0,0,64,8"): "does not lie in the image of 32 x 32 px",
    ("dense.py:detector", "bird"): 'no label "bird"',
    ("dense.py:segmenter", "cat@4,4,4.2,8"): "the region is empty",
}


@pytest.mark.parametrize(("model", "target"), REFUSED)
def test_a_target_that_cannot_be_is_refused_before_any_work(tapetum: CommandLine, place: Path, model: Any, target: Any) -> None:
    answer = tapetum("run", "saliency", "cat.png", "--model", model, "--target", target, "--out", "out")
    assert answer.status == 2
    (line,) = answer.err.splitlines()
    assert REFUSED[model, target] in line
    assert not (place / "out").exists()


def test_what_an_image_does_not_show_is_refused_for_that_image(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("run", "saliency", "cat.png", "--model", "dense.py:detector", "--target", "dog", "--out", "out")
    assert answer.status == 2
    assert "cat.png: no detection of dog" in answer.err
