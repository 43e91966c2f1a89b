"""Checks of the answer: can it be read, is there a softmax inside, is it saturated, is it the same every time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tapetum.families.health.patient import Patient, check, counted
from tapetum.families.health.recording import DRAWS
from tapetum.models.believing import BATCH, RANDOM
from tapetum.models.hooks import hooked
from tapetum.models.operations.nested import floats, max_difference
from tapetum.models.untrained import torch_seed
from tapetum.types import Finding, TapetumError, TargetError

CERTAIN = 1e-7
"""How near to 1 a probability is saturated: about the step of 32-bit numbers there."""


@check(quick=True)
def answer(patient: Patient) -> Iterator[Finding]:
    """Reports an answer that is not finite, or that holds no classes that could be explained without being told."""
    broken = [one for one in floats(patient.model(patient.some)) if not bool(one.isfinite().all())]
    if broken:
        where = _first_broken(patient)
        what = f"the answer {patient.on} holds NaN or infinity" + (f", first in the output of {where}" if where else "")
        advice = "look at that layer: broken weights, a division by zero or an overflow of 16-bit numbers"
        yield Finding("answer", "error", what, "such an answer is refused", advice)
        return
    if patient.model.encode_text is None:
        try:
            _ = patient.answer
        except TargetError as refusal:
            done = "methods without target= are refused; a tp.Unit or a function of the output works as a target"
            yield Finding("answer", "warning", f"the answer cannot be read: {refusal}", done, "say what the numbers are")


def _first_broken(patient: Patient) -> str | None:
    """Returns the innermost layer that finishes first with an output that is not finite."""
    found: list[str] = []

    def end(name: str, _inputs: object, output: object) -> None:
        if not found and any(not bool(one.isfinite().all()) for one in floats(output)):
            found.append(name)

    replica = patient.model.replica
    with hooked([(name, part) for name, part in replica.named_modules() if part is not replica], end=end):
        patient.model(patient.some)
    return found[0] if found else None


@check(quick=True)
def softmax_inside(patient: Patient) -> Iterator[Finding]:
    """Reports a softmax or sigmoid at the network's own end, behind which gradients die as the answer becomes sure."""
    reading = patient.answer.reading
    if reading is None or reading.numbers not in ("probabilities", "log_probabilities"):
        return
    if reading.numbers == "probabilities" and reading.exclusive and not reading.binary:
        yield Finding(
            "softmax_inside",
            "warning",
            f"the network ends in a softmax: its answer is {reading.words}",
            "it reads the numbers as probabilities and adds no second softmax; a map then explains the probability, whose "
            "gradient vanishes where the network is sure",
            "give the network without its last softmax (it then returns logits), or ask with target=tp.log_probability(class)",
        )
        return
    end = "log-softmax" if reading.numbers == "log_probabilities" else "sigmoid"
    yield Finding(
        "softmax_inside",
        "note",
        f"the network ends in a {end}: its answer is {reading.words}",
        f"it reads the numbers as they are and adds no second {end}",
        "nothing, unless maps of very sure answers are empty: then give the network without its last operation",
    )


@check(pictures=2, quick=True)
def saturated(patient: Patient) -> Iterator[Finding]:
    """Reports probabilities of 1 to the last digit on half of the pictures or more, where curves of evidence cannot move."""
    probabilities = patient.probabilities
    if probabilities is None or patient.answer.read.kind == "labels":
        return
    certain = torch.maximum(probabilities, 1 - probabilities).amin(1) if probabilities.shape[1] == 1 else probabilities.amax(1)
    full = int((certain >= 1 - CERTAIN).sum())
    if full * 2 < patient.n:
        return
    yield Finding(
        "saturated",
        "note" if patient.untrained else "warning",
        f"the first class has a probability of 1 to within {CERTAIN:g} on {full} of {counted(patient.n, 'picture')}"
        + (", as large logits of an untrained network can give" if patient.untrained else ""),
        "maps of logits are not affected; deletion and insertion measure the probability, which stays at 1 for long",
        "explain the logit or tp.contrast(a, b), and read evidence with care: small changes of the answer are invisible here",
    )


@check(quick=True)
def random_answers(patient: Patient) -> Iterator[Finding]:
    """Reports answers that differ between two passes, or that depend on the other images of a batch."""
    passes: list[list[Tensor]] = []
    for seed in range(2):
        with torch_seed(seed, patient.model.device):
            passes.append(list(floats(patient.model(patient.some))))
    first, second = passes
    same_shapes = [one.shape for one in first] == [one.shape for one in second]
    apart = (
        max((max_difference(a, b) for a, b in zip(first, second, strict=True) if a.numel()), default=0.0)
        if same_shapes
        else 1.0
    )
    believed = patient.model.structure.believed
    notes = believed.notes if believed else ()
    if RANDOM in notes or apart > 1e-3:
        yield Finding(
            "random_answers",
            "warning",
            f"two passes over the same images in eval mode differ by {apart:.2g} of the largest number{_drawn_in(patient)}",
            "each map is that of one draw, and notes say so; no number is averaged over draws",
            "switch the randomness off in eval mode (F.dropout(x, training=self.training)), or seed it inside the network",
        )
    elif BATCH in notes:
        yield Finding(
            "batch_answers",
            "warning",
            "the answer for an image depends on the other images of its batch, since statistics of the batch are computed",
            "maps carry a note; methods that hide or repeat images change the answer by that alone",
            "use running statistics in eval mode (BatchNorm with track_running_stats=True), or give batch=1",
        )


def _drawn_in(patient: Patient) -> str:
    """Names the operation that draws random numbers, where it is seen."""
    try:
        operations = patient.recording.operations
    except TapetumError:
        return ""
    drawn = next((one for one in operations if one.training or one.name in DRAWS), None)
    return f": {drawn.place} draws them" if drawn else ""
