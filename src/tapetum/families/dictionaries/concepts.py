"""Concepts: what a layer's units mean together, found over a data set, beside what chance would have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import Limit, OtherRunner, PassBatch, Resume, Seed, Workers
from tapetum.data.streams import Source
from tapetum.data.streams.base import read_images
from tapetum.data.streams.chosen import Chosen
from tapetum.engines.scan import Scanning
from tapetum.engines.scan.coded import Coded
from tapetum.engines.scan.plan import BATCH
from tapetum.engines.scan.trackers import Positions, TopK, Tracker
from tapetum.engines.scores import as_score
from tapetum.engines.scores.inside import one_layer
from tapetum.families.dictionaries.fitting import METHODS, check
from tapetum.families.dictionaries.importance import importance as importance_of
from tapetum.families.dictionaries.judging import Judged, Rows, judged
from tapetum.families.dictionaries.maps import codes_of
from tapetum.families.inspections import predict
from tapetum.families.spectra import as_seen
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report, stage
from tapetum.types import LayerError, MethodError, Range, TapetumError, TopKResult
from tapetum.types.dictionaries import Concepts, DictionaryMethod, ImportanceMeasure
from tapetum.types.targets import Concept

FEWEST = 10
"""Least number of pictures: a fifth of them are kept to measure on."""

USUAL = 10
"""Concepts unless another number is asked for."""

SHOWN_PX = 112
"""Largest side of the kept pictures."""

JUDGES = 32
"""Pictures on which importance is measured, at most."""

Importance = Annotated[
    Literal["gradient", "ablation", "sobol", "none"],
    "measure of how much a concept matters for the class: gradient (x activation), ablation (the most direct), sobol, or none.",
]


@survey(cite="fel2023holistic", question="looks_for")
def concepts(
    model: VisionModel,
    source: Source,
    layer: str,
    *,
    method: DictionaryMethod = "nmf",
    n: Annotated[int, Range(1, 16_384)] | None = None,
    of: int | str | None = None,
    importance: Importance = "gradient",
    rows: Annotated[int, Range(100, 1_000_000)] = 8000,
    k: Annotated[int, Range(1, 100)] = 6,
    seed: Seed = 0,
    workers: Workers = None,
    run: OtherRunner = None,
    out: str | Path | None = None,
    resume: Resume = True,
    batch: PassBatch = BATCH,
    limit: Limit = None,
) -> Concepts:
    """Directions of a layer that its activations are made of, each with pictures, beside what chance would have found.

    Activations at random places of every picture, x (c,), are rebuilt as b + z D; the n rows of D are the concepts, and z is
    the code of the place. "nmf": z >= 0 and D >= 0, for layers without negative values; "pca": orthogonal directions of the
    largest variance; "ica": codes as independent as can be (FastICA); "kmeans": the nearest of n centres; "sae": a sparse
    autoencoder with max(2, n / 8) active concepts at a place (TopK); "matryoshka": the same, but the first n / 8, n / 4 and
    n / 2 concepts also rebuild the layer by themselves; "units": the n channels that vary most, to compare with. The sign of a
    direction of "pca" and "ica" is arbitrary: the positive side is the one with the longer tail.

    A fifth of the pictures is kept apart. On them are measured R2, the mean share of concepts at work at a place (`l0`) and the
    share that is never at work (`dead`). Five refits, each from another seed on a resample of the pictures, tell whether the
    concepts are found again (`agreement`: mean |cosine| of each with its one partner). `null` has the same numbers of five
    frozen random dictionaries (for autoencoders with trained encoders), and `shuffled` has the R2 that the method reaches where
    every channel is shuffled by itself. The `verdict` is "no better than random directions" unless the 95 % interval of R2 lies
    above those of both, and that of agreement above the random one. A concept is a target: `tp.visualize(model, found[0])`,
    `tp.grad_cam(model, images, found[0], layer=...)`. Refused: fewer than ten pictures, a layer without channels, and for
    "nmf" one with negative values.

    Args:
        method: the way to find directions.
        n: concepts; None: ten, or as many as there are channels.
        of: a class, by label or index: only its pictures, by the source's labels, or without any by the model's answers.
        rows: places at which activations are taken, in all pictures together.
        k: examples of each concept.
        out: a folder where the passes over the data are kept, so that a killed run continues there.

    Example:
        >>> found = tp.concepts(model, folder, "blocks.3", method="pca", n=3, k=2)
        >>> print(found.verdict)
    """
    name = one_layer(model, layer)
    channels = model.survey[name].units
    if channels is None:
        raise LayerError(f"{name} of {model.name} has no channels, so there are no directions to find")
    chosen = _Chosen(model, source if limit is None else Chosen(source, tuple(range(min(limit, len(source.ids))))), of)
    how = _How(workers, run, out, resume, batch)
    wanted = n if n is not None else min(USUAL, METHODS[method].most(channels))
    found = _rows(how, chosen, name, rows, seed)
    check(method, wanted, found.values)
    made = judged(method, found, wanted, seed)
    _remark(method, made, channels)
    by = "mean" if method == "kmeans" else "max"  # every place of a cluster has the same code: pictures with most such places
    top: TopKResult = how.scan(chosen, name, Coded(TopK(k, by), made.dictionary), "examples")
    pictures, maps = _pictures(chosen, name, made, top, k)
    shares, spread, target = (None, None, "") if importance == "none" else _important(chosen, name, made, importance, seed)
    return Concepts(
        layer=name,
        method=method,
        concepts=tuple(Concept(name, v, f"{method} {i} in {name}") for i, v in enumerate(made.dictionary.directions)),
        dictionary=made.dictionary,
        numbers=made.numbers,
        null=made.null,
        shuffled=made.shuffled,
        agreement=made.agreement,
        examples=tuple(tuple(_alive(top, i)) for i in range(wanted)),
        pictures=pictures,
        maps=maps,
        importance=shares,
        spread=spread,
        measure=None if shares is None or importance == "none" else importance,
        model=model.name,
        data=source.name,
        n=len(found.samples.unique()),
        of=chosen.words,
        target=target,
    )


# --- which pictures


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The pictures that are looked at: all, or those of a class."""

    model: VisionModel
    given: Source
    of: int | str | None

    @cached_property
    def words(self) -> str:
        labels = self.model.labels
        if isinstance(self.of, int):
            return labels[self.of] if labels is not None and 0 <= self.of < len(labels) else f"class {self.of}"
        return "" if self.of is None else self.of

    @cached_property
    def source(self) -> Source:
        if self.of is None:
            return self.given
        labels = [None if label is None else label.casefold() for label in self.given.labels]
        if isinstance(self.of, int) and self.model.labels is None and any(label is not None for label in labels):
            raise MethodError(f"{self.model.name} has no names of classes, and {self.given.name} has: give of= a name")
        if any(label is not None for label in labels):
            kept = [i for i, label in enumerate(labels) if label == self.words.casefold()]
        else:
            kept = self._answered()
        if len(kept) < FEWEST:
            raise MethodError(f"{self.given.name} has {len(kept)} pictures of '{self.words}', too few: {FEWEST} are needed")
        return Chosen(self.given, tuple(kept))

    def _answered(self) -> list[int]:
        """Returns the pictures that the model itself calls by the class."""
        note(f"{self.given.name} has no labels: pictures are those that {self.model.name} calls '{self.words}'")
        kept: list[int] = []
        with stage("answers"):
            for start in range(0, len(self.given.ids), BATCH):
                samples = range(start, min(start + BATCH, len(self.given.ids)))
                images, readable, _ = read_images(self.given, samples, self.model.preprocessing)
                said = predict(self.model, images.to(self.model.device, self.model.dtype), 1) if readable else []
                words = self.words.casefold()
                kept += [s for s, (first, *_) in zip(readable, said, strict=True) if words in _names(first)]
                report(samples.stop, len(self.given.ids), "pictures")
        return kept

    @property
    def target(self) -> int | str | None:
        """The class as a target, if the model has one of that name; else None, each picture's predicted class."""
        labels = [label.casefold() for label in self.model.labels or ()]
        if isinstance(self.of, int) or (self.of is not None and self.of.casefold() in labels):
            return self.of if isinstance(self.of, int) else labels.index(self.words.casefold())
        return None


def _names(answer: Any) -> tuple[str, ...]:
    return f"class {answer.index}", *(() if answer.label is None else (answer.label.casefold(),))


# --- passes over the pictures


@dataclass(frozen=True, eq=False)
class _How:
    workers: int | None
    run: Any
    out: str | Path | None
    resume: bool
    batch: int

    def scan(self, chosen: _Chosen, layer: str, tracker: Tracker, part: str) -> Any:
        kept = None if self.out is None else Path(self.out) / part
        how = Scanning(None if self.run else self.workers, self.run, kept, self.resume, None, self.batch)
        with stage(part):
            found = how.scan(how.job(chosen.model, chosen.source, {layer: (tracker,)}))
        if found.skipped:
            note(f"{len(found.skipped)} pictures were left out: {next(iter(found.skipped.values()))}")
        return found[layer][0]


def _rows(how: _How, chosen: _Chosen, layer: str, most: int, seed: int) -> Rows:
    count = len(chosen.source.ids)
    if count < FEWEST:
        raise MethodError(f"{chosen.source.name} has {count} pictures, too few: concepts take at least {FEWEST}")
    found = how.scan(chosen, layer, Positions(count=max(1, most // count), seed=seed, border=0), "places")
    return Rows(found.vectors, found.samples)


def _alive(top: TopKResult, concept: int) -> list[Any]:
    """Returns the examples of a concept on which its code is above zero."""
    return [one for one in top.examples(concept) if one.score > 0]


def _pictures(chosen: _Chosen, layer: str, made: Judged, top: TopKResult, k: int) -> tuple[Tensor, Tensor]:
    """Returns the examples' pictures (n, k, 3, h, w) uint8 and the maps (n, k, rows, columns) of the concept in each."""
    model, size, n = chosen.model, chosen.model.preprocessing.size, len(made.dictionary)
    small = tuple(max(1, round(side * min(1.0, SHOWN_PX / max(size)))) for side in size)
    rows, columns = top.grid or (1, 1)
    pictures = torch.zeros(n, k, 3, *small, dtype=torch.uint8)
    maps = torch.zeros(n, k, rows, columns)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for i in range(n):
        for place, one in enumerate(_alive(top, i)):
            wanted.setdefault(one.sample, []).append((i, place))
    samples = sorted(wanted)
    with stage("pictures"):
        for some in (samples[start : start + BATCH] for start in range(0, len(samples), BATCH)):
            codes = codes_of(model, _images(chosen, some), layer, made.dictionary)
            for row, sample in enumerate(some):
                seen = as_seen(model, chosen.source, sample)[None].float()
                shown = F.interpolate(seen, small, mode="area")[0].round().to(torch.uint8)
                for i, place in wanted[sample]:
                    pictures[i, place] = shown
                    maps[i, place] = codes[row, i].float().cpu()
            report(samples.index(some[-1]) + 1, len(samples), "pictures")
    return pictures, maps


def _images(chosen: _Chosen, samples: Sequence[int]) -> Tensor:
    images = read_images(chosen.source, samples, chosen.model.preprocessing)[0]
    return images.to(chosen.model.device, chosen.model.dtype)


# --- importance, remarks


def _important(
    chosen: _Chosen, layer: str, made: Judged, measure: ImportanceMeasure, seed: int
) -> tuple[Tensor | None, Tensor | None, str]:
    order = torch.randperm(len(chosen.source.ids), generator=torch.Generator().manual_seed(seed))[:JUDGES].sort().values
    images = _images(chosen, order.tolist())
    try:
        target = chosen.target
        score = as_score(chosen.model, images, target)
        with stage("importance"):
            values, spread = importance_of(score, images, layer, made.dictionary, measure, seed)
    except TapetumError as error:
        note(f"importance is not measured: {error}")
        return None, None, ""
    return values, spread, score.describe(len(images))[0] if target is not None else "predicted class"


def _remark(method: DictionaryMethod, made: Judged, channels: int) -> None:
    n, l0 = len(made.dictionary), made.numbers.l0[0] * len(made.dictionary)
    if l0 > channels:
        note(f"{l0:.0f} concepts are at work at a place on average, more than the {channels} channels: this code is not sparse")
    if method in ("pca", "ica"):
        note("the sign of these directions is arbitrary; examples are of the side with the longer tail")
    if n == channels and method in ("pca", "ica"):
        note(f"{n} directions rebuild {n} channels completely, as any would: take fewer to learn something from R2")
