"""`suppress`: changes a copy of a model so that its answers follow a cue less, by the smallest edit that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.families.audits.edits import Edit, Fit, Head, Seen, edits
from tapetum.families.audits.heads import linear_head, seen, with_rows, without_bias
from tapetum.families.audits.pictures import read_pictures
from tapetum.families.audits.repairs import BEARABLE, ENOUGH, Repair
from tapetum.families.audits.retraining import RETRAINED, layers_of, retrained
from tapetum.families.audits.swapping import Swapped, class_place, from_suspicions, halves, swapped
from tapetum.models.patches import made
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import n_outputs
from tapetum.notes import note, noting
from tapetum.progress import stage
from tapetum.training.data import labelled
from tapetum.types import Attempt, Effects, MethodError, ModelLike, Suspicion
from tapetum.types.repairs import effects_of

How = Literal["auto", "projection", "units", "row", "last_layer", "last_two"]

CLOSED: tuple[How, ...] = ("projection", "units")
"""Edits that are computed, not trained."""

ORDER: tuple[How, ...] = (*CLOSED, "row", "last_layer")
"""Edits of the last layer in the order in which they are preferred.

A projection is one direction, and takes the cue away in other forms than it was moved in, too; a mask takes few units away.
"""

FOLDS = 5
MARGIN = 0.05
"""Share of the gap by which the predicted fall has to exceed what is asked for: predictions are not exact."""


def suppress(
    model: ModelLike,
    suspicion: Suspicion | Sequence[Suspicion],
    *,
    source: Any = None,
    how: How = "auto",
    masks: Any = None,
    n: int | None = 800,
    seed: int = 0,
) -> Repair:
    """Changes a copy of a classifier so that its answers follow a cue no longer, and predicts and measures what that costs.

    Pictures get the cue of their own class and that of another, as in `audit`; the *gap* is the difference of accuracy between
    the two, and the cue's *pull* that part of it in which the answer is the class whose cue was moved. Half of the pictures
    decide: every edit is fitted on four fifths of them and judged on the rest, five times, which gives its predicted effects.
    The first kind of edit of which one takes away 80 % of the pull and costs the other classes no more than a point is made,
    the one that changes fewest weights; if there is none, the best of all is made, and the result says that it is not enough.
    Where all classes are suspected, it is the edit after which most answers are right where cues say nothing. Then the edited
    model is measured on the other half.

    Edits that need no training come first: a *projection* x' = x - v u'(x - m) / u'v of the last layer's input, folded into its
    weights, where v is the cue's direction, u reads it against the covariance of the features, and m is their mean without the
    cue; and a mask that sets the fewest *units* to that mean. Where none is enough, weights are trained again on pictures whose
    cues say nothing: the suspected class's *row* of the last layer, the whole *last_layer*, and at last the *last_two* layers.

    An edit cannot teach what the network never learned: a class that it knows by the cue alone is no longer recognised, and the
    result says so.

    Args:
        suspicion: of `audit`; or several of one cue, whose classes are then freed of it together.
        source: pictures with classes, as for `audit`; None: the few pictures that the suspicion keeps, whose class is then what
            the model answers to them before the cue was moved.
        how: which edits are considered: "auto" (all, the last two layers only if the others fail), or one of "projection",
            "units", "row", "last_layer", "last_two".
        masks: masks of the objects, in the forms that `audit` takes.
        n: pictures of the source, of each class equally many as far as there are; None: all.
        seed: random seed of the drawn pictures, pairs, halves and resamples.

    The how-to "Repair a classifier that follows a cue" has an example that runs: train, audit, suppress, take back.
    """
    with noting() as said, border(model, None, "model") as (network, _):
        given = _given(suspicion)
        if how not in ("auto", "projection", "units", "row", "last_layer", "last_two"):
            raise MethodError(f"how is auto, projection, units, row, last_layer or last_two, not {how!r}")
        if source is None and how not in ("auto", "projection", "units"):
            raise MethodError(
                f"how='{how}' trains weights, for which the suspicion keeps too few pictures: give source=, the data"
            )
        about = _pictures(network, given, source, masks, n, seed)
        found = Search(network, about, how, source is not None, seed).repair(given)
    name = "" if source is None else labelled(source).name
    return replace(found, data=name, notes=tuple(said))


def _given(suspicion: Suspicion | Sequence[Suspicion]) -> tuple[Suspicion, ...]:
    given = (suspicion,) if isinstance(suspicion, Suspicion) else tuple(suspicion)
    if not given or not all(isinstance(one, Suspicion) for one in given):
        raise MethodError("suppress takes a suspicion of tp.audit, or several of one cue: audit.suspicions[0]")
    kinds = {one.kind for one in given}
    if len(kinds) > 1 or len({one.label for one in given}) < len(given):
        raise MethodError(f"several suspicions are of one cue and of different classes, not of {', '.join(sorted(kinds))}")
    return given


def _pictures(model: VisionModel, given: Sequence[Suspicion], source: Any, masks: Any, n: int | None, seed: int) -> Swapped:
    if source is None:
        found = from_suspicions(model, given, n_outputs(model))
        note(
            f"no source was given: effects are those on the {len(found)} pictures that the suspicion keeps, which changed most"
        )
        return found
    read = read_pictures(model, labelled(source), n, masks, seed)
    own = torch.zeros(len(read.classes)).bool()
    own[[class_place(read.classes, one.label) for one in given]] = True
    return swapped(model, read, given[0].kind, own, seed)


@dataclass(frozen=True)
class Tried:
    """An edit with its predicted effects, and how to make it: a function of nothing that returns the edited model."""

    how: str
    name: str
    words: str
    changed: int
    effects: Effects
    make: Callable[[], VisionModel]


class Search:
    """Looks for the smallest edit that suppresses a cue."""

    def __init__(self, model: VisionModel, about: Swapped, how: How, trains: bool, seed: int) -> None:
        self.model, self.how, self.trains, self.seed = model, how, trains, seed
        self.k, self.own = len(about.classes), about.own
        first, second = halves(about.labels, seed, self.k)
        self.decide, self.measure = about.take(first), about.take(second)

    def repair(self, given: Sequence[Suspicion]) -> Repair:
        """Tries edits, makes the best one, and measures it."""
        tried = self._tried()
        best = self._best(tried)
        with stage("the edit is made and measured"):
            edited = best.make()
            patch = made(self.model, edited, best.words, self._facts(given))
            before, after = self.measure.said(self.model), self.measure.said(edited)
        measured = effects_of(before, after, self.measure.asked, self.seed)
        attempts = tuple(
            Attempt(
                one.name, one.changed, one.effects.fall, one.effects.others(self.own), float(one.effects.fair[:, 1].nanmean())
            )
            for one in tried
        )
        labels = tuple(one.label for one in given)
        classes, own = self.decide.classes, self.own
        return Repair(
            given[0].kind, labels, best.words, patch, best.effects, measured, attempts, classes, own, best.name, model=edited
        )

    def _facts(self, given: Sequence[Suspicion]) -> dict[str, str]:
        return {"cue": given[0].kind, "classes": ", ".join(one.label for one in given), "seed": str(self.seed)}

    def _tried(self) -> list[Tried]:
        """Tries edits that need no training, then, where none of them is enough, those that do, the smallest first."""
        tried: list[Tried] = []
        if self.how != "last_two":
            with stage("features"):
                name, head = linear_head(self.model, self.decide)
                features = seen(self.model, name, self.decide)
            for how in ORDER if self.how == "auto" else (self.how,):
                if how in (*CLOSED, self.how) or self._go_on(tried):
                    with stage("edits of the last layer"):
                        tried += self._of_head(name, head, features, how)
        if self.how == "last_two" or (self.how == "auto" and self._go_on(tried)):
            tried.append(self._retrained())
        return tried

    def _of_head(self, name: str, head: Head, features: Seen, how: str) -> Iterator[Tried]:
        fixed = without_bias(self.model, name)
        for edit in edits(how, self.own, head.weight.shape[1]):
            fit = _keeping_bias(edit.fit) if fixed else edit.fit
            whole = fit(head, features)
            yield Tried(
                edit.how,
                edit.name,
                edit.words,
                int((whole.weight != head.weight).sum() + (whole.bias != head.bias).sum()),
                self._predicted(head, features, replace(edit, fit=fit)),
                lambda whole=whole: with_rows(self.model, name, whole, self.decide.outputs),
            )

    def _predicted(self, head: Head, features: Seen, edit: Edit) -> Effects:
        """Effects of an edit of the last layer on pictures that it was not fitted to."""
        after = torch.zeros(len(features.labels), 3, dtype=torch.long)
        for held in _folds(features.labels, self.seed, self.k):
            fitted = edit.fit(head, features.take((~held).nonzero()[:, 0]))
            after[held] = fitted(features.features[held]).argmax(-1)
        return effects_of(head(features.features).argmax(-1), after, self.decide.asked, self.seed)

    def _retrained(self) -> Tried:
        """The last two layers trained again; predicted by two networks, each trained on half and judged on the other."""
        after = torch.zeros(len(self.decide), 3, dtype=torch.long)
        parts = halves(self.decide.labels, self.seed + 1, self.k)
        began = time.perf_counter()
        for i, (fitted, held) in enumerate((parts, parts[::-1])):
            left = "" if i == 0 else f", about {max(1, round(2 * (time.perf_counter() - began)))} s"
            with stage(f"the last two layers are trained again ({i + 1} of 3{left})"):
                after[held] = self.decide.take(held).said(retrained(self.model, self.decide.take(fitted), self.seed))
        effects = effects_of(self.decide.said(self.model), after, self.decide.asked, self.seed)

        def make() -> VisionModel:
            return retrained(self.model, self.decide, self.seed)

        return Tried("last_two", "last two layers", RETRAINED, _size(self.model), effects, make)

    # --- the choice

    def _go_on(self, tried: Sequence[Tried]) -> bool:
        """Whether edits that train weights are tried: none so far is enough, or no class is left that could show the harm."""
        return self.trains and (bool(self.own.all()) or not any(map(self._enough, tried)))

    def _enough(self, one: Tried) -> bool:
        return one.effects.fall >= ENOUGH + MARGIN and one.effects.others(self.own) >= -BEARABLE

    def _best(self, tried: Sequence[Tried]) -> Tried:
        """Returns the smallest edit that is enough; else the one with the best of both, the fall up to what is asked for."""
        if self.own.all() and any(map(self._enough, tried)):
            return max(filter(self._enough, tried), key=lambda one: float(one.effects.fair[:, 1].mean()))
        for how in (*ORDER, "last_two"):
            fit = [one for one in tried if one.how == how and self._enough(one)]
            if fit:
                return min(fit, key=lambda one: one.changed)
        return max(
            tried,
            key=lambda one: min(one.effects.fall, ENOUGH + MARGIN) + 5 * min(0.0, one.effects.others(self.own) + BEARABLE),
        )


def _size(model: VisionModel) -> int:
    return sum(part.numel() for name in layers_of(model) for part in model.module.get_submodule(name).parameters())


def _keeping_bias(fit: Fit) -> Fit:
    """The edit for a layer that has no bias, which can then not change."""
    return lambda head, features: Head(fit(head, features).weight, head.bias)


def _folds(labels: Tensor, seed: int, k: int) -> Iterator[Tensor]:
    """Masks (n,) bool of five parts, each with equally many pictures of each class, to within one."""
    generator = torch.Generator().manual_seed(seed + 1)
    place = torch.zeros(len(labels), dtype=torch.long)
    for index in range(k):
        rows = (labels == index).nonzero()[:, 0]
        place[rows] = torch.randperm(len(rows), generator=generator) % FOLDS
    return (place == fold for fold in range(FOLDS) if bool((place == fold).any()))
