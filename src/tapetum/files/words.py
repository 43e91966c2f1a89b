"""Makes names and texts from files and users safe to print on one line."""

from __future__ import annotations

LONGEST = 160


def shown(text: object) -> str:
    """Returns a text as one line of at most 160 characters; control characters are escaped, as \\x1b is."""
    line = printable(text)
    return line if len(line) <= LONGEST else f"{line[:100]}...{line[-57:]}"


def printable(text: object) -> str:
    """Returns a text as one line; characters that cannot be printed, such as control characters, are escaped."""
    line = " ".join(str(text).split())
    return line if line.isprintable() else "".join(map(_written_out, line))


def _written_out(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
