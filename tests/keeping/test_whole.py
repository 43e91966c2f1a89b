"""Files appear when they are complete, whoever writes them at the same time."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from tapetum.keeping.whole import clear_leftovers, whole_file, work_folder
from tapetum.reports.machine import write_json


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_json(file, {"a": 1})
    with pytest.raises(UnicodeEncodeError), whole_file(file) as part:
        part.write_text("half a file: \udcff", "utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(file, {"a": float("nan")})
    with pytest.raises(FileNotFoundError), whole_file(file):
        pass  # nothing was written
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Both wrote into `.report.json.part`: the second renamed the first one's half, or found nothing to rename."""
    file, start = tmp_path / "report.json", threading.Barrier(2)
    content = [{"of": i, "values": list(range(i, 3000 + i))} for i in range(2)]
    failed: list[BaseException] = []

    def write(mine: dict[str, object]) -> None:
        try:
            start.wait()
            for _ in range(20):
                write_json(file, mine)
                assert json.loads(file.read_text()) in content
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(one,)) for one in content]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert list(tmp_path.iterdir()) == [file]


def test_new_work_outlives_others_who_clear_leftovers(tmp_path: Path) -> None:
    """A folder was deleted between its making and its lock: 12 of 400 folders and 16 of 400 files were lost here."""
    ended, interval = threading.Event(), sys.getswitchinterval()

    def clear() -> None:
        while not ended.is_set():
            clear_leftovers(tmp_path)

    others = [threading.Thread(target=clear) for _ in range(2)]
    sys.setswitchinterval(1e-5)  # threads take turns in the middle of everything
    try:
        for other in others:
            other.start()
        for _ in range(150):
            with work_folder(tmp_path) as work:
                (work / "part").write_text("ours")
                clear_leftovers(tmp_path)
                assert (work / "part").read_text() == "ours"
            with whole_file(tmp_path / "report") as part:
                part.write_text("whole")
    finally:
        ended.set()
        for other in others:
            other.join()
        sys.setswitchinterval(interval)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
