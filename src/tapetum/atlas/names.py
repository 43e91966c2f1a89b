"""Names of an atlas's units, from the labels of its pictures and the scores of its scan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tapetum import progress
from tapetum.families.naming.judging import judged
from tapetum.families.naming.naming import LEAST_AUC, LEVEL, as_names
from tapetum.families.naming.terms import label_terms
from tapetum.types import DamagedError, MethodError, ScanResult, ScoresResult

LENGTH = 3
"""Most terms of a name."""

CAPTION = (
    "Of a picture of that name and another one, the first has the higher score as often as the AUC says, "
    f"at least {LEAST_AUC:g}; on pictures that did not choose the name. Of the nine highest of those, two thirds are of it. "
    f"In each layer the chance that any name is one by accident is at most {100 * LEVEL:g} %."
)

JOINED = re.compile(r" (OR|AND) ")
"""What a name of several terms holds."""

MOST = 24
"""Names that the first page lists: those of one term that most units have."""


def names_of_units(result: ScanResult, labels: Sequence[str | None]) -> dict[str, Any]:
    """Returns the names of all layers, {layer: {"said": ..., "units": [[channel, name, AUC, p], ...]}}, as "names".

    Without labels, or with too few pictures of each, "not_named" says why there are none.
    """
    found: dict[str, Any] = {}
    try:
        for i, (layer, kept) in enumerate(result.items()):
            progress.report(i, len(result), "layers named")
            found[layer] = _of_layer(layer, kept[1], labels)
    except MethodError as error:
        return {"names": {}, "not_named": str(error)}
    return {"names": found, "not_named": None}


def _of_layer(layer: str, table: ScoresResult, labels: Sequence[str | None]) -> dict[str, Any]:
    samples = table.samples.tolist()
    rows = [row for row, sample in enumerate(samples) if labels[sample] is not None]
    if not rows:
        raise MethodError("the pictures have no labels, such as class folders give")
    terms = label_terms([str(labels[samples[row]]) for row in rows], None)
    ids = [table.ids[samples[row]] for row in rows]
    names = as_names(layer, judged(table.scores[rows], terms, ids, length=LENGTH, seed=0), LEVEL, LEAST_AUC)
    units = [
        [unit, name, round(auc, 3), p]
        for unit, name, auc, p in zip(names.units, names.names, names.auc.tolist(), names.p_values.tolist(), strict=True)
        if name is not None
    ]
    return {"said": names.said(), "units": units}


def frequent(names: Mapping[str, Any]) -> list[list[Any]]:
    """Returns [name, number of units] of the names of one term that the most units have, over all layers."""
    counts = Counter(name for layer in names.values() for _, name, *_ in layer["units"] if not JOINED.search(name))
    return [[name, count] for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST]]


def by_channel(layer: Mapping[str, Any] | None, channels: int) -> list[list[Any] | None] | None:
    """Returns [name, AUC, p] or None for each channel of a layer; None if the layer was not named."""
    if layer is None:
        return None
    found: list[list[Any] | None] = [None] * channels
    for channel, *name in layer["units"]:
        if channel >= channels:
            raise DamagedError(f"the atlas names a unit {channel} of a layer of {channels}; build it again")
        found[channel] = name
    return found
