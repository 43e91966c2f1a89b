"""Many cases in one test: a parametrised case of its own costs more than most laws do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def holds(law: Callable[..., None], cases: Iterable[Any]) -> None:
    """Runs the law on every case and raises the failures of all of them together, each with its case."""
    cases, broken = list(cases), list[tuple[str, Exception]]()
    assert cases
    for case in cases:
        named = " on ".join(map(str, case)) if isinstance(case, tuple) else str(getattr(case, "name", case))
        try:
            law(*case) if isinstance(case, tuple) else law(case)
        except (Exception, pytest.fail.Exception) as error:
            failure = error if isinstance(error, Exception) else AssertionError(str(error)).with_traceback(error.__traceback__)
            failure.add_note(named)
            broken.append((named, failure))
    if broken:
        names = ", ".join(named for named, _ in broken)
        raise ExceptionGroup(f"{len(broken)} of {len(cases)} cases: {names}", [failure for _, failure in broken])
