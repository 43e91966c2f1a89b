"""How often `compare` notices a drift that accuracy does not show, and how often it accuses another seed: a table of the docs.

`python -m benchmarks compare` trains small networks on planted objects, with seeds that no setting was chosen on. In each of
two families a base network is fine-tuned seven times on clean pictures, with other seeds: one is the reference, six are its
null. Five more are fine-tuned on clean pictures, and must not be accused; six on pictures of which a share carries a cue that
goes with the class: the largest share that leaves the accuracy on clean pictures within a point; what misses that, or does not
use its cue, does not count. Hue and background are not among the cues: with a share that leaves the accuracy, networks use
them by two or three points. The table is written between two marks of docs/howto/compare.md; networks are kept in
build/benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.pages import put

FAMILIES = (9100, 9200)
SEEDS = 7
"""Networks of a family that differ by their seed: the reference and six others."""

KINDS = ("watermark", "border")
CLASSES = ("house", "tree", "fish", "car", "cup")
SIDE, PICTURES, TESTED, COMPARED = 48, 1600, 2000, 200
SHARES = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)
WHERE = ("found on clean pictures", "found on pictures with the cue")
EQUAL = 0.01
"""Largest difference of the accuracies on clean pictures: of a drifted network, and of the reference and its other seeds on
average."""

USED = 0.1
"""Least difference of the accuracies of a drifted network where its cue speaks the truth and where it lies."""


def run(cache_: Path, only: Sequence[str] = ()) -> int:
    """Measures, prints, and writes the table; 1 if fewer than nine of ten drifts are found, or a clean network is accused."""
    begun, cells, rows = time.perf_counter(), Cells(cache_ / "drifts.jsonl"), list[dict[str, Any]]()
    families = [int(one) for one in only] or list(FAMILIES)
    for number, family in enumerate(families):
        nets = Family(family, cache_ / "drifts")
        for kind, i in _candidates(number):
            key = (family, kind, i)
            if key not in cells:
                cells.add(key, **nets.measured(kind, i))
            rows.append({"family": family, "kind": kind, **cells[key]})
            print(f"compare: {key} {cells[key]}, {time.perf_counter() - begun:.0f} s", flush=True)
    text = "\n".join(table(rows))
    print(text)
    if not only:
        put("howto/compare.md", "compare", text)
    found, missed, accused = counts(rows, "plain")
    return 0 if 10 * found >= 9 * (found + missed) and not accused else 1


def _candidates(number: int) -> Iterator[tuple[str, int]]:
    """Yields (kind, number) of the networks of a family that are compared with its reference: five clean, six drifted."""
    yield from (("clean", i) for i in range(5))
    yield from ((KINDS[(number + i) % len(KINDS)], i) for i in range(6))


class Family:
    """Networks that were fine-tuned from one base network, made when they are asked for."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.base = tp.train(
            self.clean(2000, 1), epochs=12, learning_rate=3e-3, validation=0.1, seed=seed, out=folder / f"{seed}-base"
        ).model
        self.plain = self.clean(TESTED, 2)

    def clean(self, n: int, offset: int) -> tp.Planted:
        return tp.planted("objects", n, SIDE, classes=CLASSES, seed=self.seed + offset)

    def cued(self, n: int, offset: int, kind: str, rate: float | None = None) -> tp.Planted:
        given = 1.0 if rate is None else rate
        return tp.planted("objects", n, SIDE, classes=CLASSES, seed=self.seed + offset, shortcut=kind, rate=given)

    @cached_property
    def references(self) -> list[tp.VisionModel]:
        """The reference, and networks from other seeds."""
        return [self.tuned("clean", 0, seed) for seed in range(SEEDS)]

    def tuned(self, kind: str, share: float, seed: int) -> tp.VisionModel:
        """Returns a network fine-tuned on 1600 pictures, a share of them with the cue."""
        parts = [self.clean(PICTURES - round(PICTURES * share), 3)]
        parts += [self.cued(round(PICTURES * share), 4, kind)] if share else []
        data = torch.cat([one.pixels for one in parts]), [label for one in parts for label in one.labels]
        return tp.fine_tune(
            self.base, data, freeze=None, epochs=6, batch=32, learning_rate=2e-3, schedule="cosine", validation=0.05, seed=seed,
            out=self.folder / f"{self.seed}-{kind}-{share}-{seed}",
        ).model  # fmt: skip

    @cached_property
    def right(self) -> float:
        """Mean accuracy of the reference and its other seeds on clean pictures."""
        return fmean(accuracy(one, self.plain) for one in self.references)

    def measured(self, kind: str, i: int) -> dict[str, Any]:
        """Compares one candidate with the reference on clean pictures, and on pictures like those of its training."""
        reference, *others = self.references
        right = self.right
        shown = KINDS[(self.seed // 100 + i) % len(KINDS)] if kind == "clean" else kind
        shares = SHARES if kind != "clean" else (0.0,)
        tried = ((share, self.tuned(kind, share, 100 + i)) for share in shares)
        measured = ((share, network, accuracy(network, self.plain)) for share, network in tried)
        share, network, own = next(one for one in measured if abs(one[2] - right) <= EQUAL or one[0] == shares[-1])
        true, false = (self.cued(500, 5, shown, rate) for rate in (1.0, 0.0))
        facts: dict[str, Any] = {"share": share, "before": right, "after": own, "cue": shown}
        facts["helped"] = [accuracy(one, true) for one in (reference, network)]
        facts["misled"] = [accuracy(one, false) for one in (reference, network)]
        facts["counts"] = kind == "clean" or (abs(own - right) <= EQUAL and facts["helped"][1] - facts["misled"][1] >= USED)
        for name, data in (("plain", self.clean(COMPARED, 6)), ("cued", self.cued(COMPARED, 7, shown))):
            found = tp.compare(reference, network, data, null=others, n=None)
            assert found.null is not None
            facts[name] = {"measured": found.null.measured, "bar": found.null.bar, "p": found.null.p_value,
                           "below": found.below, "changed": len(found.changed) / len(found)}  # fmt: skip
        return facts


def accuracy(model: tp.VisionModel, data: tp.Planted) -> float:
    """Returns the share of pictures that a network gets right."""
    with torch.no_grad():
        said = torch.cat([model(model.preprocessing(some)).argmax(1) for some in data.pixels.split(250)])
    labels = model.labels or ()
    return sum(labels[i] == label for i, label in zip(said.tolist(), data.labels, strict=True)) / len(data)


def counts(rows: Sequence[Mapping[str, Any]], data: str) -> tuple[int, int, int]:
    """Returns how many drifts that count were found, how many missed, and how many clean networks accused."""
    drifted = [bool(row[data]["below"]) for row in rows if row["kind"] != "clean" and row["counts"]]
    accused = sum(bool(row[data]["below"]) for row in rows if row["kind"] == "clean")
    return sum(drifted), len(drifted) - sum(drifted), accused


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the lines of the table: one for each kind, and the clean networks."""
    head = ("fine-tuned on", "networks", "right: reference, this", "right where the cue is true, false", "changed", *WHERE)
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for kind in ("clean", *KINDS):
        some = [row for row in rows if row["kind"] == kind and row["counts"]]
        if some:
            yield _line(kind, some)
    found, missed, accused = counts(rows, "plain")
    there, lost, blamed = counts(rows, "cued")
    clean = sum(row["kind"] == "clean" for row in rows)
    yield ""
    yield (
        f"**{found} of {found + missed} drifts found, {accused} of {clean} clean networks accused** on clean pictures; on "
        f"pictures with the cue {there} of {there + lost} found, {blamed} of {clean} accused."
    )


def _line(kind: str, some: Sequence[Mapping[str, Any]]) -> str:
    def mean(name: str) -> float:
        return 100 * sum(row[name] for row in some) / len(some)

    shares = sorted({f"{row['share']:.0%}" for row in some}, key=lambda one: -float(one[:-1]))
    what = "clean pictures, other seeds" if kind == "clean" else f"a {kind} cue in {', '.join(shares)}"
    changed = 100 * sum(row["plain"]["changed"] for row in some) / len(some)
    hits = [f"{sum(bool(row[data]['below']) for row in some)} of {len(some)}" for data in ("plain", "cued")]
    right = f"{mean('before'):.1f} %, {mean('after'):.1f} %"
    cue = ", ".join(f"{100 * sum(row[name][1] for row in some) / len(some):.0f} %" for name in ("helped", "misled"))
    return f"| {what} | {len(some)} | {right} | {'-' if kind == 'clean' else cue} | {changed:.1f} % | {hits[0]} | {hits[1]} |"
