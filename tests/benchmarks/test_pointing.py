"""The grid-pointing game's measure is right, and the automatic layer points at the class that was asked about."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.mosaics import Mosaic, mosaics, photographs, share
from benchmarks.pointing import Row, measure


def test_share_is_the_positive_part_in_the_quarter() -> None:
    heatmap = torch.tensor([[1.0, 0, -5, 2], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 4]])
    assert [share(heatmap, quarter) for quarter in range(4)] == [0.1, 0.2, 0.3, 0.4]
    assert share(-heatmap.abs(), 0) is None


def test_a_row_goes_on_where_it_was_stopped_and_is_never_asked_twice(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def explain(mosaic: Mosaic, quarter: int) -> tuple[torch.Tensor, str]:
        asked.append((mosaic.classes[0], quarter))
        found = torch.zeros(4, 4)
        found[2 * (quarter // 2), 2 * (quarter % 2)] = 1
        return found, "ok"

    scenes = [Mosaic(torch.zeros(1, 3, 8, 8), (number,) * 4, ("",) * 4) for number in range(5)]
    row = Row("row", "family", explain)
    first = measure(row, scenes, Cells(tmp_path / "cells.jsonl"), seconds=0)
    assert asked == [(0, 0), (1, 1)]  # even what takes far too long gets two
    assert first.share == 1
    assert first.stderr == 0
    with (tmp_path / "cells.jsonl").open("a") as lines:
        lines.write('{"key": ["row", 4')  # as a killed process leaves it
    whole = measure(row, scenes, Cells(tmp_path / "cells.jsonl"), seconds=100)
    again = measure(row, scenes, Cells(tmp_path / "cells.jsonl"), seconds=100)
    assert again.cells == whole.cells
    assert len(asked) == len(set(asked)) == len(whole.cells) == 20


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.skipif(not photographs(), reason="no photographs beside the project")
def test_automatic_layer_points_at_the_class_that_was_asked_about() -> None:
    model = tp.load("efficientnet_lite0")
    scenes = mosaics(model, photographs(), 6)
    assert len(scenes) == 6

    def mean(method: str, **keywords: object) -> float:
        found = []
        for scene in scenes:
            maps = getattr(tp, method)(model, scene.image.repeat(4, 1, 1, 1), list(scene.classes), **keywords).heatmap()
            found += [share(maps[quarter], quarter) or 0.0 for quarter in range(4)]
        return sum(found) / len(found)

    # On 24 mosaics .863, standard error of one mosaic .044, so of six .018: .82 is more than two of them away.
    assert mean("grad_cam") >= 0.82
    assert mean("random_attribution") == pytest.approx(0.25)  # the four quarters of one map
    assert mean("grad_cam") > mean("grad_cam", layer="bn2") > mean("grad_cam", layer="blocks.5")  # .83, .48
    # Both take away what the class shares with others: .98 and .91
    assert mean("eigen_grad_cam") >= 0.9
    assert mean("finer_cam") > mean("grad_cam")
