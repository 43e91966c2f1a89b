"""Every reader over 1,600 changed files: it reads or refuses, and does nothing else (fuzzing.py says what is watched)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEED = 0
GROUPS = [
    "pictures:380 weights:150 models:120 tables:50",
    "results:250 parquet:60 training:40 explained:20",
    "provenance:24 rendered:30 requests:150 tars:150",
    "atlas:30 builds:40 shards:120",
]
"""Readers and how many files of each are changed; a group shares the time that a process takes to begin."""

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("jobs", GROUPS)
def test_a_changed_file_is_read_or_refused_and_nothing_else_happens(jobs: str, tmp_path: Path) -> None:
    places = (HERE, HERE.parent, *filter(None, [os.environ.get("PYTHONPATH")]))
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "fuzzing.py"), str(SEED), str(tmp_path), *jobs.split()]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"reader"')]
    what = {(line["reader"], line["begun"]): line["what"] for line in lines if "begun" in line}
    ended = {(line["reader"], line["ended"]): line for line in lines if "ended" in line}
    faults = [f"{key} {what[key]}\n{fault}" for key, line in ended.items() for fault in line["faults"]]
    faults += [f"{key} {change}\nthe process ended" for key, change in what.items() if key not in ended]
    faults += [f"{line}\n{done.stderr[-2000:]}" for line in lines if line.get("status")]
    assert not faults, "\n\n".join(faults[:20])
    assert len(ended) == sum(int(job.partition(":")[2]) for job in jobs.split())
