"""Builds in processes of their own, killed for real and begun again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small import network, picture_folder

import tapetum as tp
from tapetum.atlas.build import build
from tapetum.atlas.export import broken
from tapetum.atlas.stages import alone

PROGRAM = """
import sys
from pathlib import Path
from small import network
from tapetum.atlas.build import build
from tapetum.progress import watching

with watching(lambda event: print(event.stage, event.done, flush=True)):
    build(network(), sys.argv[1], sys.argv[2], render=None, maps=None, workers=1)
"""


def begun(data: Path, out: Path) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests / "atlas"), str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", PROGRAM, str(data), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_half_written_and_goes_on_to_the_same_files(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", 150)  # three shards
    build(network(), data, tmp_path / "whole", render=None, maps=None)
    for events in (1, 4, 12, 16):
        with begun(data, tmp_path / "out") as process:
            assert process.stdout is not None
            for _ in range(events):
                line = process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        if line and (tmp_path / "out" / "site").exists():
            assert broken(tmp_path / "out" / "site") == []
    done = build(network(), data, tmp_path / "out", render=None, maps=None)
    assert (done.pictures, len(done.skipped)) == (148, 2)
    for file in (tmp_path / "whole").rglob("*"):
        same = file.relative_to(tmp_path / "whole")
        if (
            file.is_file()
            and file.name not in ("manifest.json", "index.js", "atlas.sqlite", ".lock")
            and "scan" not in same.parts
        ):
            assert (tmp_path / "out" / same).read_bytes() == file.read_bytes(), same
    left = [path.name for path in (tmp_path / "out").rglob(".*")]
    assert left == [".lock"]


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", 4, damaged=False)
    with alone(tmp_path / "out"), pytest.raises(tp.TapetumError, match="another build is at work"):
        build(network(), data, tmp_path / "out", render=None, maps=None)
    build(network(), data, tmp_path / "out", render=None, maps=None)  # once the first has ended
