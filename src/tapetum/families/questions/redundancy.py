"""Redundancy: how few directions the channels of a layer use, how few keep the answers, and how many have a near copy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tapetum.families.questions.curves import OWN, Others, curve, of_one_twin, of_twins, plain
from tapetum.families.questions.estimates import Estimate, agreement, jackknifed, points
from tapetum.families.questions.subjects import NO_ANSWERS, Seen, Subject, edited, varied_answers
from tapetum.models.vision_model import VisionModel
from tapetum.types.answers import Answer

USED = "directions in use, share of the channels"
KEEP = "directions that keep the answers"
COPIES = "channels with a near copy"

ASKED = 32
"""Pictures whose answers are made again without some directions."""

ALIKE = 0.9
"""Correlation from which a channel counts as a near copy of another."""

SAME = 0.95
"""Correlation of the answers, over pictures and outputs, from which they count as kept."""

MEASURED = (
    "channels at {places} places of each of {n} pictures. Directions in use: (sum of the variances)^2 / sum of their "
    "squares along the principal directions, by the number of channels. Near copies: |correlation| > 0.9 with another "
    "channel. Kept answers: the map is replaced by its mean and its first 1/2, 1/4, ... 1/64 principal directions, until "
    "the outputs for {asked} pictures correlate less than 0.95 with those of the whole layer. Intervals leave out a tenth "
    "of the pictures at a time"
)
FALSE_IF = (
    "rare pictures needed the directions that these did not use: a thousand of other kinds may. Nothing was trained again, "
    "and directions are mixtures of channels: that a quarter of them suffices does not say that three quarters of the "
    "filters can be cut"
)


def redundancy(subject: Subject, own: Mapping[str, Seen], others: Others, twin: VisionModel) -> Answer:
    """Answers how few directions each layer uses and needs, against the same layers with random weights."""
    layers, n = subject.layers, len(subject.images)
    used = {name: jackknifed(lambda some, x=own[name].places: in_use(x[some].flatten(0, 1)), n) for name in layers}
    copies = {name: jackknifed(lambda some, x=own[name].places: near_copies(x[some].flatten(0, 1)), n) for name in layers}
    used_curve, random = of_twins(USED, others, lambda seen: in_use(seen.places.flatten(0, 1)))
    copied, _ = of_twins(COPIES, others, lambda seen: near_copies(seen.places.flatten(0, 1)))
    curves = [curve(USED, OWN, used), used_curve, curve(COPIES, OWN, copies), copied]
    kept = {name: _kept(subject, subject.model, own[name], name) for name in layers}
    found = {name: one for name, one in kept.items() if one is not None}
    if found:
        theirs = {name: _kept(subject, twin, others[0][0][name], name) for name in layers}
        curves.append(curve(KEEP, OWN, plain({name: one[0] for name, one in found.items()})))
        shares = {name: one[0] for name, one in theirs.items() if one is not None}
        curves += [of_one_twin(KEEP, plain(shares))] if shares else []
    least = min(layers, key=lambda name: used[name].value)
    differs = not random[least].low <= used[least].value <= random[least].high
    said = f"Channels are redundant most at {least}: they use {used[least].percent} of their directions, with random weights "
    said += f"{random[least].percent}, and {points(copies[least].value)} % have a near copy"
    numbers = {"used": used[least].value, "used_random": random[least].value, "copies": copies[least].value}
    if least in found:
        share, after = found[least]
        said += f"; {_words(share)} of the directions keep{'s' if share < 1 else ''} its answers (r = {after})"
        numbers |= {"keep": share, "agreement": after.value}
    return Answer(
        "redundancy",
        "yes" if differs else "no",
        said + ("." if differs else "; random weights are as redundant, so that this says nothing of what was learned."),
        MEASURED.format(places=own[least].places.shape[1], n=n, asked=min(ASKED, n)),
        FALSE_IF,
        numbers,
        tuple(curves),
        () if found else (f"kept answers: {NO_ANSWERS}",),
    )


def _words(share: float) -> str:
    return "all" if share == 1 else f"1/{round(1 / share)}"


def in_use(samples: Tensor) -> float:
    """Returns (sum of l)^2 / sum of l^2 / channels in (0, 1], l the variances of samples (m, c) along principal directions."""
    covariance = _covariance(samples)
    squares = float(covariance.square().sum())
    return float(covariance.trace()) ** 2 / squares / len(covariance) if squares > 0 else 0.0


def near_copies(samples: Tensor) -> float:
    """Returns the share of channels of samples (m, c) that have another with |correlation| > 0.9; constant ones have none."""
    covariance = _covariance(samples)
    spread = covariance.diagonal().sqrt()
    alive = spread > 1e-6 * spread.max().clamp(min=1e-300)
    related = (covariance / spread / spread[:, None]).abs()[alive][:, alive].fill_diagonal_(0)
    return float((related > ALIKE).any(1).double().sum()) / len(covariance) if related.numel() else 0.0


def _covariance(samples: Tensor) -> Tensor:
    centred = samples.double() - samples.double().mean(0)
    return centred.T @ centred / len(centred)


def _kept(subject: Subject, model: VisionModel, seen: Seen, layer: str) -> tuple[float, Estimate] | None:
    """Returns the smallest share of principal directions that keeps the answers, and their agreement; None without answers."""
    images = subject.images[:ASKED]
    whole = varied_answers(model, images)
    if whole is None or subject.model.survey[layer].grid is None:
        return None
    samples = seen.places.flatten(0, 1)
    directions = torch.linalg.eigh(_covariance(samples))[1].flip(1)
    c, mean = samples.shape[1], samples.mean(0)
    best = 1.0, Estimate(1.0, 1.0, 1.0)
    for half in range(1, 7):
        k = c // 2**half
        if k < 1:
            break
        basis = directions[:, :k].to(images)
        changed = edited(model, images, layer, lambda maps, b=basis: _projected(maps, mean.to(maps), b.to(maps)))
        agrees = None if changed is None else agreement(whole, changed, subject.seed)
        if agrees is None or agrees.value < SAME:
            break
        best = k / c, agrees
    return best


def _projected(maps: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Returns maps (n, c, h, w) with only the part of maps - mean that lies along a basis (c, k)."""
    centred = maps - mean[:, None, None]
    return mean[:, None, None] + torch.einsum("cd,nd...->nc...", basis @ basis.T, centred)
