"""From docstrings, markdown and tables to pages: the shell of a page and every piece of HTML that is used twice."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from types import NoneType
from typing import Any

from bibtex import Reference
from markdown_it import MarkdownIt

from tapetum.figures.theme import DARK, LIGHT, css_variables

NAVIGATION = {
    "index.html": "tapetum",
    "choosing.html": "Choosing a method",
    "targets.html": "Targets",
    "limits.html": "Limits",
    "reference.html": "Python",
    "cli.html": "Command line",
    "architecture.html": "Architecture",
    "references.html": "References",
}


def page(name: str, title: str, body: str, *, version: str) -> str:
    """A whole page; `name` is its path in the site, so that its links find the others."""
    up = "../" * name.count("/")
    links = "".join(
        f'<a href="{up}{target}"{" class=mark" if target == "index.html" else ""}>{escape(words)}</a>'
        for target, words in NAVIGATION.items()
    )
    full = title if name == "index.html" else f"{title} · tapetum"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(full)}</title>
<link rel="stylesheet" href="{up}style.css">
</head>
<body>
<header><nav aria-label="Pages">{links}</nav></header>
<main>
{body}
</main>
<footer>tapetum {escape(version)} · Apache-2.0 · from registry and docstrings by <code>make docs</code></footer>
</body>
</html>
"""


def stylesheet() -> str:
    """The theme's two palettes as variables, then style.css."""
    light, dark = css_variables(LIGHT), css_variables(DARK)
    rules = (Path(__file__).parent / "style.css").read_text("utf-8")
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{rules}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML. On a phone each row becomes a block whose cells carry their column's name."""
    top = "".join(f"<th>{escape(words)}</th>" for words in head)
    names = ["", *(f' data-name="{escape(words)}"' for words in head[1:])]
    body = "\n".join(
        "<tr>" + "".join(f"<td{name}>{cell}</td>" for name, cell in zip(names, row, strict=True)) + "</tr>" for row in rows
    )
    return f'<table class="rows"><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>'


def code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")


# --- markdown


def markdown(text: str) -> str:
    """CommonMark with tables; headings get an id, links to files that have a page lead there."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            token.attrSet("id", slug(following.content))
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", _page_of(str(child.attrGet("href"))))
    html = parser.renderer.render(tokens, parser.options, {})
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _page_of(address: str) -> str:
    path, mark, anchor = address.partition("#")
    if not path.endswith((".md", ".bib")) or "://" in path:
        return address
    return f"{Path(path).stem.lower()}.html{mark}{anchor}"


# --- docstrings


def inline(text: str, cited: Mapping[str, Reference] | None = None, up: str = "") -> str:
    """One line of a docstring: `code`, and cite keys as links to the reference."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    for key, reference in (cited or {}).items():
        link = f'<a href="{up}references.html#{key}">{escape(reference.short)}</a>'
        before = html
        html = re.sub(rf"[\w .]+ et al\. \d{{4}}, {key}", link, html)
        html = html if html != before else html.replace(key, link)
    return html


def paragraphs(docstring: str) -> list[str]:
    """The blocks between blank lines, without `Args:` and `Example:`; a blank line inside code splits nothing."""
    blocks: list[str] = []
    for text in re.split(r"\n\s*?\n", inspect.cleandoc(docstring)):
        if blocks and blocks[-1].startswith("    ") and text.startswith("    "):
            blocks[-1] += f"\n\n{text}"
        else:
            blocks.append(text.strip("\n"))
    return [block for block in blocks if not re.match(r"(Args|Example):\n", block)]


def example(docstring: str) -> str:
    """What stands under `Example:`, else nothing."""
    _, _, rest = inspect.cleandoc(docstring).partition("Example:\n")
    return inspect.cleandoc(rest)


def arguments(docstring: str) -> str:
    """What stands under `Args:`, with its continued lines joined."""
    _, _, rest = inspect.cleandoc(docstring).partition("Args:\n")
    block = re.split(r"\n\s*\n", rest)[0]
    return "" if not rest else _definitions(re.findall(r"^    (\S[^:]*): (.*(?:\n {5,}.*)*)", block, re.MULTILINE))


def block(text: str, cited: Mapping[str, Reference] | None = None, up: str = "") -> str:
    """A block of a docstring: indented is code, "name   meaning" lines are a list of definitions, else a paragraph."""
    lines = text.splitlines()
    if all(line.startswith("    ") for line in lines if line):
        return code(inspect.cleandoc(text))
    if re.match(r"\w[\w, ]*?\s{2,}\S", lines[0]):
        return _definitions(re.findall(r"^(\w[\w, ]*?)\s{2,}(\S.*(?:\n {3,}.*)*)", text, re.MULTILINE))
    return f"<p>{inline(' '.join(line.strip() for line in lines), cited, up)}</p>"


def _definitions(pairs: Iterable[Sequence[str]]) -> str:
    rows = (f"<dt><code>{escape(n)}</code></dt><dd>{inline(' '.join(words.split()))}</dd>" for n, words in pairs)
    return f"<dl>{''.join(rows)}</dl>"


# --- signatures


def type_words(hint: Any) -> str:
    """A type as a reader writes it: "int | None", '"auto"', "Tensor | float | str"."""
    if hint in (None, NoneType):
        return "None"
    if isinstance(hint, str):
        return hint
    if hint is Any:
        return "any"
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(f'"{value}"' for value in typing.get_args(hint))
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return type_words(inner[0])
    if inner and getattr(typing.get_origin(hint), "__name__", "") == "Sequence":
        return f"sequence of {type_words(inner[0])}"
    if inner and typing.get_origin(hint) is tuple:
        return f"({', '.join('...' if one is ... else type_words(one) for one in inner)})"
    return " | ".join(map(type_words, inner)) if inner else getattr(hint, "__name__", str(hint))


def call(name: str, signature: inspect.Signature, *, types: bool = False) -> str:
    """A call with its defaults; with annotations where asked, and then one parameter a line when it is long."""
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        words.append(_parameter(parameter, types))
    empty = signature.return_annotation in (inspect.Signature.empty, None, "None")
    result = "" if empty else f" -> {type_words(signature.return_annotation)}"
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= 88:
        return line
    inside = ",\n".join(words) if types else textwrap.fill(", ".join(words), 66)
    return f"{name}(\n{textwrap.indent(inside, '    ')},\n){result}"


def _parameter(parameter: inspect.Parameter, types: bool) -> str:
    empty = inspect.Parameter.empty
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = f": {type_words(parameter.annotation)}" if types and parameter.annotation is not empty else ""
    equals = " = " if kind else "="
    default = "" if parameter.default is empty else f"{equals}{default_words(parameter.default)}"
    return f"{stars}{parameter.name}{kind}{default}"


def default_words(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
