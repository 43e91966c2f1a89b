"""`make bench`: speed, pointing, pictures, scans, the exam, verdicts, audits, repairs, drifts; others by name.

python -m benchmarks [speed] [metrics] [pointing] [renderings] [scan] [exam] [verdicts] [audit] [suppress] [compare] [sweep]
    [quality] [studio] [concepts] [fooled] [circuits]
    [--slow] [--strict] [--photos DIR] [--cache DIR] [--seconds S] [--only WORD ...]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.harness import Pair, Row, measure, table
from tapetum.runners.allocator import keep_large_blocks

TABLES = (
    "speed",
    "metrics",
    "pointing",
    "renderings",
    "scan",
    "exam",
    "verdicts",
    "audit",
    "suppress",
    "compare",
    "sweep",
    "quality",
    "studio",
    "concepts",
    "fooled",
    "circuits",
)
USUAL = ("speed", "metrics", "pointing", "renderings", "scan", "exam", "verdicts", "audit", "suppress", "compare")


def main(arguments: list[str]) -> int:
    """Runs what is named, or speed and pointing; 1 if something fell short under --strict or could not run."""
    given = _options().parse_args(arguments)
    if unknown := set(given.tables) - set(TABLES):
        print(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}", file=sys.stderr)
        return 2
    keep_large_blocks()  # for both sides: without it most of a forward pass may be page faults
    warnings.simplefilter("ignore")  # the peers' own
    codes = [0]
    for name in given.tables or USUAL:
        if name == "speed":
            from benchmarks import attributions

            codes.append(_speed(attributions.pairs(slow=given.slow), given.strict))
        elif name == "metrics":
            from benchmarks import metrics

            codes.append(_speed(metrics.pairs(), given.strict))
        elif name == "pointing":
            from benchmarks import pointing

            codes.append(pointing.run(given.photos, given.cache, given.seconds, given.only))
        elif name == "renderings":
            from benchmarks import renderings

            codes.append(renderings.run(given.photos, given.cache))
        elif name == "scan":
            from benchmarks import scans

            codes.append(scans.run(given.photos, given.only))
        elif name == "exam":
            from benchmarks import exam

            codes.append(exam.run(given.only))
        elif name == "verdicts":
            from benchmarks import verdicts

            codes.append(verdicts.run(given.photos, given.cache, given.only))
        elif name == "audit":
            from benchmarks import audit

            codes.append(audit.run(given.cache, given.only))
        elif name == "suppress":
            from benchmarks import suppressions

            codes.append(suppressions.run(given.cache, given.only))
        elif name == "compare":
            from benchmarks import drifts

            codes.append(drifts.run(given.cache, given.only))
        elif name == "studio":
            from benchmarks import studio

            codes.append(studio.run(strict=given.strict))
        elif name == "concepts":
            from benchmarks import concepts

            codes.append(concepts.run(given.photos, given.only))
        elif name == "circuits":
            from benchmarks import circuits

            codes.append(circuits.run(given.photos))
        elif name == "fooled":
            from benchmarks import fooled

            codes.append(fooled.run(given.photos))
        elif name == "quality":
            from benchmarks import quality

            codes.append(quality.run(given.photos, given.cache, given.only))
        else:
            from benchmarks import sweep

            codes.append(sweep.run(given.cache, given.only, given.methods))
    return max(codes)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("tables", nargs="*", metavar="|".join(TABLES), help=f"none: {', '.join(USUAL)}")
    parser.add_argument("--slow", action="store_true", help="speed: also the pairs whose peer takes minutes")
    parser.add_argument("--strict", action="store_true", help="speed, metrics: fail below a target")
    parser.add_argument(
        "--photos",
        type=Path,
        help="pointing, renderings, scan, verdicts, quality, fooled: a folder with photos.csv and photos/",
    )
    parser.add_argument("--cache", type=Path, default=Path("build/benchmarks"), help="where finished cells are kept")
    parser.add_argument("--seconds", type=float, default=8, help="pointing: for one method")
    parser.add_argument(
        "--only", nargs="*", default=[], help="rows (sweep: models, quality: presets) whose name contains one of these"
    )
    parser.add_argument("--methods", nargs="*", default=[], help="sweep: these alone")
    return parser


def _speed(pairs: Iterable[Pair], strict: bool) -> int:

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, cpu; medians of runs in turn", flush=True)
    rows: list[Row] = []
    for pair in pairs:
        rows.append(measure(pair))
        print(table(rows).splitlines()[-1], flush=True)
    print(f"\n{table(rows)}")
    return 1 if strict and not all(row.reached for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
