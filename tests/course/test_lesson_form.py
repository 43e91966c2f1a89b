"""Every lesson has the form that CONTRIBUTING describes. Nothing is executed here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tapetum as tp
from tapetum.course.links import links, page_of
from tapetum.course.scripts import Lesson, lessons

ROOT = Path(__file__).resolve().parents[2]
LESSONS = lessons()
WITHOUT_PICTURE = ("Misconceptions", "Formulas", "On your own picture", "References")
QUESTIONS = ("Looks for", "Found", "Mattered", "Trust")
COURSE = tuple(range(1, 24))

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)


def _text(lesson: Lesson) -> str:
    return "\n\n".join(cell.text for cell in lesson.cells if cell.kind == "markdown")


def _sections(lesson: Lesson) -> dict[str, list[str]]:
    """{title: the code of its cells}, in order."""
    found: dict[str, list[str]] = {}
    title = ""
    for cell in lesson.cells:
        if cell.kind == "code":
            found.setdefault(title, []).append(cell.text)
            continue
        for line in cell.text.splitlines():
            title = line.removeprefix("## ").strip() if line.startswith("## ") else title
        found.setdefault(title, [])
    return found


def _shows(code: str) -> bool:
    """Whether the cell ends with something to be seen: a call or a name that is neither a print nor a check."""
    last = ast.parse(code).body[-1]
    return isinstance(last, ast.Expr) and not re.match(r"(print|here\.\w+)\(", ast.unparse(last))


def test_numbers_are_those_of_the_files_and_each_is_there_once() -> None:
    assert [lesson.number for lesson in LESSONS] == [int(lesson.slug[:2]) for lesson in LESSONS]
    assert [lesson.number for lesson in LESSONS] == list(COURSE)


@every_lesson
def test_the_first_cell_says_question_minutes_and_aims(lesson: Lesson) -> None:
    head = lesson.cells[0].text
    assert any(f"**{question}**" in head for question in QUESTIONS)
    assert lesson.minutes is not None
    aims = head.partition("You will")[2]
    assert 3 <= len(re.findall(r"^[-*] |^\d\. ", aims, re.MULTILINE)) <= 5


@every_lesson
def test_every_section_ends_in_a_picture(lesson: Lesson) -> None:
    sections = {title: code for title, code in _sections(lesson).items() if title and title not in WITHOUT_PICTURE}
    assert len(sections) >= 3
    assert not [title for title, code in sections.items() if not any(map(_shows, code))]


@every_lesson
def test_predictions_have_hidden_answers_and_what_you_should_see_runs(lesson: Lesson) -> None:
    text = _text(lesson)
    code = "\n".join(cell.text for cell in lesson.cells if cell.kind == "code")
    assert text.count("**Predict.**") >= 2
    answers = re.findall(r"<details>\s*<summary>Answer</summary>\n\n.+?\n\n</details>", text, re.DOTALL)
    assert len(answers) == text.count("<details>") == text.count("**Predict.**")
    assert len(re.findall(r"here\.(?:see|holds)\(", code)) >= 3
    assert not re.search(r"here\.(?:see|holds)\(\s*True", code)


@every_lesson
def test_it_ends_with_misconceptions_formulas_your_own_picture_and_references(lesson: Lesson) -> None:
    text = _text(lesson)
    parts = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(parts)[-4:] == list(WITHOUT_PICTURE)
    assert "$" in parts["Formulas"]
    assert f"tapetum lesson {lesson.number}" in parts["On your own picture"]
    assert "bib:" in parts["References"]


@every_lesson
def test_code_is_short_and_imports_only_tapetum_and_torch(lesson: Lesson) -> None:
    for cell in lesson.cells:
        if cell.kind == "code":
            tree = ast.parse(cell.text)
            assert len([line for line in cell.text.splitlines() if line.strip()]) <= 20, f"line {cell.line}"
            names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            assert {name.partition(".")[0] for name in names} <= {"tapetum", "torch"}
    assert f"here = start({lesson.number})" in lesson.file.read_text("utf-8")


@every_lesson
def test_links_resolve(lesson: Lesson) -> None:
    references = (ROOT / "docs" / "references.bib").read_text("utf-8")
    schemes = re.findall(r"\]\((\w+):(?!//)", _text(lesson))
    assert len(schemes) == len(links(_text(lesson))), "a link of an unknown kind"
    for scheme, name in links(_text(lesson)):
        if scheme == "lesson":
            assert int(name) in COURSE
        elif scheme == "bib":
            assert re.search(rf"^@\w+\{{{re.escape(name)},$", references, re.MULTILINE), name
        elif scheme == "howto":
            assert (ROOT / "docs" / "howto" / f"{name}.md").is_file(), name
        elif scheme == "studio":
            page_of(scheme, name)  # refuses unknown tabs, methods and photographs
        else:
            assert hasattr(tp, name.partition(".")[0]), name
