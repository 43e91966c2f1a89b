"""Checks of gradients: do they reach the image and the layers, or does the network hide them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch

from tapetum.engines.feeding import magnitude, read_of
from tapetum.engines.scores.inside import CallableScore
from tapetum.families.health.patient import Patient, check, listed
from tapetum.families.health.recording import SEARCHES, Operation, Recording
from tapetum.models.believing import alike
from tapetum.models.opaque import ANSWERS
from tapetum.models.operations.nested import floats
from tapetum.types import Finding, TapetumError

WITHOUT = "occlusion, rise, feature_ablation and kernel_shap need no gradient"
TRIED = 6
"""Layers without a gradient that are tried by replacing their output."""


@check(quick=True)
def gradient_at_the_image(patient: Patient) -> Iterator[Finding]:
    """Reports an answer whose gradient at the image is zero or missing although the answer depends on the image."""
    if patient.without_gradients:
        done = "methods that need gradients are refused in a line"
        yield Finding(
            "no_gradient", "warning", patient.without_gradients, done, f"use {ANSWERS}, or the network as torch runs it"
        )
        return
    found = patient.recording
    if found.failure:
        what = f"the backward pass fails {patient.on}: {found.failure}"
        done = f"methods that differentiate are refused with that error; {WITHOUT}"
        advice = "mend the operation that the error names; often it writes in place into what the backward pass needs"
        yield Finding("broken_gradient", "error", what, done, advice)
        return
    if found.image or found.decides:
        return
    if not _saturation(patient) and not _answer_changes(patient):
        yield _constant(patient)
        return
    stop = _stop(found)
    why = f": {_how(stop)}" if stop else _saturation(patient)
    what = f"the gradient of the answer at the image is exactly zero {patient.on}{why}"
    behind = [] if stop is None else list(_behind(patient, stop))
    works = f"; layers from {behind[0]} on get gradients, so Grad-CAM works there" if behind else ""
    done = f"methods of gradients at the image are refused or give a `constant` map; {WITHOUT}{works}"
    advice = "take that operation out of the network, or put a differentiable one in its place"
    yield Finding("zero_gradient", "error", what, done, advice)


def _constant(patient: Patient) -> Finding:
    """Describes an answer without the image; a network whose last layer starts with zeros has only not been trained yet."""
    weights = [name for name, one in patient.model.module.named_parameters() if one.ndim > 1 and not bool(one.any())]
    fresh = bool(weights) and not any(bool(one.any()) for one in floats(patient.model(patient.some)))
    why = f", since all numbers of {weights[-1]} are 0" if weights else ""
    what = f"the answer does not depend on the image: it is the same {patient.on} and on their mirrored negatives{why}"
    advice = "look at what the forward pass returns: it may be a constant, or saturated"
    if fresh:
        advice = "train it, or load trained weights: some networks begin with a last layer of zeros"
    return Finding(
        "constant_answer", "note" if fresh else "error", what, "maps are refused or have the status `constant`", advice
    )


def _answer_changes(patient: Patient) -> bool:
    images = patient.some
    return not alike(patient.model(images), patient.model(-images.flip(-1)))


def _stop(found: Recording) -> Operation | None:
    """Returns the operation that lets no gradient through to the image: the last one before the first layer with a gradient."""
    reached = [found.finished[name] for name in found.finished if found.gradients.get(name)]
    return found.stop_before(min(reached, default=len(found.operations)))


def _how(stop: Operation) -> str:
    how = "gives numbers without a gradient" if stop.cuts else "has a derivative of zero almost everywhere"
    return f"{stop.place} {how}"


def _behind(patient: Patient, stop: Operation) -> Iterator[str]:
    """Yields the layers with places that finish after an operation."""
    found, maps = patient.recording, patient.model.survey.maps
    index = found.operations.index(stop)
    for name, count in found.finished.items():
        if count > index and name in maps and prod(maps[name].grid or ()) > 1:
            yield name


def _saturation(patient: Patient) -> str:
    """Says that the network's own softmax or sigmoid is saturated, where it is; else ""."""
    try:
        probabilities = patient.probabilities
    except TapetumError:
        return ""
    if probabilities is None or patient.answer.read.numbers != "probabilities":
        return ""
    gap = torch.minimum(probabilities, 1 - probabilities).max()
    return ": the softmax or sigmoid at its end is saturated (all probabilities are 0 or 1)" if float(gap) < 1e-12 else ""


@check()
def gradient_at_the_layers(patient: Patient) -> Iterator[Finding]:
    """Reports layers on which the answer depends although no gradient comes back to them, by construction."""
    found = patient.recording
    if found.failure or not found.image:
        return  # told by the check of the image
    survey = patient.model.survey
    grids = {name: prod(survey.maps[name].grid or ()) for name in found.finished if name in survey.maps}
    silent = [name for name in found.finished if grids.get(name, 1) > 1 and found.gradients.get(name) is False]
    score = CallableScore(patient.model, magnitude, rows=tuple(range(len(patient.some))))
    read = [name for name in reversed(silent[-TRIED:]) if read_of(score, patient.some, name) != "nothing"]
    if not read:
        return
    last = read[0]
    stop = found.stop_after(found.finished[last])
    by = f": {stop.place} stops it" if stop else "; no operation stops it, so activations behind it are dead there"
    yield Finding(
        "blocked_gradient",
        "warning" if stop else "note",
        f"no gradient comes back to {last} {patient.on}, although the answer changes with its output{by}"
        + (f" (the same for {listed(read[1:])})" if read[1:] else ""),
        "Grad-CAM and its relatives are refused or give a `constant` map there; maps at the image leave this way out",
        "name another layer, or use ablation_cam or occlusion; "
        + ("take the operation out" if stop else "look at more pictures"),
    )


@check()
def optimisation_inside(patient: Patient) -> Iterator[Finding]:
    """Reports a network that differentiates or optimises inside its forward pass."""
    inside = [one for one in patient.recording.operations if one.name in SEARCHES]
    if inside:
        yield Finding(
            "optimisation_inside",
            "warning",
            f"the network differentiates inside its forward pass ({len(inside)} times): {inside[0].place}",
            "gradients of the answer leave out what that inner search does; each pass costs as much as the search",
            f"explain the network without the search, or use methods without gradients: {WITHOUT}",
        )
