"""No text of a visitor's is ever taken for a path or an address, in any place of any method."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_no_text_opens_a_file_or_tells_whether_it_is_there(tmp_path: Path) -> None:
    """Files of these names lie in the working folder: they are neither opened, nor told from ones that are missing."""
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "qq-1-qq.png")
    for end in (".py", ".pt", ""):
        (tmp_path / f"qq-1-qq{end}").write_text("raise SystemExit('run')")
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), *(str(Path(one).resolve()) for one in sys.path if one)])
    command = [sys.executable, str(here / "watched_studio.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, timeout=900)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["asked"] > 300
    assert told["seen"] == []
    assert told["network"] == []
    assert told["differing"] == []
    assert set(told["statuses"]) <= {200, 400, 403, 404, 422}
    assert b"a job failed" not in done.stderr
