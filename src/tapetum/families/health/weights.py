"""Checks of the module itself: its mode, its numbers, whether it was trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from tapetum.families.health.patient import Patient, check, counted, listed
from tapetum.models.opaque import Opaque
from tapetum.models.operations.nested import floats, max_difference
from tapetum.models.replica import copied
from tapetum.models.untrained import torch_seed
from tapetum.types import Finding


@check(quick=True)
def training_mode(patient: Patient) -> Iterator[Finding]:
    """Reports parts in training mode, and whether the answer there differs from that in eval mode, on a copy."""
    module = patient.model.module
    if isinstance(module, Opaque):  # its own flag says nothing about what is inside
        return
    parts = [type(part).__name__ for part in module.modules() if part.training]
    if not parts:
        return
    where = f"the network is in training mode ({counted(len(parts), 'module')})"
    done = "it works on a private copy in eval mode and leaves yours as it is, so maps and predictions are those of eval mode"
    advice = "call model.eval() before you compare them with answers of your own code"
    changes = _change_in_training(patient)
    if changes is None:
        what = f"{where}, and its answer in that mode could not be measured on a copy"
    elif changes > 1e-4:
        what = f"{where}, where its answer {patient.on} differs from that of eval mode by {changes:.2g} of the largest number"
    else:
        yield Finding("training_mode", "note", f"{where}, which changes nothing in its answer {patient.on}", done, advice)
        return
    yield Finding("training_mode", "warning", what, done, advice)


def _change_in_training(patient: Patient) -> float | None:
    """Returns the largest difference of the answer in the user's mode, as a share of the largest number; None if it fails."""
    model = patient.model
    rows = list(range(len(patient.some))) if patient.images is not None else [0] * len(patient.some)
    try:
        twin = copied(model.module, _own_buffers)
        with torch_seed(0, model.device), model.at_rows(rows):
            there = list(floats(model.run(twin, patient.some.clone())))
        here = list(floats(model(patient.some, rows)))
        return max((max_difference(a, b) for a, b in zip(there, here, strict=True) if a.numel()), default=0.0)
    except Exception:  # a batch norm refuses single values, a detector asks for targets
        return None


def _own_buffers(tensor: Tensor) -> Tensor:
    """Shares parameters, which no pass changes, and copies all else, such as running statistics."""
    return tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.detach().clone()


@check(quick=True, passes=False)
def weights(patient: Patient) -> Iterator[Finding]:
    """Reports NaN in parameters and buffers, and infinity in parameters, where nothing intends it as masks do."""
    module = patient.model.module
    named: list[tuple[str, Any]] = [*module.named_parameters(), *module.named_buffers()]
    if isinstance(module, Opaque):
        named = list(module.named_numbers())
    parameters = {id(one) for one in module.parameters()}
    broken: dict[str, str] = {}
    for name, tensor in named:
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        n_nan, n_inf = int(tensor.isnan().sum()), int(tensor.isinf().sum()) if id(tensor) in parameters else 0
        if n_nan or n_inf:
            broken[name] = f"{name} ({n_nan or n_inf:,} of {tensor.numel():,} numbers are {'NaN' if n_nan else 'infinite'})"
    if broken:
        yield Finding(
            "weights",
            "error",
            f"{counted(len(broken), 'tensor')} of the network hold NaN or infinity: {listed(broken.values())}",
            "answers that hold NaN or infinity are refused; nothing is mended",
            "load weights that are finite: the training diverged before they were saved, or the file is damaged",
        )


@check(quick=True, passes=False)
def untrained(patient: Patient) -> Iterator[Finding]:
    """Reports weights that are known to be random."""
    if not patient.untrained:
        return
    why = (
        "its weights were drawn at random"
        if patient.model.weights == "random"
        else f"the statistics of {counted(len(patient.norms), 'batch norm')} are those before any training (mean 0, variance 1)"
    )
    yield Finding(
        "untrained",
        "note",
        f"the network is not trained: {why}",
        "it explains the answer that these weights give; normalisation and saturation are not judged",
        "load trained weights, unless you study the untrained network: its answers are about nothing that was learnt",
    )
