"""The two tables of docs/exam.md are those of a fresh exam, and agree with the metrics that verdicts may use."""

from __future__ import annotations

import pytest

import tapetum as tp
from benchmarks.exam import PAGE, method_rows, metric_rows, page
from tapetum.families.exams.passed import PASSED

MINUTES = ("road",)
"""Metrics whose exam takes minutes, which `make bench` alone makes again."""

WRITTEN = PAGE.read_text("utf-8").splitlines()


def test_rows_of_the_page_are_those_of_a_fresh_exam() -> None:
    methods = tp.exam_methods(["lrp", "grad_cam", "hires_cam", "saliency", "integrated_gradients", "cam", "edge_attribution"])
    metrics = tp.exam_metrics(["relevance_mass", "relevance_rank"])
    assert [row for row in (*method_rows(methods), *metric_rows(metrics)) if row not in WRITTEN] == []


def test_every_method_has_a_row_and_the_metrics_that_passed_are_those_of_verdicts() -> None:
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in WRITTEN if line.startswith("| ")}
    names = [one.name for one in tp.methods(kind="attribution")]
    assert [name for name in rows if name in names] == names  # their order is that of registration, whoever imports whom
    assert {name for name, line in rows.items() if line.endswith("**yes** |")} == PASSED


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")  # the laws check the types of the same calls
def test_the_page_is_that_of_a_fresh_exam() -> None:
    names = [one.name for one in tp.methods(kind="metric") if one.name not in MINUTES]
    fresh = page(tp.exam_methods(), tp.exam_metrics(names)).splitlines()
    assert fresh == [line for line in WRITTEN if not line.startswith(tuple(f"| {name} |" for name in MINUTES))]
