"""Terms of which names are made: which pictures each one is true of, and which pictures choose and which judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from torch import Tensor

from tapetum.data.class_groups import groups_of_labels, imagenet_groups
from tapetum.types import MethodError

LEAST = 5
"""Pictures that a term must be true of, and false of, both among those that choose and among those that judge."""

CHOOSING = 3
"""One picture of so many chooses names, the others judge them."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Names of terms, and of which pictures each is true: (n, t) bool. No two terms are true of the same pictures."""

    names: tuple[str, ...]
    truth: Tensor

    def take(self, rows: Tensor) -> Terms:
        return Terms(self.names, self.truth[rows])

    def common(self, choosing: Tensor) -> Terms:
        """Returns the terms that are true, and false, of enough pictures to be chosen and judged."""
        parts = [self.truth[choosing], self.truth[~choosing]]
        enough = torch.stack([torch.minimum(one.sum(0), (~one).sum(0)) >= LEAST for one in parts]).all(0)
        kept = enough.nonzero().flatten().tolist()
        return Terms(tuple(self.names[i] for i in kept), self.truth[:, kept])


def label_terms(labels: Sequence[str], groups: Mapping[str, Sequence[str]] | None) -> Terms:
    """Returns the terms of pictures with labels: the user's groups, the labels, and the groups of ImageNet's classes.

    Where two are true of the same pictures, the first of these stays, and of two groups the narrower one.
    """
    once = sorted(set(labels))
    members: dict[str, set[str]] = {name: set(_checked(name, given, once)) for name, given in (groups or {}).items()}
    members |= {label: {label} for label in once if label not in members}
    above = groups_of_labels(once)
    for name in reversed(imagenet_groups()):  # the narrowest first
        inside = {label for label in once if name in above.get(label, ())}
        if inside and name not in members:
            members[name] = inside
    places = {label: i for i, label in enumerate(once)}
    of_pictures = torch.tensor([places[label] for label in labels])
    return distinct(
        [(name, torch.tensor([label in inside for label in once])[of_pictures]) for name, inside in members.items()]
    )


def distinct(columns: Sequence[tuple[str, Tensor]]) -> Terms:
    """Returns the terms of some columns (n,) bool, without those that say the same as an earlier one or of all pictures."""
    kept: dict[bytes, tuple[str, Tensor]] = {}
    for name, truth in columns:
        if bool(truth.any()) and not bool(truth.all()):
            kept.setdefault(np.packbits(truth.numpy()).tobytes(), (name, truth))
    pictures = len(columns[0][1]) if columns else 0
    truths = torch.stack([truth for _, truth in kept.values()]) if kept else torch.zeros(0, pictures, dtype=torch.bool)
    return Terms(tuple(name for name, _ in kept.values()), truths.T)


def _checked(name: str, given: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Returns the labels of a user's group; refuses an empty group, and a label that no picture has."""
    many = [given] if isinstance(given, str) else list(given)
    for label in many:
        if label not in labels:
            close = ", ".join(get_close_matches(str(label), labels, 4)) or ", ".join(labels[:4])
            raise MethodError(f"no picture has the label '{label}' of the group '{name}'; close names: {close}")
    if not many:
        raise MethodError(f"the group '{name}' is empty; give the labels of its pictures")
    return many


def choosing(terms: Terms, ids: Sequence[str], seed: int) -> Tensor:
    """Returns which pictures (n,) choose names: every third, so that each term has its share among them.

    The pictures are put in order by their terms, the widest term first, and pictures of the same terms by a hash of their id.
    """
    wide = terms.truth[:, terms.truth.sum(0).argsort(descending=True, stable=True)].numpy()
    kinds = [row.tobytes() for row in np.packbits(~wide, axis=1)]
    lots = [hashlib.sha256(f"{seed} {one}".encode("utf-8", "backslashreplace")).digest() for one in ids]
    order = sorted(range(len(ids)), key=lambda i: (kinds[i], lots[i]))
    found = torch.zeros(len(ids), dtype=torch.bool)
    found[order[::CHOOSING]] = True
    return found
