"""tapetum: what a vision network looks for, what it found, what mattered, and whether to trust it.

    import tapetum as tp

    model = tp.load("efficientnet_lite0")
    images = model.preprocess(tp.read_image("cat.jpg"))
    tp.grad_cam(model, images, target="tabby").heatmap()

Every method of the registry is here under its name (`tp.methods()` lists them). `import tapetum` is quick: a name is imported
when it is used, from where `__init__.pyi` says.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from typing import Any


def _homes() -> dict[str, str]:
    """Returns {public name: module that defines it}, as read from `__init__.pyi`."""
    stub = ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"")
    ours = [node for node in stub.body if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tapetum")]
    return {one.name: str(node.module) for node in ours for one in node.names}


_HOMES = _homes()
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    globals()[name] = value = _found(name)
    return value


def _found(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("tapetum")
    if name.startswith("_"):
        raise AttributeError(f"module 'tapetum' has no attribute '{name}'")
    if importlib.util.find_spec(f"tapetum.{name}"):
        return importlib.import_module(f"tapetum.{name}")
    registry = importlib.import_module("tapetum.registry")
    found = {method.name: method.function for method in registry.methods()}
    if name not in found:
        close = importlib.import_module("difflib").get_close_matches(name, [*_HOMES, *found], 3)
        hint = f"; close names: {', '.join(close)}" if close else ""
        raise AttributeError(f"module 'tapetum' has no attribute '{name}'{hint}")
    return found[name]


def __dir__() -> list[str]:
    registry = importlib.import_module("tapetum.registry")
    return sorted({*__all__, "__version__", *(method.name for method in registry.methods())})
