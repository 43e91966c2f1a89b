"""The sweep: every network by every method, each cell right, refused, false or crashed."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from typing import Any

import torch
from row import Other
from truth import CHECKS, case_of

from tapetum.types import TapetumError


def cell(method: str, case: Any) -> tuple[str, str]:
    """("ok" | "refused" | "false" | "crash", why)."""
    given = case.images.clone()
    outcome = _outcome(method, case)
    if not torch.equal(case.images, given):
        case.images.copy_(given)
        return "false", "the images that were given are changed"
    return outcome


def _outcome(method: str, case: Any) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CHECKS[method](case)
    except TapetumError as refusal:
        one_line = "\n" not in str(refusal) and len(str(refusal)) > 20
        return ("refused" if one_line else "false"), f"{type(refusal).__name__}: {refusal}"
    except AssertionError as error:
        return "false", str(error).partition("\n")[0]
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('site-packages/')[2].rpartition('src/')[2]}:{last.lineno}"
        return "crash", f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]} ({where})"
    return "ok", ""


def sweep(
    others: dict[str, Other], methods: tuple[str, ...] = tuple(CHECKS), dtype: torch.dtype = torch.float64
) -> list[tuple[str, str, str, str]]:
    """[(network, method, outcome, why)]"""
    rows = []
    for name, other in others.items():
        try:
            with warnings.catch_warnings():  # torch would like TorchScript and old quantisation to go away
                warnings.simplefilter("ignore")
                case = case_of(other, dtype)
        except TapetumError as refusal:
            rows += [(name, method, "refused", str(refusal)) for method in methods]
            continue
        except Exception as error:
            rows += [(name, method, "crash", f"wrap: {type(error).__name__}: {error}"[:200]) for method in methods]
            continue
        rows += [(name, method, *cell(method, case)) for method in methods]
    return rows


def summary(rows: list[tuple[str, str, str, str]]) -> str:
    counts = Counter(outcome for _, _, outcome, _ in rows)
    return f"{len({row[0] for row in rows})} networks, {len(rows)} cells: " + ", ".join(f"{n} {k}" for k, n in counts.items())


if __name__ == "__main__":
    import sys

    from hugging import HUGGING
    from kinds import KINDS

    torch.set_num_threads(1)
    tables = {"hugging": HUGGING, "kinds": KINDS}
    which = tables[sys.argv[1]] if len(sys.argv) > 1 and sys.argv[1] in tables else {**HUGGING, **KINDS}
    only = sys.argv[2].split(",") if len(sys.argv) > 2 and sys.argv[2] else list(which)
    methods = tuple(sys.argv[3].split(",")) if len(sys.argv) > 3 else tuple(CHECKS)
    every = []
    for name in only:
        start = time.time()
        rows = sweep({name: which[name]}, methods)
        every += rows
        print(f"{name:24} {time.time() - start:5.1f} s  ", summary(rows), flush=True)
        for row in rows:
            if row[2] in ("false", "crash"):
                print("    ", *row[1:], flush=True)
    print(summary(every))
    for row in every:
        if row[2] == "refused":
            print("refused", *row[:2], row[3])
