"""The content of audit.json: everything that an audit found, for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tapetum.reports.machine import nan_as_null
from tapetum.types import Audit, Suspicion

RELIANCE = ("object", "surroundings")
PLACES = ("object", "surroundings", "outer_band")


def content_of(found: Audit, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an audit as JSON types, with `facts` about how it was made; numbers that are not finite become null."""
    content = {
        **facts,
        "verdict": found.verdict,
        "said": found.said,
        "pictures": found.n,
        "classes": list(found.classes),
        "accuracy": found.accuracy,
        "level": found.level,
        "masked": found.masked,
        "suspicions": [_suspicion(one) for one in found.suspicions],
        "tests": {kind: _tests(found, kind) for kind in found.effects},
        "reliance": {
            label: dict(zip(RELIANCE, row, strict=False))
            for label, row in zip(found.classes, found.reliance.tolist(), strict=True)
        },
        "properties": [{**asdict(one), "means": dict(one.means)} for one in found.properties],
        "groups": [
            {
                "label": one.label,
                "n": one.n,
                "shares": dict(zip(PLACES, one.shares, strict=True)),
                "effect": one.effect,
                "interval": list(one.interval),
                "p_value": one.p_value,
                "examples": list(one.examples),
                "said": str(one),
            }
            for one in found.clusters
        ],
        "mistakes": [
            {
                "label": one.label,
                "n": one.n,
                "truths": dict(one.truths),
                "shares": dict(zip(PLACES, one.shares, strict=True)),
                "effect": one.effect,
                "interval": list(one.interval),
                "p_value": one.p_value,
                "repaired": {"concept_hidden": one.repaired[0], "as_much_at_random": one.repaired[1]},
                "examples": list(one.examples),
                "said": str(one),
            }
            for one in found.mistakes
        ],
        "components": [
            {
                "label": one.label,
                "share": one.share,
                "mean": one.mean,
                "of_object": one.of_object,
                "of_surroundings": one.of_surroundings,
                "interval": list(one.interval),
                "examples": list(one.examples),
                "said": str(one),
            }
            for one in found.components
        ],
        "receipt": None if found.receipt is None else {**asdict(found.receipt), "said": str(found.receipt)},
        "skipped": dict(found.skipped),
        "notes": list(found.notes),
    }
    return nan_as_null(content)


def _tests(found: Audit, kind: str) -> dict[str, Any]:
    return {
        "bar": found.bars[kind],
        "smallest": found.smallest[kind],
        "effect": dict(zip(found.classes, found.effects[kind].tolist(), strict=True)),
        "p_value": dict(zip(found.classes, found.p_values[kind].tolist(), strict=True)),
        "lost": dict(zip(found.classes, found.losses[kind].tolist(), strict=True)),
    }


def _suspicion(one: Suspicion) -> dict[str, Any]:
    rows = zip(one.examples, one.givers, one.chances.tolist(), strict=True)
    return {
        "kind": one.kind,
        "label": one.label,
        "effect": one.effect,
        "interval": list(one.interval),
        "p_value": one.p_value,
        "flips": {"own": one.flips[0], "others": one.flips[1]},
        "n": one.n,
        "said": str(one),
        "examples": [
            {"picture": name, "cue_from": giver, "before": before, "after": after} for name, giver, (before, after) in rows
        ],
    }
