"""Space: at which depth a network can still tell where a thing is, and whether what follows uses the order of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.probe import capture
from tapetum.families.questions.curves import OWN, curve, of_one_twin
from tapetum.families.questions.estimates import Estimate, agreement, explained, read_linearly
from tapetum.families.questions.subjects import ANSWER, NO_ANSWERS, Subject, edited, varied_answers
from tapetum.models.vision_model import VisionModel
from tapetum.types.answers import Answer

WHERE = "place of a thing that can be read, R squared"
POOLED = "the same, from means over places"
ORDER = "answers kept when places are shuffled"

SHOWN = 96
"""Pictures with a thing at a random place."""

ASKED = 48
CELLS = 14
"""Most cells per side of a map that are read; finer maps are averaged to it, which keeps the place in the amounts."""

LITTLE = 0.1
"""Loss of R squared from one depth to the next below which nothing counts as lost."""

SIDE = 0.3
"""Side of the thing as a share of the picture's."""

MEASURED = (
    "{m} pictures: the middle of one of yours, {side} px wide, at a random place on their mean colour. Share of the "
    "variance of its row and column that a linear reader finds (R squared; ridge, read on pictures that it did not learn "
    "from) in the differences to the empty ground, each by their sum: in the map of each layer (at most 14 x 14 cells), in "
    "the means over its places, and in the network's answer. Then the places of a layer in a random order, the same for all "
    "of {n} pictures, and the correlation of the answers with those before. Intervals draw pictures again, or leave out a "
    "tenth at a time"
)
FALSE_IF = (
    "things of other sizes, or several at once, were found where this one is not; or if a reader that is not linear found "
    "the place in layers that lost it here"
)


def space(subject: Subject, twin: VisionModel) -> Answer:
    """Answers between which depths the place of a thing is lost."""
    images, wanted = placed(subject)
    own, own_pooled = _read(subject.model, images, wanted, subject)
    theirs, theirs_pooled = _read(twin, images, wanted, subject)
    kept, theirs_kept = (_shuffled(subject, model) for model in (subject.model, twin))
    curves = [curve(WHERE, OWN, own), of_one_twin(WHERE, theirs), curve(POOLED, OWN, own_pooled)]
    curves += [of_one_twin(POOLED, theirs_pooled)]
    curves += [curve(ORDER, OWN, kept)] if kept else []
    curves += [of_one_twin(ORDER, theirs_kept)] if kept and theirs_kept else []
    ends = pairwise(own) if len(own) > 1 else [(next(iter(own)),) * 2]
    before, after = max(ends, key=lambda ends: own[ends[0]].value - own[ends[1]].value)
    said = _said(own, theirs, before, after)
    if kept:
        first, last = subject.layers[0], subject.layers[-1]
        said += f". Shuffled places leave answers that agree by r = {kept[first]} at {first} and {kept[last]} at {last}"
    numbers = {"before": own[before].value, "after": own[after].value}
    side = round(SIDE * min(size_of(images)))
    return Answer(
        "space",
        "unsaid" if before == after else "yes" if _learned(own, theirs, before, after) else "no",
        f"{said}.",
        MEASURED.format(m=SHOWN, side=side, n=min(ASKED, len(subject.images))),
        FALSE_IF,
        numbers,
        tuple(curves),
        () if kept else (f"answers: {NO_ANSWERS}",),
    )


def _said(own: Mapping[str, Estimate], theirs: Mapping[str, Estimate], before: str, after: str) -> str:
    """Says between which depths most of the place is lost, and whether random weights lose it there, too."""
    if before == after:
        return f"Not told: {before} is the only depth; of where a thing is, {own[before].percent} can be read there"
    if own[before].value - own[after].value < LITTLE:
        least = min(own, key=lambda name: own[name].value)
        return f"Nowhere: of where a thing is, {own[least].percent} can be read even at {least}"
    first = f"Most of it between {before} and {after}: of where a thing is, {own[before].percent} can be read at {before} and "
    first += f"{own[after].percent} at {after}; with random weights {theirs[before].percent} and {theirs[after].percent}: "
    return first + (
        "what was learned loses it" if _learned(own, theirs, before, after) else "it is the architecture that loses it"
    )


def _learned(own: Mapping[str, Estimate], theirs: Mapping[str, Estimate], before: str, after: str) -> bool:
    """Returns whether something is lost between two depths of which random weights lose less than half."""
    lost, random = (one[before].value - one[after].value for one in (own, theirs))
    return lost >= LITTLE and random <= lost / 2


def placed(subject: Subject) -> tuple[Tensor, Tensor]:
    """Returns model-ready pictures (m + 1, c, h, w) with a thing at a random place, and its row and column (m, 2) in [-1, 1].

    The last picture is the empty ground.
    """
    images, generator = subject.images, torch.Generator().manual_seed(subject.seed)
    h, w = size_of(images)
    side = max(2, round(SIDE * min(h, w)))
    things = F.interpolate(
        images[:, :, h // 4 : h - h // 4, w // 4 : w - w // 4], (side, side), mode="bilinear", antialias=True
    )
    at = torch.rand(SHOWN, 2, generator=generator, dtype=torch.float64)
    grounds = images.mean((0, 2, 3), keepdim=True).expand(SHOWN + 1, -1, h, w).clone()
    corners = (at * torch.tensor([h - side, w - side])).round().long()
    for i, (row, column) in enumerate(corners.tolist()):
        grounds[i, :, row : row + side, column : column + side] = things[i % len(things)]
    return grounds, 2 * corners.double() / torch.tensor([h - side, w - side]).clamp(min=1) - 1


def _read(
    model: VisionModel, images: Tensor, wanted: Tensor, subject: Subject
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Returns {layer: R squared of the place}, read in its map (the answer last) and in the means over its places."""
    parts = list(
        in_chunks(range(len(images)), batch_size(model, "auto"), lambda rows: _maps(model, images, rows, subject.layers))
    )
    found, pooled = dict[str, Estimate](), dict[str, Estimate]()
    for name in subject.layers:
        maps = torch.cat([part[name] for part in parts]).double()
        found[name] = _explained(maps.flatten(1), wanted, subject.seed)
        pooled[name] = _explained(maps.flatten(2).mean(2), wanted, subject.seed)
    table = varied_answers(model, images)
    if table is not None:
        found[ANSWER] = _explained(table, wanted, subject.seed)
    return found, pooled


def _maps(model: VisionModel, images: Tensor, rows: Sequence[int], layers: Sequence[str]) -> dict[str, Tensor]:
    with torch.no_grad(), capture(model, layers) as acts:
        model(model.laid_out(images[rows[0] : rows[-1] + 1]))
    return {name: _cells(acts[name]).float().cpu() for name in layers}


def _cells(maps: Tensor) -> Tensor:
    if maps.ndim != 4:
        return maps[:, :, None, None]
    h, w = maps.shape[-2:]
    return F.adaptive_avg_pool2d(maps, (min(h, CELLS), min(w, CELLS)))


def _explained(features: Tensor, wanted: Tensor, seed: int) -> Estimate:
    """Returns R squared of places (m, 2) read in features (m + 1, c), the last those of the empty ground.

    A reader gets |x - x0| / sum |x - x0|, whose centre of mass is linear in it, be the thing bright or dark, strong or weak.
    """
    change = (features[:-1] - features[-1]).abs()
    shares = change / change.sum(1, keepdim=True).clamp(min=1e-300)
    centred = shares - shares.mean(0)
    return explained(read_linearly(centred @ centred.T, wanted), wanted, seed)


def _shuffled(subject: Subject, model: VisionModel) -> dict[str, Estimate]:
    """Returns {layer: correlation of the answers with those before its places were shuffled}; {} without answers."""
    images = subject.images[:ASKED]
    whole = varied_answers(model, images)
    if whole is None:
        return {}
    found = dict[str, Estimate]()
    for name in subject.layers:
        changed = edited(model, images, name, lambda maps: _in_random_order(maps, subject.seed))
        if changed is not None:
            found[name] = agreement(whole, changed, subject.seed)
    return found


def _in_random_order(maps: Tensor, seed: int) -> Tensor:
    flat = maps.flatten(2)
    order = torch.randperm(flat.shape[2], generator=torch.Generator().manual_seed(seed)).to(maps.device)
    return flat[:, :, order].view_as(maps)
