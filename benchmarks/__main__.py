"""`make bench`: the table of ratios. `--slow` adds the pairs whose peer takes minutes; `--strict` fails below a target."""

from __future__ import annotations

import sys
import warnings

import torch

from benchmarks.attributions import pairs
from benchmarks.harness import Row, measure, table
from tapetum.cli.allocator import keep_large_blocks


def main(arguments: list[str]) -> int:
    keep_large_blocks()  # for both sides: without it most of a forward pass may be page faults
    warnings.simplefilter("ignore")  # the peers' own
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, cpu; medians of runs in turn", flush=True)
    rows: list[Row] = []
    for pair in pairs(slow="--slow" in arguments):
        rows.append(measure(pair))
        print(table(rows).splitlines()[-1], flush=True)
    print(f"\n{table(rows)}")
    return 1 if "--strict" in arguments and not all(row.reached for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
