"""Resolves symbolic links in lessons and guides: `[Grad-CAM](api:grad_cam)`, `[...](bib:selvaraju2017gradcam)`,
`[lesson 9](lesson:9)`, `[how to ...](howto:own-model)`, `[this map](studio:mattered?methods=rise)` into a running studio. Each
renderer decides where they lead."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata
from urllib.parse import parse_qsl, urljoin

import tapetum
from tapetum.course.scripts import lessons
from tapetum.data.sources import PHOTOGRAPHS
from tapetum.types import TapetumError
from tapetum.types.text import split_names

_LINK = re.compile(r"\[(?P<words>[^\[\]]+)\]\((?P<scheme>api|bib|lesson|howto|studio):(?P<name>[^)\s]+)\)")

STUDIO = "http://127.0.0.1:7860/#/"
"""Address of the page of `tapetum studio`, before its state."""


def _state(text: str) -> str:
    """Checks the state of a link into the studio: its tab, methods and photographs."""
    tab, _, query = text.partition("?")
    said = dict(parse_qsl(query))
    known = {"tab": {"looks_for", "found", "mattered", "trust"}, "photograph": set(PHOTOGRAPHS),
             "method": {method.name for method in tapetum.methods()}}  # fmt: skip
    kinds = {"methods": "method", "more": "method", "pictures": "photograph"}
    named = [(what, one) for key, what in kinds.items() for one in split_names(said.get(key, ""))]
    for what, one in [("tab", tab), *named]:
        if one not in known[what]:
            raise TapetumError(f"studio:{text}: no {what} '{one}'")
    return text


def links(text: str) -> list[tuple[str, str]]:
    """Lists (scheme, name) of every symbolic link in a text, such as ("api", "grad_cam")."""
    return [(found["scheme"], found["name"]) for found in _LINK.finditer(text)]


def rewritten(text: str, write: Callable[[str, str, str], str]) -> str:
    """Replaces every symbolic link by what `write` returns for it."""
    return _LINK.sub(lambda found: write(found["scheme"], found["name"], found["words"]), text)


def page_of(scheme: str, name: str) -> str:
    """Returns the page and anchor that a symbolic link leads to, relative to the site; refuses unknown names.

    A link into the studio leads to a whole address: that of `tapetum studio` on this computer.
    """
    if scheme == "studio":
        return STUDIO + _state(name)
    if scheme == "lesson":
        slugs = {str(one.number): one.slug for one in lessons()}
        if name not in slugs:
            raise TapetumError(f"lesson:{name}: there is no such lesson; there are {', '.join(slugs)}")
        return f"tutorials/{slugs[name]}.html"
    if scheme == "bib":
        return f"reference/references.html#{name}"
    if scheme == "howto":
        return f"howto/{name}.html"
    if any(method.name == name for method in tapetum.methods()):
        return f"reference/methods/{name}.html"
    if not hasattr(tapetum, name.partition(".")[0]):
        raise TapetumError(f"api:{name}: tapetum has no public name '{name}'")
    return f"reference/python.html#tapetum.{name}"


def to_site(text: str, site: str | None) -> str:
    """Replaces symbolic links by full addresses, for pages outside the site; by their plain text if `site` is None.

    Links into the studio stay, wherever the site is.
    """

    def written(scheme: str, name: str, words: str) -> str:
        return f"[{words}]({urljoin(site or '', page_of(scheme, name))})" if site or scheme == "studio" else words

    return rewritten(text, written)


def site_address() -> str | None:
    """Returns the documentation's address from the package's metadata; None if it has none."""
    try:
        urls = metadata("tapetum").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    found = [url.partition(", ")[2] for url in urls if url.startswith("Documentation, ")]
    return found[0].rstrip("/") + "/" if found else None
