"""The plan of an explanation: which methods, of what, with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapetum.registry import lookup, methods
from tapetum.reports.budget import cheap_first
from tapetum.types import MethodError
from tapetum.types.text import split_names

AUTO = ("grad_cam", "layer_cam", "ablation_cam", "occlusion", "integrated_gradients", "smooth_grad", "guided_backprop")
"""The default methods: quick, and based on different ideas, so that agreement between their maps is informative."""

BASELINES = ("random_attribution", "edge_attribution")

FEWER = (4, 2)
"""Numbers of methods for a second and a third target if methods are chosen automatically: the most faithful for the first."""

FINALISTS = 3
"""Number of maps that are kept of the methods tried by "best"."""

BUDGET_S = 60.0


@dataclass(frozen=True)
class JobPlan:
    """The settings of `explain`, the same for every image; with `budget_s` only the best FINALISTS of `methods` are kept."""

    target: Any = None
    methods: Sequence[str] = AUTO
    budget_s: float | None = None
    runner_up: bool = True
    evidence: bool = True
    seed: int = 0
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def planned(wanted: Sequence[str] | str, budget_s: float = BUDGET_S, **settings: Any) -> JobPlan:
    """Makes the plan for "auto", "best", or names of attribution methods; `settings` are further fields of `JobPlan`."""
    if wanted != "best":
        names = AUTO if wanted == "auto" else tuple(split_names(wanted) if isinstance(wanted, str) else wanted)
        if not names:
            raise MethodError("methods names nothing; give names of attribution methods, auto, or best")
        for name in names:
            if lookup(name).kind != "attribution":
                known = ", ".join(method.name for method in methods(kind="attribution"))
                raise MethodError(f"{name} makes no map of what mattered; the methods are {known}")
        return JobPlan(methods=names, **settings)
    if not settings.get("evidence", True):
        raise MethodError('methods="best" chooses by evidence: leave evidence on, or name the methods')
    if not budget_s > 0:
        raise MethodError(f"budget_s is a number of seconds above 0, not {budget_s:g}")
    return JobPlan(methods=(*BASELINES, *cheap_first(AUTO)), budget_s=budget_s, **settings)
