"""Class names from installed libraries, and the search for a class by name. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from tapetum.types import TargetError

N_SHOWN = 8  # candidates named in an error message


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 ImageNet-1k class names as torchvision spells them (all differ; "cardigan" and "Cardigan" are two)."""
    try:
        from torchvision.models._meta import _IMAGENET_CATEGORIES
    except ImportError:  # the list's module is private and may move; the weights' metadata has the same list
        from torchvision.models import ResNet50_Weights

        return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    return tuple(_IMAGENET_CATEGORIES)


@cache
def ilsvrc2012_order() -> tuple[int, ...]:
    """Today's ImageNet index of each class, in the order in which ILSVRC2012 numbered the classes."""
    lines = Path(__file__).with_name("ilsvrc2012.txt").read_text("utf-8").splitlines()
    return tuple(int(place) for line in lines if not line.startswith("#") for place in line.split())


@cache
def inception_labels() -> tuple[str, ...]:
    """The 1008 outputs of InceptionV1: "dummy", the ImageNet classes in ILSVRC2012's own order, and seven more dummies.

    The network was trained with more outputs than there are classes: the dummies mean nothing. Output 229 is strawberry.
    """
    names = imagenet_labels()
    return ("dummy", *(names[place] for place in ilsvrc2012_order()), *(f"dummy {index}" for index in range(1001, 1008)))


@cache
def labels_for(n_classes: int) -> tuple[str, ...] | None:
    """The class names that a head of this size most likely has: ImageNet-1k, or timm's larger ImageNets; None if unknown.

    timm knows 11221, 11821, 21841, 21842 and 21843 classes; its names list synonyms, "tench, Tinca tinca".
    """
    if n_classes == 1000:
        return imagenet_labels()
    try:
        from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
    except ImportError:
        return None
    subset = infer_imagenet_subset({"num_classes": n_classes})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(map(info.index_to_description, range(n_classes))) if info.num_classes() == n_classes else None


def find_label(labels: Sequence[str], text: str) -> int:
    """Returns the index of the one label that fits `text`; a `TargetError` lists the candidates, or close names.

    Tried in order: the label itself; the label without regard to case, underscores and spaces; one of a label's
    comma-separated synonyms; a part of a label. The first step that finds anything decides.
    """
    wanted = _plain(text)
    if not wanted:
        raise TargetError('"" names no label; give a class name or its index')
    quoted = f'"{" ".join(text.split())}"'
    tests: tuple[Callable[[str], bool], ...] = (
        lambda label: label == text,
        lambda label: _plain(label) == wanted,
        lambda label: wanted in map(_plain, label.split(",")),
        lambda label: wanted in _plain(label),
    )
    for test in tests:
        found = [index for index, label in enumerate(labels) if test(label)]
        if len(found) == 1:
            return found[0]
        if found:
            raise TargetError(f"{quoted} fits {len(found)} labels: {_listed(labels, found)}; give one of the indices")
    raise TargetError(f"no label {quoted} among {len(labels)}; {_near(labels, wanted)}")


def names_a_label(labels: Sequence[str], text: str) -> bool:
    """Returns whether a text is a label or a part of one, without regard to case, underscores and spaces."""
    wanted = _plain(text)
    return bool(wanted) and any(wanted in _plain(label) for label in labels)


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())


def _near(labels: Sequence[str], wanted: str) -> str:
    index_of = {_plain(name): index for index, label in enumerate(labels) for name in (label, *label.split(","))}
    close = dict.fromkeys(index_of[name] for name in get_close_matches(wanted, index_of, n=4))
    return f"close names: {_listed(labels, list(close))}" if close else "give one of the model's labels or an index"


def _listed(labels: Sequence[str], indices: Sequence[int]) -> str:
    shown = ", ".join(f"{index} ({labels[index]})" for index in indices[:N_SHOWN])
    return shown + (", ..." if len(indices) > N_SHOWN else "")
