"""Converts docstrings, signatures and tables to MyST markdown for Sphinx."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

from bibtex import Reference

_SPECIAL = re.compile(r"([\\*_{}\[\]<>#$|~^&])")
_CODE = re.compile(r"(`[^`]+`)")


def escaped(text: str) -> str:
    """Escapes text for markdown."""
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", _SPECIAL.sub(r"\\\1", text))  # no list where a line starts with 1.


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text}\n```"


def directive(name: str, argument: str = "", body: str = "", options: Mapping[str, str] | None = None) -> str:
    """One directive; its fence is longer than any inside it."""
    colons = ":" * max(3, *(len(run) + 1 for run in re.findall(r"^:{3,}", body, re.MULTILINE)), 3)
    given = "".join(f":{key}: {value}".rstrip() + "\n" for key, value in (options or {}).items())
    return f"{colons}{{{name}}} {argument}".rstrip() + f"\n{given}{body}\n{colons}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table of markdown cells; one wider than the screen scrolls."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Escapes bars, which end a cell even inside code."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


# --- docstrings


def inline(text: str, cited: Mapping[str, Reference] | None = None) -> str:
    """Converts a line of a docstring: `code` stays, cite keys become links."""
    parts = _CODE.split(text)
    words = "".join(part if part.startswith("`") else escaped(part) for part in parts)
    for key, reference in (cited or {}).items():
        link = f"[{escaped(reference.short)}](#{key})"
        before = words
        words = re.sub(rf"[\w .]+ et al\. \d{{4}}, {key}\b", lambda _, link=link: f" {link}", words)
        words = words if words != before else re.sub(rf"\b{key}\b", lambda _, link=link: link, words)
    return words


def paragraphs(docstring: str) -> list[str]:
    """Splits a docstring at blank lines outside code, without `Args:` and `Example:`."""
    blocks: list[str] = []
    for text in re.split(r"\n\s*?\n", inspect.cleandoc(docstring)):
        if blocks and blocks[-1].startswith("    ") and text.startswith("    "):
            blocks[-1] += f"\n\n{text}"
        else:
            blocks.append(text.strip("\n"))
    return [block for block in blocks if not re.match(r"(Args|Example):\n", block)]


def example(docstring: str) -> str:
    """Text under `Example:`, or none."""
    _, _, rest = inspect.cleandoc(docstring).partition("Example:\n")
    return inspect.cleandoc(rest)


def arguments(docstring: str) -> str:
    """Sentences under `Args:` by argument, with continued lines joined."""
    _, _, rest = inspect.cleandoc(docstring).partition("Args:\n")
    block = re.split(r"\n\s*\n", rest)[0]
    return "" if not rest else _definitions(re.findall(r"^    (\S[^:]*): (.*(?:\n {5,}.*)*)", block, re.MULTILINE))


def block(text: str, cited: Mapping[str, Reference] | None = None) -> str:
    """Converts a block of a docstring: indented code, a list of "name   meaning" lines, or a paragraph."""
    lines = text.splitlines()
    if all(line.startswith("    ") for line in lines if line):
        return fenced(inspect.cleandoc(text), "python" if "tp." in text or "import " in text else "text")
    if re.match(r"\w[\w, ]*?\s{2,}\S", lines[0]):
        return _definitions(re.findall(r"^(\w[\w, ]*?)\s{2,}(\S.*(?:\n {3,}.*)*)", text, re.MULTILINE))
    return inline(" ".join(line.strip() for line in lines), cited)


def _definitions(pairs: Iterable[Sequence[str]]) -> str:
    return "\n\n".join(f"`{name}`\n: {inline(' '.join(words.split()))}" for name, words in pairs)


# --- signatures


def type_words(hint: Any) -> str:
    """A type in the form that readers write: "int | None", '"auto"', "Tensor | float | str"."""
    if hint in (None, NoneType):
        return "None"
    if isinstance(hint, str):
        return hint
    if hint is Any:
        return "Any"
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(f'"{value}"' if isinstance(value, str) else repr(value) for value in typing.get_args(hint))
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return type_words(inner[0])
    if inner and getattr(typing.get_origin(hint), "__name__", "") in ("Sequence", "tuple", "list"):
        of = ", ".join("..." if one is ... else type_words(one) for one in inner)
        return f"{typing.get_origin(hint).__name__}[{of}]"
    return " | ".join(map(type_words, inner)) if inner else getattr(hint, "__name__", str(hint))


def call(name: str, signature: inspect.Signature, *, types: bool = False) -> str:
    """A call with its defaults, on one line; with annotations where asked."""
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        words.append(_parameter(parameter, types))
    empty = signature.return_annotation in (inspect.Signature.empty, None, "None")
    result = "" if empty else f" -> {type_words(signature.return_annotation)}"
    return f"{name}({', '.join(words)}){result}"


def _parameter(parameter: inspect.Parameter, types: bool) -> str:
    empty = inspect.Parameter.empty
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = f": {type_words(parameter.annotation)}" if types and parameter.annotation is not empty else ""
    equals = " = " if kind else "="
    default = "" if parameter.default is empty else f"{equals}{default_words(parameter.default)}"
    return f"{stars}{parameter.name}{kind}{default}"


def default_words(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
