"""Uses: whether the most similar picture, by the features of each depth, is of the same class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tapetum.families.questions.curves import OWN, Others, curve, of_either, of_one_twin
from tapetum.families.questions.estimates import Estimate, beyond_chance, neighbours, next_share, over_pictures, points
from tapetum.families.questions.subjects import PIXELS, Seen, Subject, thumbnails
from tapetum.types.answers import Answer

SAME = "nearest picture is of the same class"
LEVEL = 0.05

MEASURED = (
    "for each of {n} pictures of {k} classes the most similar other one, by the cosine of its features (averaged over "
    "places, standardised per channel), and whether it is of the same class; at the left end by 16 x 16 pixels. Intervals "
    "draw the pictures again; p shuffles the classes 1000 times and takes the best depth each time; {t} networks with "
    "random weights"
)
FALSE_IF = (
    "your classes held near copies (bursts, frames of one film), which any features find; or if new pictures of these "
    "classes came from elsewhere. Try it: fine-tune on some, and check on others"
)


def uses(subject: Subject, own: Mapping[str, Seen], others: Others) -> Answer:
    """Answers whether the features tell the user's own classes apart, beyond chance, pixels and random weights."""
    t = sum(map(len, others))
    if subject.why_not:
        measured, said = MEASURED.format(n=len(subject.images), k=0, t=t), f"Not measured: {subject.why_not}."
        return Answer("uses", "unsaid", said, measured, FALSE_IF, left_out=(subject.why_not,))
    rows, layers, seed = subject.of_class, subject.layers, subject.seed
    labels = subject.labels[rows]
    nearest = {name: neighbours(own[name].pooled[rows]) for name in layers}
    right = {name: _right(one, labels) for name, one in nearest.items()}
    by_pixels = _right(neighbours(thumbnails(subject.pixels)[rows]), labels)
    twins = [
        [{name: _right(neighbours(one[name].pooled[rows]), labels) for name in layers} for one in group] for group in others
    ]
    best = _best(right)
    random = _range([[float(one[_best(one)].mean()) for one in group] for group in twins], len(rows))
    p, chance = beyond_chance(list(nearest.values()), labels, seed)
    share, pixels = over_pictures(right[best], seed), over_pictures(by_pixels, seed)
    ahead = over_pictures(right[best] - torch.stack([one[_best(one)] for one in twins[0]]).mean(0), seed)
    over = over_pictures(right[best] - by_pixels, seed)
    holds = p <= LEVEL and ahead.low > 0 and share.value > random.high and over.low > 0
    own_curve = curve(SAME, OWN, {PIXELS: pixels, **{name: over_pictures(one, seed) for name, one in right.items()}})
    theirs = {name: _range([[float(one[name].mean()) for one in group] for group in twins], len(rows)) for name in layers}
    compared = f"by pixels {pixels.percent}, with random weights {random.percent}, by chance {points(chance)} % (p = {p:.2g})"
    what = f"by the features of {best} the most similar picture is of the same class for {share.percent}, {compared}."
    k = len(subject.classes)
    found = (
        f"To tell your {k} classes apart: "
        if holds
        else f"Nothing beyond pixels, chance or random weights for your {k} classes: "
    )
    numbers = {"same_class": share.value, "low": share.low, "high": share.high, "pixels": pixels.value, "random": random.value}
    numbers |= {"chance": chance, "p_value": p}
    measured, curves = MEASURED.format(n=len(rows), k=k, t=t), (own_curve, of_one_twin(SAME, theirs))
    return Answer("uses", "yes" if holds else "no", found + what, measured, FALSE_IF, numbers, curves)


def _best(right: Mapping[str, Tensor]) -> str:
    return max(right, key=lambda name: float(right[name].mean()))


def _range(groups: Sequence[Sequence[float]], n: int) -> Estimate:
    """Returns the mean share of n pictures of random networks, and where another one's would lie, of either kind."""
    return of_either([next_share(group, n) for group in groups])


def _right(nearest: Tensor, labels: Tensor) -> Tensor:
    return (labels[nearest] == labels).double()
