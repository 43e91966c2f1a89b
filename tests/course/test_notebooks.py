"""Lessons as notebooks: run in kernels, not again while nothing changed, stopped by the first cell that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from docs_builder import BUILDER, module_of

from tapetum.course import scripts

ROOT = Path(__file__).resolve().parents[2]

TEXT = """# %% [markdown]
# # {n} · Numbers
#
# **Found** · about 2 minutes · see [tp.show](api:show)

# %%
import tapetum as tp
from tapetum.course import start

here = start({n})
model = here.model("simple_cnn", weights="random")

# %%
images = model.preprocess(here.picture("cat"))
here.holds(len(images) == {images}, "one image")
tp.show(tp.edge_attribution(model, images, target=0))
"""


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for n in (1, 2):
        (tmp_path / f"0{n}_numbers.py").write_text(TEXT.format(n=n, images=1), "utf-8")
    monkeypatch.setattr(scripts, "scripts_folder", lambda: tmp_path)
    return tmp_path


EXECUTE = """
import sys
from pathlib import Path
from tapetum.course import scripts

docs, course, out, *numbers = sys.argv[1:]
scripts.scripts_folder = lambda: Path(course)
sys.path.insert(0, docs)
import notebooks

sys.argv = ["notebooks", "--out", out, *numbers]
raise SystemExit(notebooks.main())
"""
"""In a process of its own: Jupyter's client leaves sockets and event loops to the end of the program."""


def execute(course: Path, out: Path, *numbers: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", EXECUTE, str(BUILDER), str(course), str(out), *numbers]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.slow
def test_lessons_run_once_and_again_when_their_script_or_settings_change(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks, out = module_of("notebooks"), tmp_path / "out"
    done = execute(course, out)
    assert done.returncode == 0, done.stderr
    assert [line[:8] for line in done.stdout.splitlines()] == ["1 of 2: ", "2 of 2: "]
    ran = json.loads((out / "01_numbers.ipynb").read_text("utf-8"))
    printed, shown = ran["cells"][2]["outputs"]
    assert "".join(printed["text"]) == "\N{CHECK MARK} holds: one image\n"
    assert shown["data"]["image/png"]
    assert shown["metadata"]["image/png"]["width"] > 0

    (course / "02_numbers.py").write_text(TEXT.format(n=2, images=1) + "\n# more\n", "utf-8")
    said = execute(course, out).stdout.splitlines()
    assert said[0] == "1 of 2 lessons are as they were when they ran"
    assert said[1].startswith("1 of 1: lesson 2, ")
    assert len(said) == 2

    (lesson,) = notebooks.chosen([1])
    assert notebooks.executed(lesson, out, notebooks._setting())["cells"][2].outputs
    monkeypatch.setenv("LESSON_FAST", "1")
    assert notebooks.executed(lesson, out, notebooks._setting()) is None  # so it would run again


@pytest.mark.slow
def test_a_cell_that_fails_is_named_and_leaves_no_notebook(course: Path, tmp_path: Path) -> None:
    (course / "01_numbers.py").write_text(TEXT.format(n=1, images=7), "utf-8")
    done = execute(course, tmp_path / "out", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("lesson 1 (01_numbers), code cell 2: LessonError: lesson 1: this should hold")
    assert "    here.holds(len(images) == 7" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_lesson_that_is_not_there_is_named(course: Path) -> None:
    notebooks = module_of("notebooks")
    with pytest.raises(notebooks.LessonFailed, match=r"no lesson 9; there are 1, 2"):
        notebooks.chosen([1, 9])


def test_the_clean_notebook_is_the_same_each_time_and_has_no_outputs(course: Path, tmp_path: Path) -> None:
    notebooks = module_of("notebooks")
    (lesson,) = notebooks.chosen([1])
    first = notebooks.write_clean(lesson, tmp_path / "a").read_bytes()
    assert first == notebooks.write_clean(lesson, tmp_path / "b").read_bytes()
    cells = json.loads(first)["cells"]
    assert "".join(cells[1]["source"]).startswith("%pip install")
    assert f"]({notebooks.urls()['Documentation']}reference/python.html#tapetum.show)" in "".join(cells[2]["source"])
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_installed_lessons_are_found_where_the_wheel_puts_them() -> None:
    import tomllib

    built = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"] == {"lessons": "tapetum/course/lessons"}
    assert Path(scripts.__file__).with_name("lessons").relative_to(ROOT / "src") == Path("tapetum/course/lessons")
    assert scripts.scripts_folder() == ROOT / "lessons"
