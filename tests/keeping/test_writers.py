"""Whoever writes a file or a folder, and however their process ends: what is there is the earlier content, or the new one."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from writers import WRITERS, planted, written

from tapetum.keeping import whole
from tapetum.keeping.keyed import Kept, Key
from tapetum.keeping.whole import LEFTOVER, clear_leftovers


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start at once: forked from one that has imported everything, and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", *sorted(name for name in sys.modules if name.startswith("tapetum."))])
    return context


def contents(place: Path) -> dict[str, bytes]:
    """{file: bytes} of all that has its own name."""
    files = {path.relative_to(place): path for path in place.rglob("*") if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in files.items() if not any(map(LEFTOVER.match, name.parts))}


def cleared(place: Path) -> list[Path]:
    """What hidden names are left when the next run has cleared up."""
    clear_leftovers(place, *(path for path in place.rglob("*") if path.is_dir()))
    return list(place.rglob(".*"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_process_that_is_killed_leaves_the_earlier_content(name: str, processes: ForkServerContext, tmp_path: Path) -> None:
    written(name, str(tmp_path), 1)
    before = contents(tmp_path)
    process = processes.Process(target=written, args=(name, str(tmp_path), 2, True))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert contents(tmp_path) == before
    assert [path for path in tmp_path.rglob(".*") if LEFTOVER.fullmatch(path.name)]
    assert cleared(tmp_path) == []
    written(name, str(tmp_path), 2)
    assert contents(tmp_path) != before


@pytest.mark.parametrize("name", WRITERS)
def test_two_processes_at_once_do_not_collide(name: str, processes: ForkServerContext, tmp_path: Path) -> None:
    alone = []
    for version in (1, 2):
        (tmp_path / str(version)).mkdir()
        written(name, str(tmp_path / str(version)), version)
        alone.append(contents(tmp_path / str(version)))
    place = tmp_path / "both"
    place.mkdir()
    many = [processes.Process(target=written, args=(name, str(place), version, False, 8)) for version in (1, 2)]
    for process in many:
        process.start()
    for process in many:
        process.join(60)
    assert [process.exitcode for process in many] == [0, 0]
    assert contents(place) in alone
    assert list(place.rglob(".*")) == []


def test_two_that_begin_the_same_work_at_once_share_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, key = tmp_path / "kept", Key({"of": "the same"})

    def other_comes_first(work: Path) -> None:
        monkeypatch.undo()
        Kept(begun, key).write("piece", b"of the other")

    monkeypatch.setattr(whole, "_sync_all", other_comes_first)
    assert Kept(begun, key).read("piece", Path.read_bytes) == b"of the other"
    assert list(tmp_path.rglob(".*")) == []


def test_a_folder_is_not_there_before_it_is_whole(processes: ForkServerContext, tmp_path: Path) -> None:
    process = processes.Process(target=planted, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert contents(tmp_path) == {}
    assert cleared(tmp_path) == []
