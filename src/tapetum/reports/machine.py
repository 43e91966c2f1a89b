"""Writes report.json, which holds the content of a report for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.keeping.places import ELSEWHERE
from tapetum.keeping.whole import write_whole
from tapetum.reports.pictures import Names
from tapetum.types.explanations import Explanation, Judged, Question
from tapetum.types.verdicts import Verdict


def as_json(
    explanations: Sequence[Explanation],
    names: Sequence[Names],
    results: Sequence[str] | None = None,
    *,
    model: str,
    refused: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """Returns the whole report as JSON types; numbers that are not finite become null.

    names     file names of the pictures, as `pictures` returns them
    results   folders of the saved results, one per image
    """
    images = [_image(explanation, files) for explanation, files in zip(explanations, names, strict=True)]
    if results is not None:
        images = [{**image, "result": result} for image, result in zip(images, results, strict=True)]
    skipped = [{"file": file, "reason": reason} for file, reason in refused]
    return nan_as_null({"model": model, "images": images, "refused": skipped, "versions": dict(versions), "seed": seed})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file; if writing fails, no partial file is left."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"), ELSEWHERE)  # for bytes in file names that are not valid text


def _image(explanation: Explanation, names: Names) -> dict[str, Any]:
    questions = list(zip(explanation.questions, names, strict=True))
    return {
        "file": explanation.file,
        "crop": explanation.crop,
        "notes": list(explanation.notes),
        "answer": explanation.answer,
        "predictions": [one._asdict() for one in explanation.predictions],
        "target": explanation.questions[0].target,
        "attributions": [_map(q, judged, file) for q, files in questions for judged, file in zip(q.maps, files, strict=True)],
        "refused": [
            {"target": q.target, "method": name, "reason": why} for q, _ in questions for name, why in q.refused.items()
        ],
        "tried": [
            {"target": q.target, "method": name, "faithfulness": value} for q, _ in questions for name, value in q.tried.items()
        ],
        "found": [{"layer": maps.layer, "channels": maps.channels[0].tolist()} for maps in explanation.found],
        "hidden": [{"target": q.target, "probability": q.probability, "hidden": dict(q.hidden)} for q, _ in questions],
        "findings": list(explanation.findings),
    }


def _map(question: Question, judged: Judged, file: str) -> dict[str, Any]:
    attribution = judged.attribution
    return {
        "method": attribution.method,
        "target": question.target,
        "role": question.role,
        "layer": attribution.layer,
        "status": attribution.status[0],
        "baseline": judged.baseline,
        "seconds": judged.seconds,
        "evidence": dict(judged.evidence),
        "verdict": None if judged.verdict is None else _verdict(judged.verdict),
        "class_overlap": judged.class_overlap,
        "grid": list(attribution.values.shape[-2:]),
        "parameters": dict(judged.provenance.parameters),
        "notes": list(attribution.notes),
        "file": file,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "stands": verdict.stands,
        "outcome": verdict.outcome,
        "p_value": verdict.p_value,
        "faithfulness": verdict.faithfulness,
        "random_maps": len(verdict.null),
        "random_maps_below": verdict.beaten(verdict.faithfulness) if verdict.tested else None,
        "edges": verdict.edges,
        "centre": verdict.centre,
        "margins": {name: {"difference": one, "error": error} for name, (one, error) in verdict.margins.items()},
        "tried": verdict.tried,
        "level": verdict.level,
    }


def nan_as_null(value: Any, number: Callable[[float], float | int] = float) -> Any:
    """Copies nested dicts and lists, with `number(x)` for each finite float x, and None for NaN and infinity."""
    if isinstance(value, float):
        return number(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: nan_as_null(part, number) for key, part in value.items()}
    return [nan_as_null(part, number) for part in value] if isinstance(value, (list, tuple)) else value
