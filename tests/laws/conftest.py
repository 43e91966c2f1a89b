"""The laws of methods run method by method, so that one call on a network serves many of them, in each worker."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [place for place, item in enumerate(items) if item.path == Path(__file__).parent / "test_laws.py"]
    laws = sorted((items[place] for place in places), key=_method)
    for place, item in zip(places, laws, strict=True):
        items[place] = item


def _method(item: pytest.Item) -> str:
    return str(item.callspec.params["method"]) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
