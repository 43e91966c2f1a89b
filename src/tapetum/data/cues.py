"""Pictures with the shape of one thing and the texture of another: their names, and what ImageNet's classes say of them.

The pictures of geirhos2019imagenet are called SHAPEn-TEXTUREm.png: "cat7-elephant1.png" is the shape of the seventh cat with
the texture of the first elephant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_NAME = re.compile(r"([a-z][a-z_ ]*?)(\d*)-([a-z][a-z_ ]*?)(\d*)\.\w+", re.IGNORECASE)

_IMAGENET = """
airplane 404
bear 294-297
bicycle 444 671
bird 8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145
boat 472 554 625 814 914
bottle 440 720 737 898-899 901 907
car 436 511 817
cat 281-286
chair 423 559 765 857
clock 409 530 892
dog 152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268
elephant 385-386
keyboard 508 878
knife 499
oven 766
truck 555 569 656 675 717 734 864 867
"""
"""ImageNet's indices of the 16 categories, as geirhos2019imagenet publish them; other classes belong to none."""


class Cues(NamedTuple):
    """What a picture's name says: the thing that gave its shape and the one that gave its texture, each with its number."""

    shape: str
    texture: str
    shape_source: str
    texture_source: str


def cues_of(name: str) -> Cues | None:
    """Returns the cues of a picture from its file name, in whatever folder; None for a file that is not called so."""
    found = _NAME.fullmatch(name.rpartition("/")[2])
    if found is None:
        return None
    shape, m, texture, n = (part.lower() for part in found.groups())
    return Cues(shape, texture, shape + m, texture + n)


def imagenet_categories() -> dict[str, tuple[int, ...]]:
    """Returns {category: its indices among ImageNet's 1000 classes}: 16 categories and 207 classes."""
    lines = (line.split() for line in _IMAGENET.strip().splitlines())
    return {name: tuple(index for part in parts for index in _span(part)) for name, *parts in lines}


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def categories_by_name(labels: Sequence[str], names: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Returns {category: indices of the labels that are its name}; labels in another spelling are not guessed."""
    plain = [" ".join(label.casefold().replace("_", " ").split()) for label in labels]
    wanted = {name: name.replace("_", " ") for name in names}
    return {name: tuple(i for i, label in enumerate(plain) if label == text) for name, text in wanted.items()}
