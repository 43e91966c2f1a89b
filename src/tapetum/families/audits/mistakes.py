"""Concepts that drive mistakes: what in wrongly answered pictures speaks for the wrong class, and what hiding it does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.layers import automatic_layer
from tapetum.data.preprocessing import size_of
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.scores import as_score
from tapetum.families.audits.hiding import CELLS, GRID, cells, on_grid, shares, strongest, tested
from tapetum.families.audits.material import Material
from tapetum.families.audits.pictures import BATCH, Audited, answers
from tapetum.families.compositions.directions import factorize
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report, stage
from tapetum.types import MistakeConcept, TapetumError, contrast

CONCEPTS = 6
"""Concepts into which the activations of pictures answered by one class are taken apart."""

FEWEST = 6
"""Least number of mistakes towards a class that are looked into."""

MOST = 5
"""Largest number of classes that are looked into: those with the most mistakes towards them."""

AT_MOST, PLACES = 60, 20_000
"""Pictures of a class, and places of their maps, from which concepts are made, at most."""

SHOWN = 6


def mistakes(model: VisionModel, read: Audited, made: Material, said: Tensor, seed: int) -> tuple[MistakeConcept, ...]:
    """For each class with enough mistakes towards it, the concept that drives them, the largest effect first.

    The activations of all pictures answered by the class are factorised into six concepts. A concept's drive of a mistake is
    the sum over places of its weight there times <d (logit of the answer - logit of the true class) / d activation, concept>;
    the one with the largest mean drive is kept (after Vitry et al. 2026). In each mistake the seven cells with most of it are
    replaced by the picture's own plate, and so are seven others drawn at random. `said` (n,): places of the answers.
    """
    wrong = (said != read.labels) & (said >= 0) & (said < len(read.classes))
    counts = torch.bincount(said[wrong], minlength=len(read.classes))
    order = [index for index in counts.argsort(descending=True, stable=True).tolist() if counts[index] >= FEWEST][:MOST]
    found: list[MistakeConcept] = []
    with stage("concepts of mistakes"):
        for number, index in enumerate(order):
            try:
                found.append(_of_class(model, read, made, said, wrong, index, seed))
            except TapetumError as error:
                note(f"mistakes towards '{read.classes[index]}' are not taken apart: {error}")
            report(number + 1, len(order), "classes")
    corrected = [replace(one, p_value=min(1.0, one.p_value * len(found))) for one in found]
    return tuple(sorted(corrected, key=lambda one: -one.effect))


def _of_class(
    model: VisionModel, read: Audited, made: Material, said: Tensor, wrong: Tensor, index: int, seed: int
) -> MistakeConcept:
    generator = torch.Generator().manual_seed(seed)
    rows = (wrong & (said == index)).nonzero()[:, 0]
    right = (~wrong & (said == index)).nonzero()[:, 0]
    right = right[torch.randperm(len(right), generator=generator)[: max(0, AT_MOST - len(rows))]]
    maps = _concept_maps(model, read, rows, right, index, generator)
    places = strongest(on_grid(maps))
    others = _others(places, generator)
    size = size_of(read.pixels)
    hidden, control = (_answers(model, read, made, rows, cells(some, size)) for some in (places, others))
    drop = tested(control.chances[:, index] - hidden.chances[:, index], generator)
    truth = read.labels[rows]
    share: list[float] = shares(maps, read.objects[rows]).mean(0).tolist()
    before = answers(model, read.pixels[rows], read.outputs)[0][:, index]
    best = (before - hidden.chances[:, index]).argsort(descending=True, stable=True)[:SHOWN]
    counts = torch.bincount(truth, minlength=len(read.classes)).tolist()
    return MistakeConcept(
        read.classes[index],
        {name: count for name, count in zip(read.classes, counts, strict=True) if count},
        (share[0], share[1], share[2]),
        drop.mean,
        drop.interval,
        drop.p_value,
        (float((hidden.said == truth).double().mean()), float((control.said == truth).double().mean())),
        tuple(read.names[row] for row in rows[best].tolist()),
        read.pixels[rows[best]],
        hidden.pixels[best],
        torch.stack([before, hidden.chances[:, index]], 1)[best],
    )


def _concept_maps(
    model: VisionModel, read: Audited, rows: Tensor, right: Tensor, index: int, generator: torch.Generator
) -> Tensor:
    """Weights (m, h, w) of the concept that drives the mistakes `rows` most, at the size of the pictures."""
    acts, grads = _activations(model, read, rows, index, wrong=True)
    known = _activations(model, read, right, index, wrong=False)[0] if len(right) else acts[:0]
    table = torch.cat([acts, known]).movedim(1, -1).flatten(0, -2)
    some = table[torch.randperm(len(table), generator=generator)[:PLACES]]
    concepts = factorize(some, min(CONCEPTS, *some.shape), seed=int(torch.randint(2**31, (1,), generator=generator))).directions
    weights = (acts.movedim(1, -1) @ torch.linalg.pinv(concepts)).clamp(min=0)  # (m, h, w, concepts)
    drive = (weights * (grads.movedim(1, -1) @ concepts.T)).sum((1, 2)).mean(0)
    chosen = weights[..., int(drive.argmax())][:, None]
    return F.interpolate(chosen, read.pixels.shape[-2:], mode="bilinear")[:, 0].float()


def _activations(model: VisionModel, read: Audited, rows: Tensor, index: int, *, wrong: bool) -> tuple[Tensor, Tensor]:
    """Positive activations (m, c, h, w) of the layer that Grad-CAM takes, and the gradients of the logits' difference there."""
    acts: list[Tensor] = []
    grads: list[Tensor] = []
    for some in rows.split(BATCH):
        images = model.preprocessing.normalize(read.pixels[some]).to(model.device, model.dtype)
        own = read.outputs[index]
        targets = [contrast(own, read.outputs[label]) if wrong else own for label in read.labels[some].tolist()]
        score = as_score(model, images, targets)
        layer = automatic_layer(score, images, ("class_sensitive", "map_of_layer"))[0]
        act, grad = layer_gradient(score, images, layer)
        acts.append(act.clamp(min=0).double().cpu())
        grads.append(grad.double().cpu())
    return torch.cat(acts), torch.cat(grads)


def _others(places: Tensor, generator: torch.Generator) -> Tensor:
    """As many cells (m, 7), drawn at random among those that are not in `places` (m, 7)."""
    draws = torch.rand(len(places), GRID * GRID, generator=generator).scatter_(1, places, 2.0)
    return draws.argsort(1)[:, :CELLS]


@dataclass(frozen=True)
class _Answers:
    """Pictures (m, 3, h, w) with a hidden place, probabilities (m, k), and places of the answers (m,)."""

    pixels: Tensor
    chances: Tensor
    said: Tensor


def _answers(model: VisionModel, read: Audited, made: Material, rows: Tensor, where: Tensor) -> _Answers:
    pixels = torch.where(where[:, None], made.plates[rows], read.pixels[rows])
    parts = [answers(model, some, read.outputs) for some in pixels.split(BATCH)]
    return _Answers(pixels, torch.cat([chances for chances, _ in parts]), torch.cat([said for _, said in parts]))
