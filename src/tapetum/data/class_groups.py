"""Groups of ImageNet's 1000 classes, such as dog, bird and vehicle, and the groups that the label of a picture belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tapetum.data.labels import imagenet_labels

KNOWN = 0.9
"""Least share of a data set's different labels that must be ImageNet's classes, or their groups, for it to get these groups.

In data of something else, "ear" is a part of a body and no maize.
"""


@cache
def imagenet_groups() -> dict[str, tuple[int, ...]]:
    """Returns {group: its classes, ascending} of ImageNet's classes; a group comes after those that it belongs to."""
    return {name: tuple(sorted(classes)) for name, (classes, _) in _outline().items()}


@cache
def groups_above() -> Mapping[str, tuple[str, ...]]:
    """Returns {group: the groups that it belongs to, the widest first}."""
    return {name: above for name, (_, above) in _outline().items()}


@cache
def _outline() -> Mapping[str, tuple[set[int], tuple[str, ...]]]:
    """Reads the table: {group: (its classes and those of the groups under it, the groups above it)}."""
    text = Path(__file__).with_name("imagenet_groups.txt").read_text("utf-8")
    found: dict[str, tuple[set[int], tuple[str, ...]]] = {}
    above: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        first = next((i for i, word in enumerate(words) if word[0].isdigit()), len(words))
        name, depth = " ".join(words[:first]), (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name]
        found.setdefault(name, (set(), tuple(above[:-1])))  # a long group has several lines
        own = {index for span in words[first:] for index in _span(span)}
        for one in above:
            found[one][0].update(own)
    return found


def _span(text: str) -> range:
    """Returns the indices of "7" or "7-24"."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def groups_of_labels(labels: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns {label: groups of ImageNet's classes that it belongs to, the widest first}; empty for other data.

    A label is known if it is a class of ImageNet or the name of a group, without regard to case where that is not needed.
    """
    once = list(dict.fromkeys(labels))
    found = {label: groups for label in once if (groups := _groups_of(label)) is not None}
    return found if once and len(found) >= KNOWN * len(once) else {}


def _groups_of(label: str) -> tuple[str, ...] | None:
    """Returns the groups of one label; None if nothing is known of it."""
    exact, plain = _classes()
    index = exact.get(label, plain.get(label.casefold()))
    if index is not None:
        return tuple(name for name, classes in imagenet_groups().items() if index in classes)
    name = label.casefold().replace("_", " ")
    return (*groups_above()[name], name) if name in groups_above() else None


@cache
def _classes() -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Returns {label: index} of ImageNet's classes, as they are written and without regard to case."""
    names: Sequence[str] = imagenet_labels()
    exact = {name: i for i, name in enumerate(names)}
    return exact, {name.casefold(): i for name, i in reversed(exact.items())}
