"""A cell of the sweep says what happened, and networks come in a state to be explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo import pictures, shared

import tapetum as tp
from benchmarks import sweep
from benchmarks.cells import Cells
from benchmarks.sweep_models import network


def test_a_cell_is_a_status_a_refusal_or_a_crash_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = shared("reused"), pictures(1)

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no such thing")

    ok = sweep.outcome(model, image, "saliency")
    refused = sweep.outcome(shared("vit_mean"), image, "guided_backprop")
    monkeypatch.setattr(tp, "grad_cam", broken)
    crashed = sweep.outcome(model, image, "grad_cam")
    assert [cell["outcome"] for cell in (ok, refused, crashed)] == ["ok", "refused", "crash"]
    assert refused["kind"] == "MethodError"
    assert "RuntimeError: no such thing (" in crashed["why"]

    cells = Cells(tmp_path / "sweep.jsonl")
    name = "torchvision:alexnet"
    for method, cell in (("saliency", ok), ("guided_backprop", refused), ("grad_cam", crashed)):
        cells.add((name, method), **cell)
    text = sweep.report(cells, [name], ["saliency", "guided_backprop", "grad_cam"])
    assert "a map or a typed refusal: 66.7%" in text
    assert f"{name} grad_cam: crash" in text


@pytest.mark.slow
def test_networks_of_the_sweep_have_an_answer_to_explain() -> None:
    model, image = network("torchvision:vit_b_32")  # its head starts as zeros
    with torch.no_grad():
        assert model(image).std() > 0
    model, image = network("torchvision:mobilenet_v2")
    with torch.no_grad():
        scores = model(image)
    assert image.shape[-1] == 96
    assert scores.std() > 0.01  # without statistics of its own batch-norm layers, 1e-5 and less
