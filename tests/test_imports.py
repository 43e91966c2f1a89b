"""No module of tapetum needs itself: imports form no circle, those inside functions and by name counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "tapetum"


def modules() -> dict[str, Path]:
    """{dotted name: file} of every module of the package."""
    found: dict[str, Path] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ("tapetum", *file.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from statements(node)


def names_in(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports, at its top, in a function, or by `importlib.import_module("...")`."""
    for node in statements(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def imports() -> dict[str, set[str]]:
    """{module: modules of tapetum that it imports}; `tapetum` itself resolves its public names when they are used."""
    files = modules()
    found: dict[str, set[str]] = {}
    for module, file in files.items():
        trees = ast.parse(file.read_text("utf-8"))
        wanted = {name if name in files else name.rpartition(".")[0] for name in names_in(trees)}
        found[module] = {name for name in wanted if name in files and name not in (module, "tapetum")}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules of which each reaches every other."""
    reached = {name: _reachable(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in graph}
    return [list(group) for group in sorted(groups) if group]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def test_no_module_needs_itself() -> None:
    left = circles(imports())
    assert not left, "modules that import each other in a circle:\n" + "\n".join(map(", ".join, left))


def test_a_circle_is_found_wherever_the_import_stands() -> None:
    written = {
        "top": "from tapetum.b import x",
        "inside": "def f():\n    from tapetum.b import x",
        "named": "def f():\n    return importlib.import_module('tapetum.b')",
        "typed": "if TYPE_CHECKING:\n    from tapetum.b import x",
    }
    found = {place: {name.removesuffix(".x") for name in names_in(ast.parse(text))} for place, text in written.items()}
    assert found == {"top": {"tapetum.b"}, "inside": {"tapetum.b"}, "named": {"tapetum.b"}, "typed": set()}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
