"""Names and texts from elsewhere, on one line."""

from __future__ import annotations

LONGEST = 160


def shown(text: object) -> str:
    """Returns one line of at most 160 characters; what a terminal would obey is escaped, as \\x1b is."""
    line = plain(text)
    return line if len(line) <= LONGEST else f"{line[:100]}...{line[-57:]}"


def plain(text: object) -> str:
    """Returns one line in which control characters, marks of direction and halves of characters are escaped."""
    line = " ".join(str(text).split())
    return line if line.isprintable() else "".join(map(_written_out, line))


def _written_out(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
