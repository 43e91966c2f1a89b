"""The main job: what it asks, that its progress only rises, that it can be stopped, and how much it keeps."""

from itertools import pairwise
from typing import Any

import pytest
import torch

import tapetum as tp
from tapetum.families.nearness import near_among
from tapetum.models.zoo import SimpleCNN
from tapetum.progress import watching
from tapetum.reports.job import PHOTO_PX
from tapetum.reports.plan import AUTO, BASELINES, FEWER
from tapetum.types import MethodError

LABELS = ["tabby", "tiger cat", "dog", "house"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    module = SimpleCNN(4, widths=(4, 8, 8)).eval()
    return tp.wrap(module, size=32, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS)


@pytest.fixture(scope="module")
def photo():
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (40, 48), mode="bilinear")


def methods_of(question):
    return {judged.attribution.method for judged in question.maps}


@pytest.mark.parametrize("methods", ["auto", ["grad_cam", "saliency"], "smooth_grad"])
@pytest.mark.parametrize("evidence", [True, False])
def test_progress_rises_from_nothing_to_the_total(model: Any, photo: Any, methods: Any, evidence: bool) -> None:
    events = []
    tp.explain(model, photo, methods=methods, evidence=evidence, progress=events.append)
    done = [event.done for event in events]
    assert done[0] == 0
    assert done == sorted(set(done))
    assert {event.total for event in events} == {done[-1]}
    assert max(b - a for a, b in pairwise(done)) <= 1000  # one method's share of the job


def test_progress_goes_to_whoever_watches_when_no_watcher_is_given(model: Any, photo: Any) -> None:
    events = []
    with watching(events.append):
        tp.explain(model, photo, methods="grad_cam", evidence=False)
    assert events[-1].done == events[-1].total


@pytest.mark.parametrize("nth", [0, 1, 5, -1])
def test_a_watcher_that_returns_false_stops_the_job(model: Any, photo: Any, nth: int) -> None:
    every = []
    tp.explain(model, photo, methods="occlusion", progress=every.append)
    stop_at = every[nth].done
    seen = []

    def watch(event):
        seen.append(event.done)
        return event.done < stop_at

    with pytest.raises(tp.Cancelled, match="stopped after"):
        tp.explain(model, photo, methods="occlusion", progress=watch)
    assert seen[-1] == stop_at


def test_a_job_that_was_stopped_leaves_the_model_as_it_was(model: Any, photo: Any) -> None:
    before = tp.predict(model, model.preprocess(photo))
    with pytest.raises(tp.Cancelled):
        tp.explain(model, photo, progress=lambda event: event.done < event.total / 3)
    assert tp.predict(model, model.preprocess(photo)) == before
    assert not any(module._forward_hooks for module in model.module.modules())


def test_the_predicted_class_near_classes_and_a_rival_are_asked_about(model: Any, photo: Any) -> None:
    found = tp.explain(model, photo)
    first, *others = found.questions
    near = near_among(model, found.predictions)
    rival = found.predictions[1].probability > found.predictions[0].probability / 4
    roles = ["near classes together"] * bool(near) + ["runner-up"] * rival
    assert [q.role for q in found.questions] == ["predicted", *roles]
    assert rival  # this network is not sure
    assert (first.index, others[-1].index) == (found.predictions[0].index, found.predictions[1].index)
    assert methods_of(first) == {*AUTO, *BASELINES}
    assert [len(methods_of(one)) for one in others] == [few + len(BASELINES) for few in FEWER[: len(others)]]
    assert first.probability == pytest.approx(found.predictions[0].probability, abs=1e-6)


class Sure(torch.nn.Module):
    """Three logits with a mean that is sure of the first class, and two near classes where the picture is dark."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 3)
        self.head.weight.data = torch.tensor([[9.0, 9.0, 9.0], [8.0, 9.0, 9.0], [-9.0, -9.0, -9.0]])
        self.head.bias.data = torch.tensor([4.0, 0.0, 0.0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean((2, 3)))


def test_a_second_class_that_is_no_rival_is_not_explained() -> None:
    sure = tp.wrap(Sure(), size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    found = tp.explain(sure, torch.full((1, 3, 32, 32), 0.6), methods="saliency")
    assert found.predictions[1].probability < found.predictions[0].probability / 4
    assert [q.role for q in found.questions] == ["predicted"]


def test_a_split_answer_is_explained_together_as_well() -> None:
    split = Sure()
    split.head.bias.data[1] = 4.0
    found = tp.explain(
        tp.wrap(split, size=32, mean=(0.5,) * 3, std=(0.5,) * 3), torch.full((1, 3, 32, 32), 0.6), methods="saliency"
    )
    assert [q.role for q in found.questions] == ["predicted", "near classes together", "runner-up"]
    together = found.questions[1]
    assert together.probability == pytest.approx(sum(one.probability for one in found.predictions[:2]), abs=1e-5)
    assert any("split among classes that this network hardly tells apart" in line for line in found.findings)


def test_methods_are_named_in_one_text_or_in_several(model: Any, photo: Any) -> None:
    plain = {"runner_up": False, "evidence": False}
    in_one = tp.explain(model, photo, methods="saliency, grad_cam", **plain)
    apart = tp.explain(model, photo, methods=["saliency", "grad_cam"], **plain)
    assert [one.title for one in in_one.questions[0].maps] == [one.title for one in apart.questions[0].maps]
    assert {"saliency", "grad_cam"} <= {one.title for one in in_one.questions[0].maps}
    with pytest.raises(MethodError, match="methods names nothing"):
        tp.explain(model, photo, methods=" , ")


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_prediction_is_refused(model: Any, photo: Any, k: int) -> None:
    with pytest.raises(MethodError, match=f"k is a number of classes from 1 up, not {k}"):
        tp.predict(model, photo, k=k)


def test_methods_that_were_asked_for_are_all_asked_for_both_classes(model: Any, photo: Any) -> None:
    found = tp.explain(model, photo, methods=["saliency", "grad_cam", "saliency"], evidence=False)
    assert [methods_of(q) for q in found.questions] == [{"saliency", "grad_cam", *BASELINES}] * len(found.questions)


def test_maps_come_best_first(model: Any, photo: Any) -> None:
    for question in tp.explain(model, photo).questions:
        values = [judged.faithfulness for judged in question.maps if judged.faithfulness == judged.faithfulness]
        assert values == sorted(values, reverse=True)
        for judged in question.maps:
            if judged.verdict is not None and judged.evidence:
                assert judged.faithfulness == pytest.approx(judged.verdict.first, nan_ok=True)


def test_verdicts_are_those_of_judge_corrected_for_all_methods_tried(model: Any, photo: Any) -> None:
    found = tp.explain(model, photo, methods="saliency, grad_cam, occlusion", seed=4)
    question = found.questions[0]
    own = [judged for judged in question.maps if not judged.baseline]
    alone = tp.judge(model, model.preprocess(photo), [judged.attribution for judged in own], seed=4)
    for judged, verdict in zip(own, alone.each, strict=True):
        assert judged.verdict is not None
        assert (judged.verdict.outcome, judged.verdict.tried) == (verdict.outcome, 3)
        assert judged.verdict.p_value == pytest.approx(verdict.p_value, nan_ok=True)
    assert question.hidden == pytest.approx(alone.of(0, 0).hidden, abs=1e-6)


@pytest.mark.parametrize(
    ("target", "name"), [(2, "dog"), ("tabby", "tabby"), (tp.contrast("tabby", "dog"), "tabby rather than dog")]
)
def test_a_target_is_asked_about_alone(model: Any, photo: Any, target: Any, name: str) -> None:
    (question,) = tp.explain(model, photo, target=target, methods="grad_cam").questions
    assert (question.target, question.role) == (name, "asked")


def test_a_map_is_what_the_method_gives_alone(model: Any, photo: Any) -> None:
    found = tp.explain(model, photo, methods=["smooth_grad"], seed=5, parameters={"smooth_grad": {"n_samples": 4}})
    (judged,) = [judged for judged in found.questions[0].maps if not judged.baseline]
    images = model.preprocess(photo)
    alone = tp.smooth_grad(model, images, found.predictions[0].index, n_samples=4, seed=5)
    assert torch.equal(judged.attribution.values, alone.values)
    assert judged.provenance.seed == 5


def test_what_was_seen_is_kept_exactly_and_the_photograph_only_as_large_as_a_page_needs(model: Any) -> None:
    large = torch.rand(1, 3, 300, 2 * PHOTO_PX)
    found = tp.explain(model, large, methods="grad_cam", evidence=False)
    assert found.photo.shape == (1, 3, 150, PHOTO_PX)
    assert torch.allclose(found.pixels, model.denormalize(model.preprocess(large)))
    small = torch.rand(1, 3, 30, 20)
    assert torch.equal(tp.explain(model, small, methods="grad_cam", evidence=False).photo, small)


def test_a_network_without_maps_is_told_so(photo: Any) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    flat = tp.wrap(net, size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    found = tp.explain(flat, photo, methods=["grad_cam", "saliency"], runner_up=False, evidence=False)
    assert found.found == ()
    assert set(found.questions[0].refused) == {"grad_cam"}
    assert methods_of(found.questions[0]) == {"saliency", *BASELINES}


def test_what_is_wrong_for_every_image_is_refused(model: Any, photo: Any) -> None:
    with pytest.raises(tp.TapetumError, match="no method 'grad_cams'; close names: grad_cam"):
        tp.explain(model, photo, methods="grad_cams")
    with pytest.raises(tp.TapetumError, match="deletion makes no map"):
        tp.explain(model, photo, methods=["deletion"])
    with pytest.raises(tp.TapetumError, match="class 9 does not exist"):
        tp.explain(model, photo, target=9)
