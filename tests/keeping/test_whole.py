"""Files appear when they are complete, whoever writes them at the same time."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tapetum.keeping.whole import whole_file
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
