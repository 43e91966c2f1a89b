"""The real program, as a shell starts it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "tapetum"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(*words):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PROGRAM, *words], **pipes, text=True, env=QUIET)


def test_the_main_job_prints_the_report_and_nothing_else(place: Path) -> None:
    words = ["explain", "cat.png", "text.jpg", "--model", "net.py:build", "--methods", "grad_cam", "--out", "out", "--json"]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, env=QUIET, check=False)
    assert done.returncode == 1
    assert done.stdout == (place / "out" / "report.json").read_bytes()
    assert [image["file"] for image in json.loads(done.stdout)["images"]] == ["cat.png"]
    assert done.stderr.decode().splitlines() == ["tapetum: text.jpg: text, not an image; give a picture such as JPEG or PNG"]


def test_ctrl_c_in_the_middle(place: Path) -> None:
    """Where the interrupt comes before any image is done, and inside of this process: test_refusals.py."""
    words = ["--model", "net.py:waiting", "--methods", "grad_cam", "--out", "out"]
    program = start("explain", "cat.png", "white.png", "dog.png", *words)
    deadline = time.monotonic() + 60
    while not (place / "waiting").exists() and program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
    assert (program.returncode, err) == (1, "stopped: 1 of 3 images are done; the same command goes on\n")
    assert (place / "out" / "report.html").is_file()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    words = f"{shlex.join(PROGRAM)} models | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, env=QUIET, check=False)
    assert done.stdout.splitlines() == ["# built in (3)", "0"]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.weights
def test_the_demo_needs_nothing(place: Path) -> None:
    words = ["demo", "--photo", "cat", "--out", "out"]  # `make demo` explains both photographs
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, env=QUIET, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("report: out/report.html\n")
    assert "cat' (" in done.stdout.splitlines()[1]
    assert (place / "out" / "report.html").is_file()
