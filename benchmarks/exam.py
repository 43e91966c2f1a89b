"""The exam's two tables, as docs/exam.md: `python -m benchmarks exam` writes them, and prints what changed.

A table that is edited by hand is found by the tests, which compare rows with a fresh exam.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

import tapetum as tp
from tapetum.families.exams.passed import PASSED

PAGE = Path(__file__).parents[1] / "docs" / "exam.md"

HEAD = """# The exam of methods and metrics

Made by `python -m benchmarks exam` (part of `make bench`); do not edit.

Six small networks have weights that were set by hand, so that what decides is known for every picture: a place's true value is
its Shapley value, which a test computes again by hiding the places in every combination. Each network has {n} pictures of
4 x 4 places; some show a pattern that counts, others one that is as strong and does not.

```python
import tapetum as tp

for one in tp.exam_networks(n=2):
    print(one.name, "-", one.question)
```

{questions}
"""

METHODS = """## Do methods find the truth?

In how many of {n} pictures every place that counts stands above all others, and the share of the map that lies on the truth
with the right sign. **Bold**: passed, with nine pictures of ten and more of the map on the truth than any of 99 random maps.
A signed map must have the signs right, too; of class activation maps the positive part is looked at, of magnitudes no sign.
A dash: the method refuses this network. Methods run with their defaults; where they take segments, these are squares. Networks
this small ask one thing at a time: a method that fails here says something false about such a decision, and one that passes may
fail on a larger network.

`tp.exam_methods(["grad_cam"])` runs it.

{table}

{refusals}
"""

METRICS = """## Do metrics know the true map?

In how many of {n} pictures the true map wins (no other map is better, and maps of wrong places or of the opposite sign are
worse), and the share of random maps that lose, both by a twentieth of the distance between the true map and the median random
one. **Bold**: nine of ten in both. A metric passes that does so on all six networks; the others may be computed, but no
verdict uses them. Beside a failure stands the kind of map that came closest, or was better.

A failure need not be a fault. Measures of form know no places, those of stability and of completeness no truth: a map of decoys
is as sparse, as stable and as complete as the true one. A metric that hides one place after the other cannot see that one of
two is enough. Metrics that make the map again, on other weights or for another class, are not given maps but methods:
`deep_lift`, which finds the truth on all six, against random maps and edges, which know nothing of a network. `random_logit`
fails, since it looks at magnitudes, and here what speaks for one class speaks as much against the other; `focus`, since its
mosaics halve the pictures, and at half the size the patterns are gone. The two sensitivities are given a method that always
returns the same map.

`tp.exam_metrics(["deletion"])` runs it.

{table}

{refusals}
"""


def run(only: Sequence[str] = ()) -> int:
    """Writes docs/exam.md; 1 if a metric that verdicts may use has failed. With names, prints these rows alone."""
    begun = time.perf_counter()
    of_metrics, of_methods = _named("metric", only), _named("attribution", only)
    metrics = tp.exam_metrics(of_metrics) if of_metrics else None
    methods = tp.exam_methods(of_methods) if of_methods else None
    print("\n\n".join("\n".join(rows) for rows in (metric_rows(metrics), method_rows(methods))), flush=True)
    if metrics and methods and not only:
        PAGE.write_text(page(methods, metrics), encoding="utf-8")
        print(f"{PAGE} is written, after {time.perf_counter() - begun:.0f} s")
    marks = zip(metrics.metrics, metrics.passed, strict=True) if metrics else ()
    failed = PASSED.intersection(name for name, passed in marks if not passed)
    if failed:
        print(f"failed, and yet in PASSED: {', '.join(sorted(failed))}")
    return 1 if failed else 0


def _named(kind: str, only: Sequence[str]) -> list[str]:
    return [one.name for one in tp.methods(kind=kind) if not only or any(word in one.name for word in only)]


def page(methods: tp.MethodExam, metrics: tp.MetricExam) -> str:
    """Returns the whole page."""
    n, networks = methods.n_pictures, tp.exam_networks(n=1)
    questions = "\n".join(f"* **{one.name}**: {one.question}" for one in networks)
    return (
        "\n".join(
            [
                HEAD.format(n=n, questions=questions),
                METHODS.format(n=n, table="\n".join(method_rows(methods)), refusals=_said(methods.methods, methods.refusals)),
                METRICS.format(n=n, table="\n".join(metric_rows(metrics)), refusals=_said(metrics.metrics, metrics.refusals)),
            ]
        ).rstrip()
        + "\n"
    )


def method_rows(exam: tp.MethodExam | None) -> list[str]:
    """Returns the lines of the methods' table; none without an exam."""
    if exam is None:
        return []
    rows = zip(exam.methods, exam.found, exam.mass, exam.passed, strict=True)
    n = exam.n_pictures
    lines = [[name, *_cells(found, mass, passed, n), f"{int(passed.sum())}"] for name, found, mass, passed in rows]
    return list(_table(["method", *exam.networks, "passed"], lines))


def metric_rows(exam: tp.MetricExam | None) -> list[str]:
    """Returns the lines of the metrics' table; none without an exam."""
    if exam is None:
        return []
    lines: list[list[str]] = []
    for row, name in enumerate(exam.metrics):
        cells = _cells(exam.wins[row], exam.loses[row], exam.each[row], exam.n_pictures)
        failed = [not bool(one) for one in exam.each[row]]
        rivals = [f" {why}" if bad and why else "" for why, bad in zip(exam.rivals[row], failed, strict=True)]
        passed = "**yes**" if bool(exam.passed[row]) else "no"
        lines.append([name, *(f"{cell}{rival}" for cell, rival in zip(cells, rivals, strict=True)), passed])
    return list(_table(["metric", *exam.networks, "passed"], lines))


def _cells(first: Tensor, second: Tensor, passed: Tensor, n: int) -> list[str]:
    words = [_cell(float(a), float(b), n) for a, b in zip(first, second, strict=True)]
    return [f"**{word}**" if bool(good) else word for word, good in zip(words, passed, strict=True)]


def _cell(share: float, second: float, n: int) -> str:
    return "-" if share != share else f"{round(share * n)} · {second:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _said(names: Sequence[str], refusals: Sequence[str]) -> str:
    """Returns a list of what refused a network, and why."""
    lines = [f"* {name}: {why}" for name, why in zip(names, refusals, strict=True) if why]
    return "\n".join(["Refused:", "", *lines]) if lines else ""
