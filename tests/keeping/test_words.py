"""Whole files, locks and refusals are made in one folder of the package and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tapetum

PACKAGE = Path(tapetum.__file__).parent
WORDS = {"fsync", "flock", "fcntl", "uuid", "uuid4", "mkdtemp", "mkstemp", "NamedTemporaryFile", "os.replace", "os.rename"}
TEXTS = ("(--no-resume) to replace it", ".tapetum-")
SCRATCH = {"course/beginning.py": {"mkdtemp"}}  # a folder that goes with its process, and takes no other name


def words(tree: ast.AST) -> Iterator[str]:
    """Names of what writes, moves and locks, and the beginnings of hidden names and refusals."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
            yield f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (text for text in TEXTS if text in node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _moves(node, node.func.attr):
            yield "os.replace"


def _moves(call: ast.Call, name: str) -> bool:
    """Path.replace and Path.rename have one argument, those of texts two, and that of dataclasses names."""
    return name in ("replace", "rename") and len(call.args) == 1 and not call.keywords


def found(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return set(words(tree)) & (WORDS | set(TEXTS)) - SCRATCH.get(path.relative_to(PACKAGE).as_posix(), set())


def test_no_file_outside_of_keeping_writes_whole_files_in_its_own_way() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "keeping"]
    assert {path.name: words for path in files if (words := found(path))} == {}


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("path.replace(other)", "os.replace"),
        ("os.fsync(1)", "fsync"),
        ("import fcntl", "fcntl"),
        ("f'{x}: (--no-resume) to replace it'", "(--no-resume) to replace it"),
    ],
)
def test_the_words_are_found(code: str, word: str) -> None:
    assert word in set(words(ast.parse(code)))
    assert "os.replace" not in set(words(ast.parse("text.replace('a', 'b'); copy.replace(a=1)")))
