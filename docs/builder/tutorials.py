"""Pages of the lessons: their executed notebooks, with badges, links and alternative text for each picture."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import notebooks
from markup import escaped, table
from pages import toctree
from PIL import Image

from tapetum.course.scripts import Lesson, lessons

NOT_RUN = ":::{note}\nThis page was built without running the lesson; `make lessons` runs it.\n:::"
QUICK = ":::{note}\nRun in the quick setting: smaller numbers than the lesson has in full.\n:::"


def tutorials_page() -> str:
    """Page of the course: every lesson with its question and minutes."""
    rows = [(_link(one), _question(one), _minutes(one)) for one in lessons()]
    return f"""# Tutorials

A course in short lessons. Each asks you to predict before it shows, and checks what it says when it runs. A lesson also runs
on a model and a picture of yours: `tapetum lesson 6 --model resnet50 --image dog.jpg`.

{table(("lesson", "question", "about"), rows) if rows else ""}

{toctree([one.slug for one in lessons()], hidden=True)}
"""


def _link(lesson: Lesson) -> str:
    return f"[{lesson.number} · {escaped(lesson.title)}](/tutorials/{lesson.slug}.ipynb)"


def _question(lesson: Lesson) -> str:
    found = re.search(r"\*\*(Looks for|Found|Mattered|Trust)\*\*", lesson.cells[0].text)
    return found[1] if found else ""


def _minutes(lesson: Lesson) -> str:
    return f"{lesson.minutes} minutes" if lesson.minutes else ""


def lesson_notebook(lesson: Lesson, linked: Callable[[str], str], folder: Path = notebooks.FOLDER) -> str:
    """The notebook as JSON for Sphinx; `linked` rewrites its links."""
    ran = notebooks.executed(lesson, folder)
    notebook = ran if ran is not None else jupytext.read(lesson.file)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source)
        _describe_picture(cell)
    badge = f"[![Open in Colab](/images/colab.svg)]({notebooks.colab_address(lesson)})"
    file = f'<a href="../notebooks/{lesson.slug}.ipynb">the notebook</a>'
    notes = [f"{badge} {file}", *([NOT_RUN] if ran is None else [])]
    if ran is not None and ran.metadata["tapetum"]["fast"]:
        notes.append(QUICK)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("\n\n".join(notes)))
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(notebook)


def _describe_picture(cell: Any) -> None:
    """Uses the figure's title as alternative text."""
    for output in cell.get("outputs", ()):
        data = output.get("data", {}).get("image/png")
        if data:
            with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
                words = str(picture.info.get("Title", "A figure"))
            cell.metadata["mystnb"] = {"image": {"alt": words}}
