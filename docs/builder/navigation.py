"""The tree at the side of every page: made once for each folder of pages, and marked with where the reader is.

Furo makes it anew for every page, through all pages: of 200 pages that was three fifths of the time that a build takes.
"""

from __future__ import annotations

import functools
from typing import Any

from furo.navigation import get_navigation_tree
from sphinx.environment.adapters.toctree import global_toctree_for_doc


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", _kept_from_furo, priority=400)
    app.connect("html-page-context", _given, priority=600)  # Furo's own is at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _kept_from_furo(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    context["toctree"] = lambda **_: ""


def _given(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    tree = _trees(app.builder)[_nowhere(page)]
    context["furo_navigation_tree"] = _marked(tree, _path(app.env, page), app.builder, _nowhere(page))


def _nowhere(page: str) -> str:
    """The name of no page, in the same folder."""
    return f"{page.rpartition('/')[0]}/-".lstrip("/")


@functools.cache
def _trees(builder: Any) -> dict[str, str]:
    """HTML of the tree with addresses as seen from each folder: all of them with the first page, before Sphinx forks."""
    return {page: _tree(builder, page) for page in {_nowhere(page) for page in builder.env.found_docs}}


def _tree(builder: Any, page: str) -> str:
    wanted = {"collapse": False, "titles_only": True, "maxdepth": -1, "includehidden": True}
    found = global_toctree_for_doc(builder.env, page, builder, tags=builder.tags, **wanted)
    return get_navigation_tree(builder.render_partial(found)["fragment"])


def _path(env: Any, page: str) -> list[str]:
    """Pages from the top of the tree down to this one; the home page has none."""
    parents = {child: parent for parent, children in env.toctree_includes.items() for child in children}
    found: list[str] = []
    while page in parents:
        found.insert(0, page)
        page = parents[page]
    return found


def _marked(tree: str, path: list[str], builder: Any, nowhere: str) -> str:
    """The tree with the lists, entries and switches on the way to the last page of the path marked as current."""
    done = ""
    for page in path:
        before, _, tree = tree.partition("<ul>")
        link = f'<a class="reference internal" href="{builder.get_relative_uri(nowhere, page)}">'
        siblings, _, tree = tree.partition(link)
        siblings, _, classes = siblings.rpartition('<li class="')
        level, has, children = classes.removesuffix('">').partition(" has-children")
        done += f'{before}<ul class="current">{siblings}<li class="{level} current{has}{children}'
        if page == path[-1]:
            done, link = f"{done} current-page", '<a class="current reference internal" href="#">'
        words, _, tree = tree.partition("</a>")
        done += f'">{link}{words}</a>'
        tree = tree.replace(' class="toctree-checkbox"', ' checked="" class="toctree-checkbox"', 1) if has else tree
    return done + tree
