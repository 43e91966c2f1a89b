"""`doctor`: makes all checks of a model, on pictures if there are some, and gives what they found, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tapetum.border.subjects import as_model
from tapetum.families.health.patient import CHECKS, Check, Patient, in_line
from tapetum.models.fitting import in_plain_words
from tapetum.models.vision_model import VisionModel
from tapetum.notes import noting
from tapetum.progress import track
from tapetum.types import SEVERITIES, Diagnosis, Finding, ImageError, ImagesLike, ModelLike, TapetumError
from tapetum.types.text import as_text

MOST = 32
"""Pictures that are looked at; further ones change little and cost time."""


def doctor(model: ModelLike, images: ImagesLike = None) -> Diagnosis:
    """Examines a model for faults that spoil explanations: what was found, what tapetum does about it, what you should do.

    A finding is (name, severity, what, done, advice). An "error" makes results wrong or impossible, a "warning" means that they
    may mislead, a "note" says what tapetum handles. Checked are the mode and the weights, the values and the normalisation of
    the images, the answer (softmax inside, saturation, randomness), the activations (functional, reused, in place, dead
    channels), the layers (maps, layouts, attention) and the gradients (detached, zero by construction, masked). Each text says
    what was measured, and on how many pictures. Some checks need photographs like those that the network was trained on: the
    normalisation three, the order of the channels eight; `left_out` says which were not made, and why. At most 32 pictures are
    looked at. A network that cannot run at all is a finding as well; only arguments that are no model are refused.

    Args:
        model: as for every method.
        images: photographs, or model-ready images; None: checks that need pictures are left out, others take noise.

    Example:
        >>> print(tp.doctor(model, images).verdict)
    """
    return _examined(model, images, CHECKS)


def serious(model: ModelLike, images: ImagesLike) -> list[str]:
    """Returns the errors and warnings of the quick checks, a line each, for the head of a report; a few passes."""
    found = _examined(model, images, [one for one in CHECKS if one.quick])
    return [one.line for one in found.serious]


def _examined(model: ModelLike, images: ImagesLike, checks: Sequence[Check]) -> Diagnosis:
    with torch.inference_mode(False), torch.no_grad(), noting():
        network = as_model(model, images)
        with network.pinned():
            findings, ready = _read(network, images)
            with network.pinned(ready):
                return _diagnosed(Patient(network, ready), findings, checks)


def _read(network: VisionModel, images: ImagesLike) -> tuple[list[Finding], Tensor | None]:
    """Returns the images, model-ready, or None and a finding where the model does not take them."""
    if images is None:
        return [], None
    try:
        return [], network.as_images(images)[:MOST].detach().clone()
    except ImageError as refusal:
        done = "such images are refused, and nothing was tested on them"
        return [Finding("value_range", "error", str(refusal), done, "give photographs, or what model.preprocess returns")], None


def _diagnosed(patient: Patient, findings: list[Finding], checks: Sequence[Check]) -> Diagnosis:
    broken = list(_failing(patient))
    findings = [*findings, *broken]
    made, left = list[str](), dict[str, list[str]]()
    for one in track(checks, len(checks), "checks"):
        if one.passes and broken:
            left.setdefault("the network does not run", []).append(one.title)
        elif patient.n < one.pictures:
            needs = f"needs {one.pictures} photograph{'s' * (one.pictures > 1)} or more, {patient.n} given"
            left.setdefault(needs, []).append(one.title)
        else:
            try:
                findings += one.body(patient)
                made.append(one.name)
            except TapetumError as refusal:
                left.setdefault(str(refusal), []).append(one.title)
    findings.sort(key=lambda found: SEVERITIES.index(found.severity))
    told = tuple(f"{', '.join(titles)}: {why}" for why, titles in left.items())
    return Diagnosis(tuple(findings), patient.model.name, patient.n, tuple(made), told)


def _failing(patient: Patient) -> Iterator[Finding]:
    """Yields a finding if the network cannot run on the images, or cannot be copied."""
    model = patient.model
    try:
        with in_plain_words(model, model.size):
            model(patient.some)
    except Exception as error:  # whatever a user's network raises is what was found
        words = str(error) if isinstance(error, TapetumError) else f"it raises {type(error).__name__}: {in_line(error)}"
        what = f"the network does not run {patient.on} of {as_text(patient.some.shape)} px: {words}"
        yield Finding("does_not_run", "error", what, "every method is refused", "mend this first, then ask again")
