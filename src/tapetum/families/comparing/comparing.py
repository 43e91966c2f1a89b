"""Compares two networks on pictures: answers, maps, layers, units, groups of pictures, and a bar from other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.streams import as_source
from tapetum.families.comparing.aligning import alignment
from tapetum.families.comparing.features import features, layer_names
from tapetum.families.comparing.groups import all_groups, match_units, places
from tapetum.families.comparing.looks import Answers, Maker, agreement, answers, class_targets, thumbnails
from tapetum.families.comparing.nulls import FEWEST, Seen, given_null, seen, twin_null
from tapetum.families.comparing.pictures import Deck, deck
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.registry import lookup
from tapetum.types import Batch, ChangedPrediction, Comparison, MethodError, ModelLike, Range, SeedNull

SHOWN = 6
"""Pictures whose maps are kept for the figure."""

SIDE_PX = 224
"""Side of the kept photographs."""


def compare(
    a: ModelLike,
    b: ModelLike,
    source: Any,
    *,
    null: Sequence[ModelLike] | Literal["twins"] | None = None,
    below: Annotated[float, Range(-1, 1)] | None = None,
    method: str = "grad_cam",
    layer: str | None = None,
    layers: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    n: Annotated[int, Range(4, 1_000_000)] | None = 300,
    level: Annotated[float, Range(1e-6, 0.5)] = 0.01,
    seed: int = 0,
    batch: Batch = "auto",
) -> Comparison:
    """Two networks on the same pictures: what changed in answers, maps and layers, and whether another seed explains it.

    agreement (n,) = Spearman's correlation of both networks' maps of the class that a predicts, over a grid of 14 x 14 cells
    on the photograph, where both see it; each network has its own preprocessing, classes are matched by name. Even two
    trainings of one recipe do not agree completely, so a number alone says nothing. With `null`, networks of a's recipe with
    other seeds, the bar is theirs: each network's mean agreement with the others has mean m and standard deviation s, and that
    of b lies below the bar m - t s sqrt(1 + 1 / k) with the probability `level` if b is one more of the k networks (Student's
    t). null="twins" makes such networks on half of the pictures where you have none: last layers where b has a's features,
    else whole small networks; refused where they do not learn the task. Also: changed predictions, better or worse where
    classes are known; the CKA of all pairs of blocks (`tp.cka`); units of the deepest layers matched by correlation over
    pictures; groups of pictures that one network keeps together and the other does not.

    Args:
        source: a folder of pictures, or anything `tp.as_source` takes; class folders give the true classes.
        null: networks of other seeds, at least three; "twins": made here; None: no bar.
        below: least mean agreement, in place of the null's bar.
        method: attribution method of the maps.
        layer: layer of the maps, for both networks; None: each network's own.
        layers: layers of the CKA, as for `tp.cka`.
        n: pictures, drawn at random; None: all.
        level: share of false alarms that the bar allows.
        seed: random seed of the drawn pictures and of the twins.

    Example:
        >>> print(tp.compare(model, "simple_cnn", folder, n=8).verdict)
    """
    if lookup(method).kind != "attribution":
        raise MethodError(f"{method} makes no maps of a prediction; compare takes methods such as grad_cam")
    nets = null if isinstance(null, Sequence) and not isinstance(null, str) else ()
    if null is not None and null != "twins" and len(nets) < FEWEST:
        raise MethodError(
            f"null is at least {FEWEST} networks of other seeds, or 'twins', not {null if not nets else len(nets)}"
        )
    with noting() as said, ExitStack() as stack:
        first, second = (stack.enter_context(border(one, None, "model"))[0] for one in (a, b))
        with stage("pictures"):
            pictures = deck(as_source(source), (first, second), n, seed)
        work = _Work(first, second, pictures, Maker(method, layer, batch), batch)
        found = work.compared(layers, nets, null == "twins", level, seed)
    bar = below if below is not None else found.null.bar if found.null is not None else None
    return replace(found, bar=bar, notes=tuple(said))


@dataclass(frozen=True, eq=False)
class _Work:
    a: VisionModel
    b: VisionModel
    pictures: Deck
    maker: Maker
    batch: Batch

    def compared(self, layers: Any, nets: Sequence[ModelLike], twins: bool, level: float, seed: int) -> Comparison:
        a, b, pictures = self.a, self.b, self.pictures
        said = self._answers()
        named = said[0].names
        maps, at = self._maps(said)
        with stage("layers"):
            both = [
                features(model, pictures, layer_names(model, layers, which), 1, self.batch)
                for model, which in ((a, "a"), (b, "b"))
            ]
        deepest = [list(some.items())[-1] for some in both]
        agreed = agreement(*maps)
        own = Maker(self.maker.method, at[0], self.batch)
        others = self._others(nets, named, own, deepest[0][0])
        null = self._null(maps, others, level) if others else None
        if twins:
            null = twin_null(a, b, pictures, named, own, level, seed, self.batch)
        rows, truths = _chosen(agreed, said), _truths(pictures, said)
        return Comparison(
            a=a.name,
            b=b.name if b.name != a.name else f"{b.name} (b)",
            pictures=pictures.ids,
            truths=truths,
            answers=tuple(zip(named, said[1].names, strict=True)),
            probabilities=torch.stack([one.probabilities for one in said], 1),
            agreement=agreed,
            changed=_changed(pictures, truths, said),
            cka=alignment(a, b, pictures, (both[0], both[1]), 1),
            units=match_units(deepest[0], deepest[1], seed),
            groups=all_groups(places(deepest[0][1]), places(deepest[1][1]), pictures.ids, [one.places for one in others]),
            null=null,
            method=self.maker.method,
            layers=at,
            maps=torch.stack([one[rows] for one in maps], 1).float(),
            photographs=thumbnails(pictures, rows, SIDE_PX),
            shown=tuple(rows),
            data=pictures.source.name,
            skipped=pictures.skipped,
        )

    def _answers(self) -> tuple[Answers, Answers]:
        with stage("answers"):
            first, second = (answers(model, self.pictures, self.batch) for model in (self.a, self.b))
        if (first.kind == "numbers") != (second.kind == "numbers"):
            raise MethodError(
                f"{self.a.name} gives {first.kind} and {self.b.name} {second.kind}: compare their layers by tp.cka"
            )
        if first.kind == "numbers":
            note("the networks give numbers: no prediction changes, and maps are those of the number")
        return first, second

    def _maps(self, said: tuple[Answers, Answers]) -> tuple[tuple[Tensor, Tensor], tuple[str | None, str | None]]:
        with stage("maps"):
            made = [
                self.maker.maps(model, self.pictures, class_targets(said[0].names, own, model))
                for model, own in zip((self.a, self.b), said, strict=True)
            ]
        return (made[0][0], made[1][0]), (made[0][1], made[1][1])

    def _others(self, nets: Sequence[ModelLike], named: Sequence[str], maker: Maker, layer: str) -> list[Seen]:
        with stage("other seeds"):
            many = track(nets, len(nets), "networks") if nets else ()
            return [seen(one, self.pictures, named, maker, layer, self.batch) for one in many]

    def _null(self, maps: tuple[Tensor, Tensor], others: Sequence[Seen], level: float) -> SeedNull:
        return given_null(
            [maps[0], *(one.maps for one in others)], [self.a.name, *(one.name for one in others)], maps[1], level
        )


def _chosen(agreed: Tensor, said: tuple[Answers, Answers]) -> list[int]:
    """Returns the rows whose maps are kept: half of them changed pictures, the others those with the lowest agreement."""
    order = [int(row) for row in agreed.nan_to_num(nan=9).argsort(stable=True)[: int(agreed.isfinite().sum())]]
    changed = [row for row in order if said[0].names[row].casefold() != said[1].names[row].casefold()][: SHOWN // 2]
    return [*changed, *(row for row in order if row not in changed)][:SHOWN]


def _truths(pictures: Deck, said: tuple[Answers, Answers]) -> tuple[str | None, ...]:
    """Returns the class of each picture; None for all if the networks have no class of these names."""
    known = {*said[0].known, *said[1].known}
    named = {label for label in pictures.labels if label is not None}
    if named and not any(label.casefold() in known for label in named):
        note(f"the pictures' folders ({', '.join(sorted(named)[:3])}...) are no classes of the networks: truths are unknown")
        return (None,) * len(pictures)
    return pictures.labels


def _changed(pictures: Deck, truths: Sequence[str | None], said: tuple[Answers, Answers]) -> tuple[ChangedPrediction, ...]:
    """Lists the pictures with another prediction, the surest change first."""
    found: list[ChangedPrediction] = []
    for i, (name, truth) in enumerate(zip(pictures.ids, truths, strict=True)):
        before, after = said[0].names[i], said[1].names[i]
        if before.casefold() == after.casefold():
            continue
        right = None if truth is None else (before.casefold() == truth.casefold(), after.casefold() == truth.casefold())
        outcome = "unknown" if right is None else "worse" if right[0] else "better" if right[1] else "neither"
        sure = float(said[0].probabilities[i]), float(said[1].probabilities[i])
        found.append(ChangedPrediction(name, before, after, *sure, truth, outcome))
    return tuple(sorted(found, key=lambda one: -one.before_probability * one.after_probability))
