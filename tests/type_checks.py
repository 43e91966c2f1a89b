"""Checks every annotated type of tapetum while the tests run: beartype around each function, jaxtyping where shapes are named.

jaxtyping's own import hook would do both, but around every call it binds the arguments and opens a table of shapes, and it
compiles the checks of a closure anew each time that it is made: five sixths of the suite's time went there.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, cast
from unittest.mock import patch

from beartype import beartype
from jaxtyping import config, jaxtyped

shaped = jaxtyped(typechecker=beartype)


def checked(one: Any) -> Any:
    """A function, or the making of a dataclass, with its types checked."""
    if isinstance(one, type):
        if dataclasses.is_dataclass(one) and isinstance(vars(one).get("__init__"), FunctionType):
            one.__init__ = checked(one.__init__)
        return one
    if not getattr(one, "__annotations__", None):
        return one
    hints, typed = _hints(one), cast(Callable[..., Any] | None, None)

    @functools.wraps(one)
    def switched(*args: Any, **kwargs: Any) -> Any:
        nonlocal typed
        if config.jaxtyping_disable:
            return one(*args, **kwargs)
        if typed is None:  # most functions are never called by one process
            typed = _typed(one, hints)
        return typed(*args, **kwargs)

    return switched


def checked_closure(one: Any) -> Any:
    """A function that is made inside of another: its checks are made once for all functions of that code."""
    if isinstance(one, type):
        return checked(one)
    if not getattr(one, "__annotations__", None):
        return one

    @functools.wraps(one)
    def switched(*args: Any, **kwargs: Any) -> Any:
        if config.jaxtyping_disable:
            return one(*args, **kwargs)
        if one.__code__ not in KNOWN:
            KNOWN[one.__code__] = _twins(one)
        arguments, result = KNOWN[one.__code__]
        arguments(*args, **kwargs)
        made = one(*args, **kwargs)
        result(made)
        return made

    return switched


KNOWN: dict[CodeType, tuple[Callable[..., Any], Callable[..., Any]]] = {}


def _typed(one: FunctionType, hints: dict[str, Any]) -> Callable[..., Any]:
    copy = FunctionType(one.__code__, one.__globals__, one.__name__, one.__defaults__, one.__closure__)
    copy.__kwdefaults__, copy.__qualname__, copy.__module__ = one.__kwdefaults__, one.__qualname__, one.__module__
    copy.__annotations__ = hints
    return cast(Callable[..., Any], beartype(copy))


def _twins(one: FunctionType) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two functions that do nothing but check: the arguments, as that one would get them, and the result."""
    hints = _hints(one)
    bare = [
        parameter.replace(annotation=parameter.empty, default=parameter.empty if parameter.default is parameter.empty else None)
        for parameter in inspect.signature(one).parameters.values()
    ]
    made: dict[str, Any] = {}
    exec(f"def arguments{inspect.Signature(bare)}: pass\ndef result(value): pass", made)
    arguments, result = made["arguments"], made["result"]
    result.__annotations__ = {"value": hints.pop("return")} if "return" in hints else {}
    arguments.__annotations__, arguments.__defaults__, arguments.__kwdefaults__ = hints, one.__defaults__, one.__kwdefaults__
    return beartype(arguments), beartype(result)


def _hints(one: FunctionType) -> dict[str, Any]:
    """Its annotations as types, without those that need names which come later, or are there for the type checker alone."""
    hints: dict[str, Any] = {}
    for name, hint in one.__annotations__.items():
        with contextlib.suppress(Exception):
            hints[name] = eval(hint, one.__globals__) if isinstance(hint, str) else hint
    return hints


class Decorated(ast.NodeTransformer):
    """Each function and class gets the decorator; for functions it is the innermost, for classes the outermost."""

    def __init__(self, shapes: bool) -> None:
        self.shapes, self.depth = shapes, 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(self._decorator(node))
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, self._decorator(node))
        self.generic_visit(node)
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        first = [isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in node.body]
        place = len(first) - first[::-1].index(True) if any(first) else int(ast.get_docstring(node) is not None)
        node.body.insert(place, ast.Import([ast.alias("type_checks")]))
        return node

    def _decorator(self, node: ast.AST) -> ast.expr:
        name = "shaped" if self.shapes else "checked_closure" if self.depth else "checked"
        return ast.copy_location(ast.Attribute(ast.Name("type_checks", ast.Load()), name, ast.Load()), node)


class Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        source = importlib.util.decode_source(data)
        tree = Decorated("from jaxtyping import" in source).visit(ast.parse(source, path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)

    def exec_module(self, module: Any) -> None:
        marked = functools.partial(importlib.util.cache_from_source, optimization="checked")
        with patch("importlib._bootstrap_external.cache_from_source", lambda path, *_, **__: marked(path)):
            super().exec_module(module)


class Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] != "tapetum":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    assert "tapetum" not in sys.modules
    sys.meta_path.insert(0, cast(Any, Finder()))
