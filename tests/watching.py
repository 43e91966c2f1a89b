"""A browser's page under watch: what it asks for, and what it complains of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def watched(
    browser: Any, inside: str, *, missing: tuple[str, ...] = (), width: int = 1440, scheme: str = "light"
) -> Iterator[Any]:
    """A page of its own. At the end: nothing but addresses under `inside` was asked for, and only `missing` ones failed."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert [url for url in asked if not url.startswith((inside.rstrip("/") + "/", "data:"))] == []
    assert [text for text in errors if not (missing and "Failed to load resource" in text)] == []
    assert all(any(url.endswith(name) for url in asked) for name in missing)
