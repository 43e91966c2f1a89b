"""Hierarchy: what the features of each depth tell of the class of a picture, and of its brightness, colours and edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tapetum.families.questions.curves import OWN, Others, curve, of_random, of_twins
from tapetum.families.questions.estimates import Estimate, class_order, jackknifed, points, regression_share
from tapetum.families.questions.subjects import PIXELS, Seen, Subject, thumbnails
from tapetum.types.answers import Answer

CLASS = "pictures of one class are more alike than of two"
LOW = "variance linear in brightness, colours and edges"

MEASURED = (
    "the features of each layer, averaged over its places and standardised per channel, of {n} pictures. How often a "
    "picture is more like one of its class than like one of another (cosine; 50 % by chance, at the left end by 16 x 16 "
    "pixels); and the share of the variance that is linear in eight properties of the pixels (brightness, contrast, two "
    "colour differences, colourfulness, fineness, the directions of edges; adjusted R squared). Intervals leave out a tenth "
    "of the pictures at a time; {t} networks with random weights, whose interval is where another one would lie"
)
FALSE_IF = (
    "the rise were not there on other pictures of these classes, or in features of single places; or if classes here "
    "differed by colour or background alone, which random weights would show"
)


def hierarchy(subject: Subject, own: Mapping[str, Seen], others: Others) -> Answer:
    """Answers whether features turn from properties of pixels to classes with depth, more than random weights make them."""
    layers, traits, n = subject.layers, properties(subject.pixels), len(subject.images)
    first, last = layers[0], layers[-1]
    low = {name: jackknifed(lambda some, x=own[name].pooled: regression_share(x[some], traits[some]), n) for name in layers}
    low_twins, random = of_twins(LOW, others, lambda seen: regression_share(seen.pooled, traits))
    measured = MEASURED.format(n=n, t=sum(map(len, others)))
    falls = (
        f"the share of brightness, colours and edges goes from {low[first].percent} at {first} to {low[last].percent} at {last}"
    )
    falls += f" (random weights: {random[last].percent})"
    numbers = {"low_first": low[first].value, "low_last": low[last].value}
    curves = (curve(LOW, OWN, low), low_twins)
    if subject.why_not:
        said = f"Not measured by classes. By pixels, {falls}."
        return Answer("hierarchy", "unsaid", said, measured, FALSE_IF, numbers, curves, (f"classes: {subject.why_not}",))
    rows = subject.of_class
    labels = subject.labels[rows]
    shares = _shares({name: own[name].pooled[rows] for name in layers}, labels)
    twins, _ = of_twins(CLASS, others, lambda seen: class_order(seen.pooled[rows], labels))
    rise = jackknifed(lambda some: _rise(own, layers, rows[some], labels[some]), len(rows))
    theirs = of_random(others, lambda one: _rise(one, layers, rows, labels))
    holds = rise.low > 0 and rise.value > theirs.high
    said = f"{'There is a hierarchy' if holds else 'No hierarchy is shown'}: a picture is more like one of its class than like "
    said += (
        f"another in {shares[first].percent} of cases at {first} and {shares[last].percent} at {last}; random weights raise "
    )
    said += f"it by {points(theirs.value)} points ({points(theirs.low)} to {points(theirs.high)}); {falls}."
    numbers |= {"rise": rise.value, "rise_low": rise.low, "rise_high": rise.high, "rise_random": theirs.value}
    pixels = _shares({PIXELS: thumbnails(subject.pixels)[rows]}, labels)
    own_curve = curve(CLASS, OWN, {**pixels, **shares})
    return Answer(
        "hierarchy", "yes" if holds else "no", said, measured, FALSE_IF, numbers, (own_curve, twins, *curves)
    )  # fmt: skip


def _shares(features: Mapping[str, Tensor], labels: Tensor) -> dict[str, Estimate]:
    n = len(labels)
    return {name: jackknifed(lambda some, x=x: class_order(x[some], labels[some]), n) for name, x in features.items()}


def _rise(own: Mapping[str, Seen], layers: Sequence[str], rows: Tensor, labels: Tensor) -> float:
    first, last = (class_order(own[name].pooled[rows], labels) for name in (layers[0], layers[-1]))
    return last - first


def properties(pixels: Tensor) -> Tensor:
    """Returns eight properties (n, 8) of pictures (n, 3, h, w) in [0, 1] that need no network."""
    x = pixels.double()
    red, green, blue = x.unbind(1)
    luma = x.mean(1)
    across, down = luma.diff(dim=2)[:, :-1], luma.diff(dim=1)[:, :, :-1]
    energy = across.square() + down.square() + 1e-12
    mean = energy.mean((1, 2), keepdim=True)
    coarse = torch.nn.functional.avg_pool2d(luma[:, None], 4, ceil_mode=True)[:, 0]
    found = (
        luma, red - green, (red + green) / 2 - blue, x.amax(1) - x.amin(1),
        (across.square() - down.square()) / mean, across * down / mean,
    )  # fmt: skip
    means = [one.mean((1, 2)) for one in found]
    contrast = luma.std((1, 2))
    fine = energy.mean((1, 2)).log() - (coarse.var((1, 2)) + 1e-12).log()
    return torch.stack([*means, contrast, fine], 1)
