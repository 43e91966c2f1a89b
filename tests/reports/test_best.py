"""methods="best": as many methods as the time allows, those that stand up best kept, and every number of it told."""

import math
from typing import Any

import pytest
import torch
from zoo import pictures

import tapetum as tp
from tapetum.progress import Progress, report
from tapetum.reports.budget import Budget, OutOfTimeError, cheap_first
from tapetum.reports.job import explain
from tapetum.reports.machine import as_json
from tapetum.reports.plan import AUTO, BASELINES, FINALISTS, planned
from tapetum.types import Cancelled, MethodError

SHORT = {"rise": {"n_masks": 32}, "smooth_grad": {"n_samples": 4}, "score_cam": {"batch": 8}}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    module = tp.load("simple_cnn", weights=None).module
    last = [part for part in module.modules() if isinstance(part, torch.nn.Linear)][-1]
    last.weight.data *= 40  # probabilities that hiding can lower
    return tp.wrap(module, size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


class Clock:
    """Time that passes by the second when it is looked at."""

    def __init__(self, step=1.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def steps(count):
    for done in range(count):
        report(done, count, "steps")


def test_a_method_that_takes_more_than_its_share_is_stopped_and_one_that_does_not_is_not() -> None:
    budget = Budget(100.0, Clock())  # each look at the clock is a second
    seen: list[Progress] = []
    with budget.share(seen.append):
        steps(10)
    assert len(seen) == 10
    with pytest.raises(OutOfTimeError, match="not done in its share"), budget.share(seen.append):
        steps(1000)
    assert 40 < len(seen) - 10 < 50  # half of what was left


def test_the_last_step_is_never_too_late() -> None:
    budget = Budget(10.0, Clock(step=4.0))
    with budget.share(lambda event: None):
        report(1, 1, "steps")


def test_nothing_starts_after_the_end_and_whoever_watches_can_still_stop_everything() -> None:
    with pytest.raises(OutOfTimeError, match="over before its turn"), Budget(0.5, Clock()).share(lambda event: None):
        pass
    with pytest.raises(Cancelled), Budget(1000.0, Clock()).share(lambda event: False):
        report(0, 3, "steps")


def test_every_attribution_is_a_candidate_the_usual_ones_first_and_those_of_many_passes_last() -> None:
    names = cheap_first(AUTO)
    assert names[: len(AUTO)] == AUTO
    assert set(names) == {m.name for m in tp.methods(kind="attribution")} - set(BASELINES)
    laws = [{"forward_only", "sampled"} & tp.lookup(name).laws for name in names[len(AUTO) :]]
    assert [len(one) for one in laws] == sorted(len(one) for one in laws)


def test_best_keeps_the_maps_that_stand_up_best_and_tells_all_numbers(model: Any) -> None:
    photo = tp.read_image((pictures(1, 40)[0].permute(1, 2, 0).clamp(-2, 2).add(2).mul(63)).byte().numpy())
    found = explain(model, photo, methods="best", budget_s=25.0, parameters=SHORT)
    first, *others = found.questions
    kept = [judged for judged in first.maps if not judged.baseline]
    finished = {name: value for name, value in first.tried.items() if math.isfinite(value)}
    assert set(AUTO) <= set(finished) | set(first.refused)
    assert [judged.title for judged in kept] == sorted(finished, key=finished.__getitem__, reverse=True)[:FINALISTS]
    assert {judged.title for judged in first.maps if judged.baseline} == set(BASELINES)
    for second in others:
        assert {judged.title for judged in second.maps} - set(BASELINES) <= {judged.title for judged in kept}
        assert second.tried == {}
    assert {judged.verdict.tried for judged in kept if judged.verdict} == {len(finished)}
    told = as_json([found], [tuple(("",) * len(q.maps) for q in found.questions)], model="m", refused=[], versions={}, seed=0)
    assert {one["method"] for one in told["images"][0]["tried"]} == set(first.tried)
    if any(judged.verdict is not None and judged.verdict.tested for judged in kept):
        assert any(f"{len(finished)} methods were tried" in line for line in found.findings)


def test_best_needs_evidence_and_time() -> None:
    with pytest.raises(MethodError, match="leave evidence on"):
        planned("best", evidence=False)
    with pytest.raises(MethodError, match="above 0"):
        planned("best", budget_s=0.0)
