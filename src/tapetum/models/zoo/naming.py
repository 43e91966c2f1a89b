"""Reads class names in the forms that users have: lists, arrays, mappings by index, files; for one output or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tapetum.data.labels import labels_for
from tapetum.files import contents, shown
from tapetum.models.vision_model import Head
from tapetum.types import ModelError


def as_labels(labels: Any) -> tuple[str, ...]:
    """Returns class names in the order of the outputs.

    labels: a list, an array or a pandas column; {0: "cat", 1: "dog"} with numbers or texts of numbers as keys (Hugging Face's
    `id2label`); {"cat": 0, "dog": 1}; or a `Path` to a file with a name per line.
    """
    if isinstance(labels, Path):
        return _from_file(labels)
    if isinstance(labels, str):
        raise ModelError(f"labels are one text, {_short(labels)}: give a list, or pathlib.Path(file) with one name per line")
    if isinstance(labels, (set, frozenset)):
        raise ModelError("labels are a set, which has no order: give a list in the order of the outputs")
    if isinstance(labels, Mapping):
        return _in_order(_by_index(labels))
    try:
        names = [str(_plain(one)) for one in labels]
    except TypeError:
        raise ModelError(f"labels are a list of names, not {type(labels).__name__}") from None
    if not names:
        raise ModelError("labels are empty: give one name per output, or leave them out")
    return tuple(names)


def by_head(labels: Any) -> tuple[Any, dict[Head, tuple[str, ...]]]:
    """Splits `labels` into those of the answer and {head: labels}: a mapping of lists is for several outputs."""
    if not isinstance(labels, Mapping) or not labels or any(isinstance(one, (str, int)) for one in labels.values()):
        return labels, {}
    return None, {head: as_labels(names) for head, names in labels.items()}


def own_labels(module: nn.Module) -> Sequence[str] | None:
    """Returns the class names that a timm network most likely has, by its number of classes; None for other networks."""
    if not hasattr(module, "pretrained_cfg"):
        return None
    head: Any = getattr(module, "get_classifier", lambda: None)()
    classes = getattr(module, "num_classes", 0)
    return labels_for(classes) if getattr(head, "out_features", classes) == classes else None


def _by_index(labels: Mapping[Any, Any]) -> dict[int, str]:
    if labels and all(isinstance(index, int) and not isinstance(index, bool) for index in labels.values()):
        labels = {index: name for name, index in labels.items()}
    try:
        found = {int(str(_plain(key))): str(name) for key, name in labels.items()}
    except (TypeError, ValueError):
        listed = ", ".join(repr(key) for key in list(labels)[:3])
        raise ModelError(f"labels by key have the outputs' indices as keys, not {listed}: {{0: 'cat', 1: 'dog'}}") from None
    if len(found) < len(labels):
        raise ModelError("labels name an index twice")
    return found


def _in_order(found: Mapping[int, str]) -> tuple[str, ...]:
    if set(found) != set(range(len(found))):
        low, high = min(found, default=0), max(found, default=0)
        raise ModelError(f"labels have {len(found)} keys from {low} to {high}: outputs are counted from 0, with no gap")
    return tuple(found[index] for index in range(len(found)))


def _plain(one: Any) -> Any:
    """Converts one entry of an array (bytes, text or number) to plain Python; decodes bytes."""
    one = one.item() if hasattr(one, "item") else one
    return one.decode("utf-8", "replace") if isinstance(one, bytes) else one


LARGEST = 20_000_000
"""Largest size of a file of labels, in bytes: a hundred thousand long names."""


def _from_file(path: Path) -> tuple[str, ...]:
    try:
        lines = contents(path, LARGEST, ModelError).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(f"{shown(path)} gives no labels: a text file in UTF-8 has one name per line") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ModelError(f"{shown(path)} gives no labels: it is empty")
    return tuple(line.strip() for line in lines)


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "...")
