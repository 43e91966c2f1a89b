"""`name_units`: what the pictures on which a unit fires have in common, in words, and how far that can be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import Limit, OtherRunner, PassBatch, Resume, Seed, ShardFolder, UnitScore, Workers
from tapetum.border.subjects import as_model
from tapetum.data.streams import Source
from tapetum.engines.scan.plan import BATCH
from tapetum.families.naming.judging import Judged, judged
from tapetum.families.naming.masks import judged_by_masks
from tapetum.families.naming.subjects import Nameable, as_subject
from tapetum.families.naming.terms import Terms, label_terms
from tapetum.families.naming.texts import text_terms
from tapetum.families.scanning import scan
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import MethodError, ModelLike, Range, ScoresResult, UnitNames

LEVEL = 0.01
"""Largest p-value of a name."""

LEAST_AUC = 0.75
"""Least AUC of a name. Of 27,912 units of 19 networks with random weights, on 500 photographs, 1,050 had a p-value up to .01,
since they respond to colour and so really differ between groups; 65 of them had this AUC (docs/howto/names.md)."""

BY_CHANCE = 0.05
"""Share of units with random weights that may have a name."""

TINY = 1e-9
"""By how much an AUC must be more accurate than another one, far below a pair of pictures."""

LEAST_HIGHEST = 2 / 3
"""Least share of a unit's nine highest pictures that are of its name. Without it, by the AUC alone, 60 of 108 examples of the
units that an atlas of 500 photographs called "dog" were labelled dogs, and no example of a "bird" was one."""

LEAST_IOU = 0.04
"""Least intersection over union of a name from masks (bau2017netdissect)."""


@survey(cite="bykov2023invert", question="looks_for")
def name_units(
    model: VisionModel,
    source: Source,
    layer: Nameable,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    texts: Sequence[str] | None = None,
    text_model: ModelLike | None = None,
    masks: Mapping[str, Tensor] | None = None,
    length: Annotated[int, Range(1, 5)] = 3,
    level: Annotated[float, Range(1e-12, 0.5)] = LEVEL,
    least_auc: Annotated[float, Range(0.5, 1)] = LEAST_AUC,
    untrained: Annotated[int, Range(0, 100)] = 0,
    score: UnitScore = "max",
    seed: Seed = 0,
    workers: Workers = None,
    run: OtherRunner = None,
    out: ShardFolder = None,
    resume: Resume = True,
    batch: PassBatch = BATCH,
    limit: Limit = None,
) -> UnitNames:
    """Names of a layer's units, or of concepts: what the pictures with their high scores have in common, with AUC and p-value.

    A name is a formula of at most `length` terms, "(dog OR fox) AND NOT hound", as in INVERT (bykov2023invert). Terms are the
    labels of the pictures and their groups: those of ImageNet's classes come with tapetum (dog, bird, vehicle, ...), others are
    yours. AUC = P(a picture of that name has a higher score than another) + half of P(equal), in [0, 1]. A third of the
    pictures chooses the formula, by a beam search for the highest AUC - 2 standard errors, where each further term must add .02
    to the AUC. The others judge it: the AUC of the result is theirs, and p is that of the rank-sum test (mann1947test), where
    every tie counts as a pair lost, corrected for all units by Holm's method (holm1979simple). A name stands if p <= level, AUC
    >= least_auc (over many pictures even units with random weights differ from chance by a little, perhaps by their colours),
    and two thirds of the unit's nine highest judging pictures are of that name (`highest`): else it would speak of pictures on
    which the unit hardly fires. A term needs 15 pictures and 15 others: from one picture each of 500 classes come groups, not
    classes.

    In place of a layer, concepts: the result of `tp.concepts`, by its code (the mean over places for k-means), or `tp.Concept`s
    of one layer, by the activation along their directions. A direction that was computed from the labels of these pictures has
    seen the judging ones too: its AUC and p are then too good.

    Instead of labels, names can be texts: a text is true of the tenth of the pictures that an image-text model finds most
    similar to it (after oikarinen2023clipdissect). Or they are masks of the things in the pictures (after bau2017netdissect):
    the name is the mask that the unit's highest places, those above its quantile .995, cover best. Then `iou` must be at least
    .04, AUC is that of places inside the mask against those outside, and p is that of a sign test of whether maps fit their own
    masks better than those of other pictures. `shuffled` is the AUC with the terms of the pictures dealt out by lot, or with
    the masks of other pictures.

    Refused: pictures without labels where neither texts nor masks are given, pictures of which no term has enough, and masks of
    other shapes than (n, h, w).

    Args:
        groups: {name: labels} of further groups.
        texts: words or sentences in place of labels.
        text_model: image-text model that reads the texts; None: the model itself.
        masks: {name: (n, h, w)} of all n pictures, cut and resized as the network sees them, in place of labels.
        length: largest number of terms in a name; 1: no formulas.
        level: largest p-value of a name.
        least_auc: least AUC of a name.
        untrained: copies with random weights that are named beside: an AUC that more than 5 % of their units reach is no name.

    Example:
        >>> shapes = tp.planted("shapes", n=45, classes=["disc", "ring", "star"])
        >>> print(tp.name_units(model, shapes, "blocks.3", groups={"round": ["disc", "ring"]}))
    """
    named = as_subject(model, layer)
    tracker = named.tracker(score)
    how = {"workers": workers, "run": run, "batch": batch, "limit": limit}
    scanned = scan(model, source, {named.layer: tracker}, out=out, resume=resume, **how)
    table: ScoresResult = scanned[named.layer][0]
    if model.weights == "random":
        note(f"{model.name} has random weights")
    if masks is not None and (groups is not None or texts is not None):
        raise MethodError("masks are given in place of labels, groups and texts")
    terms, rows = _terms(model, source, table, groups, texts, text_model, batch) if masks is None else (None, [])

    def judge(network: VisionModel, scores: Tensor) -> Judged:
        if terms is None:
            return judged_by_masks(network, named, source, table.samples.tolist(), masks or {}, batch, seed)
        ids = [table.ids[sample] for sample in table.samples[rows].tolist()]
        return judged(scores[rows], terms, ids, length=length, seed=seed)

    found = judge(model, table.scores)
    copies = [reset(model, seed + 1 + i)[0] for i in range(untrained)]
    beside = [judge(one, scan(one, source, {named.layer: tracker}, **how)[named.layer][0].scores) for one in copies]
    return replace(
        as_names(named.layer, found, level, _bar(beside, level, least_auc)),
        concepts=named.titles,
        source="masks" if masks is not None else "labels" if texts is None else "texts",
        skipped=dict(scanned.skipped),
        model=model.name,
        data=source.name,
    )


def _bar(beside: Sequence[Judged], level: float, least_auc: float) -> float:
    """Returns the least AUC of a name: that given, or what more than 5 % of the units with random weights would have."""
    if not beside:
        return least_auc
    reached = torch.cat([one.auc.where(_stand(one, level, 0.0), 0.0) for one in beside]).sort(descending=True).values
    bar = max(least_auc, float(reached[int(BY_CHANCE * len(reached))]) + TINY)
    given, asked = (int((reached >= one).sum()) for one in (least_auc, bar))
    note(
        f"of {len(reached)} units of copies with random weights {given} would have a name by an AUC of {least_auc:.3g}, "
        f"{asked} by the {bar:.3g} that is asked for"
    )
    return bar


def _stand(found: Judged, level: float, least_auc: float) -> Tensor:
    """Returns which names (n,) stand."""
    stand = (found.p_values <= level) & (found.auc >= least_auc)
    if found.highest is not None:
        stand = stand & (found.highest >= LEAST_HIGHEST - TINY)
    return stand if found.iou is None else stand & (found.iou >= LEAST_IOU)


def as_names(layer: str, found: Judged, level: float, least_auc: float) -> UnitNames:
    """Returns the names that stand, and the candidates, of a layer's units."""
    stand = _stand(found, level, least_auc).tolist()
    return UnitNames(
        layer=layer,
        units=tuple(range(len(found.names))),
        names=tuple(name if stands else None for name, stands in zip(found.names, stand, strict=True)),
        candidates=found.names,
        auc=found.auc,
        p_values=found.p_values,
        positives=found.positives,
        shuffled=found.shuffled,
        level=level,
        least_auc=least_auc,
        chosen_on=found.chosen_on,
        judged_on=found.judged_on,
        terms=found.terms,
        iou=found.iou,
        highest=found.highest,
    )


def _terms(
    model: VisionModel,
    source: Source,
    table: ScoresResult,
    groups: Mapping[str, Sequence[str]] | None,
    texts: Sequence[str] | None,
    text_model: ModelLike | None,
    batch: int,
) -> tuple[Terms, list[int]]:
    """Returns the terms, and the rows of the table of which they say something."""
    samples = table.samples.tolist()
    if texts is not None:
        if groups is not None or isinstance(texts, str):
            raise MethodError('texts is a list such as ["dog", "car"], in place of labels and their groups')
        reader = model if text_model is None else as_model(text_model)
        return text_terms(reader, source, samples, texts, batch), list(range(len(samples)))
    labels = [source.labels[sample] for sample in samples]
    rows = [row for row, label in enumerate(labels) if label is not None]
    if not rows:
        raise MethodError(
            f"the pictures of {source.name} have no labels: give class folders, or texts=[...] for an image-text model"
        )
    if len(rows) < len(samples):
        note(f"{len(samples) - len(rows)} pictures without a label are left out")
    return label_terms([label for label in labels if label is not None], groups), rows
