"""Files that a browser may have: the page's, an atlas's, and reports; nothing else of this computer."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tapetum.files import contents, inside
from tapetum.types import DamagedError

TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".webp": "image/webp", ".png": "image/png", ".json": "application/json",
}  # fmt: skip
OURS = ("index.html", "studio.js", "studio.css")
LARGEST = 200_000_000

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Answer(NamedTuple):
    data: bytes
    kind: str
    etag: str
    headers: dict[str, str]


def found(path: str, site: Path, atlas: Path | None, reports: Sequence[Path]) -> Answer | None:
    """Returns the file at an address of the studio, or None."""
    if (path or "index.html") in OURS:
        return _read(site / (path or "index.html"), own=True)
    first, _, rest = path.partition("/")
    if first == "atlas" and atlas is not None:
        return _read(_inside(atlas, rest or "index.html"))
    numbered = {str(i): one for i, one in enumerate(reports)}
    return _read(numbered.get(rest)) if first == "reports" else None


def _inside(folder: Path, path: str) -> Path | None:
    """Returns a file inside a folder; None for names and links that lead elsewhere, and for kinds that are not served."""
    with contextlib.suppress(OSError, ValueError, DamagedError):
        file = inside(folder, *path.split("/"))
        if file.suffix in TYPES and file.is_file():
            return file
    return None


def _read(file: Path | None, own: bool = False) -> Answer | None:
    if file is None or not file.is_file():
        return None
    data = contents(file, LARGEST)
    headers = (
        {"Content-Security-Policy": policy_of(data.decode("utf-8", "replace"))} if file.suffix == ".html" and not own else {}
    )
    return Answer(data, TYPES[file.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"', headers)


def policy_of(page: str) -> str:
    """Returns the policy of a page with scripts of its own inside: these run, and no others."""
    hashes = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in _SCRIPT.findall(page))
    scripts = " ".join(["'self'", *(f"'sha256-{one}'" for one in hashes)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
