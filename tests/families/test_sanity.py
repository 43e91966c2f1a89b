"""`sanity_check`: similarity of maps when weights or classes are others, and verdicts that are clear or not given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import t as student
from torch import Tensor, nn
from zoo import CLASSES, pictures, shared

import tapetum as tp
from tapetum.families.map_similarity import likeness, magnitude, other_classes, similarities
from tapetum.progress import watching
from tapetum.types import Attribution, Cancelled, MethodError, Sanity
from tapetum.types.sanity import DEPENDS, HARDLY, UNSAID, UPPER

BOTH = "edge_attribution, random_attribution"


def attribution(values: Tensor, **more: Any) -> Attribution:
    n = len(values)
    given = {"method": "saliency", "status": ("ok",) * n, "target": ("class 0",) * n, "size": (8, 8), "explains": (0,) * n}
    return Attribution(values=values[:, None], **{**given, **more})


def noise(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_maps_that_do_not_look_at_the_network_stay_the_same() -> None:
    found = tp.sanity_check(shared("residual"), pictures(3), BOTH, seeds=2, steps=3)
    for values in (*found.cascading.values(), *found.independent.values(), *found.other_class.values()):
        torch.testing.assert_close(values, torch.ones_like(values))
    assert found.verdicts == (HARDLY, HARDLY)
    assert found.on_class == ("hardly depends on the class",) * 2
    assert found.on_pictures == ("differs between pictures", "says little about this picture")
    torch.testing.assert_close(found.edges[0], torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(found.unrelated["rank"][1], torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(found.likeness[1], torch.ones(3, dtype=torch.float64))


def test_the_saliency_of_a_linear_network_is_its_weights_and_says_nothing_about_the_picture() -> None:
    model, images = shared("linear"), pictures(3)
    found = tp.sanity_check(model, images, ["saliency"], target=2, seeds=3, steps=2)
    assert found.layers == ("1",)
    assert found.cascading["rank"].shape == (1, 3, 3, 1)
    assert torch.equal(found.cascading["rank"], found.independent["rank"])
    for seed in range(3):
        networks = model.module, tp.untrained(model, seed).module
        own, other = (one.state_dict()["1.weight"][2].view(1, 3, 16, 16).abs().amax(1) for one in networks)
        a, b = (one.flatten().argsort().argsort().double() for one in (own, other))  # no ties
        expected = torch.corrcoef(torch.stack([a, b]))[0, 1]
        torch.testing.assert_close(found.cascading["rank"][0, seed, :, 0], expected.expand(3))
    assert found.on_pictures == ("says little about this picture",)
    assert abs(float(found.curve()[0])) < 0.15  # 256 pairs that have nothing in common: a standard deviation of 0.06
    assert found.verdicts == (DEPENDS,)


def test_the_last_layer_alone_is_the_first_step_of_the_cascade_and_all_layers_its_last() -> None:
    model, images = shared("residual"), pictures(2)
    found = tp.sanity_check(model, images, "saliency", seeds=2, steps=3)
    for measure in ("rank", "ssim"):
        assert torch.equal(found.cascading[measure][..., 0], found.independent[measure][..., 0])
    trained = tp.saliency(model, images)
    for seed in range(2):
        random = tp.saliency(tp.untrained(model, seed), images, list(trained.explains))
        expected = similarities(trained, random)
        torch.testing.assert_close(found.cascading["rank"][0, seed, :, -1], expected[0])
        torch.testing.assert_close(found.cascading["ssim"][0, seed, :, -1], expected[1])
    assert torch.equal(found.maps[0, 0], magnitude(trained)[0])


def test_a_chosen_layer_stays_the_same_for_all_networks_and_parameters_are_kept() -> None:
    model, images = shared("residual"), pictures(2)
    found = tp.sanity_check(model, images, {"grad_cam": {"layer": "first"}, "smooth_grad": {"n_samples": 2}}, seeds=1, steps=1)
    cams = [
        tp.grad_cam(one, images, list(tp.grad_cam(model, images).explains), layer="first")
        for one in (model, tp.untrained(model, 0))
    ]
    torch.testing.assert_close(found.cascading["rank"][0, 0, :, 0], similarities(*cams)[0])
    chosen = tp.sanity_check(model, images, "grad_cam", seeds=1, steps=1)
    assert any("layer second was chosen" in one for one in chosen.notes)


def test_another_class_is_never_the_own_one_and_all_others_are_drawn() -> None:
    own = [0, 1, 4]
    drawn = [other_classes(own, CLASSES, seed) for seed in range(60)]
    assert all(a != b for some in drawn for a, b in zip(own, some, strict=True))
    assert {some[0] for some in drawn} == {1, 2, 3, 4}
    found = tp.sanity_check(shared("residual"), pictures(2), "saliency", target=[1, 2], seeds=2, steps=1)
    other = tp.saliency(shared("residual"), pictures(2), other_classes([1, 2], CLASSES, 1))
    expected = similarities(tp.saliency(shared("residual"), pictures(2), [1, 2]), other)
    torch.testing.assert_close(found.other_class["rank"][0, 1], expected[0])


def test_targets_that_are_no_classes_have_no_other_class() -> None:
    found = tp.sanity_check(shared("residual"), pictures(2), "saliency", target=tp.contrast(0, 1), seeds=2, steps=1)
    assert found.other_class["rank"].isnan().all()
    assert found.on_class == (UNSAID,)
    assert any("no classes" in one for one in found.notes)


def test_a_blank_map_has_nothing_in_common_and_a_broken_one_is_left_out() -> None:
    good, blank = attribution(noise(2)), attribution(torch.zeros(2, 8, 8), status=("constant", "non_finite"))
    assert similarities(good, blank)[0].nan_to_num(nan=9.0).tolist() == [0.0, 9.0]
    assert similarities(blank, good).isnan().all()
    same = similarities(good, good)
    torch.testing.assert_close(same, torch.ones_like(same))
    torch.testing.assert_close(similarities(good, attribution(-3 * noise(2)))[0], torch.ones(2, dtype=torch.float64))


def test_likeness_is_the_correlation_with_the_mean_of_the_others() -> None:
    shape, own = noise(1, 5).abs(), noise(6).abs()
    alike = likeness(attribution(shape + 0.01 * own))
    unlike = likeness(attribution(own))
    assert alike.min() > 0.95
    assert unlike.abs().max() < 0.5
    assert likeness(attribution(own[:1])).isnan().all()
    some = likeness(attribution(own, status=("ok", "constant", "ok", "non_finite", "ok", "ok")))
    assert some.isnan().tolist() == [False, True, False, True, False, False]
    torch.testing.assert_close(some[[0, 2, 4, 5]], likeness(attribution(own[[0, 2, 4, 5]])))


def made(similar: list[float], spread: float, unrelated: float = 0.0, seeds: int = 10) -> Sanity:
    """A result of one method with these mean similarities by depth, and this standard error over the seeds."""
    wave = torch.tensor([1.0, -1.0]).repeat(seeds // 2) if seeds > 1 else torch.zeros(1)
    wave = wave * spread * seeds**0.5 / wave.std() if seeds > 1 else wave
    values = (torch.tensor(similar)[None, None, None] + wave[None, :, None, None]).double()
    by_measure = {"rank": values, "ssim": values}
    return Sanity(
        methods=("saliency",),
        layers=tuple(f"layer{i}" for i in range(len(similar))),
        cascading=by_measure,
        independent=by_measure,
        other_class={name: one[..., 0] for name, one in by_measure.items()},
        unrelated={name: torch.tensor([unrelated]).double() for name in by_measure},
        edges=torch.zeros(1, 1),
        likeness=torch.zeros(1, 2),
        maps=torch.zeros(1, len(similar) + 1, 4, 4),
        photograph=torch.zeros(3, 4, 4),
        targets=("class 0",),
    )


@pytest.mark.parametrize(
    ("similar", "spread", "unrelated", "verdict"),
    [
        ([0.9, 0.8, 0.7, 0.3], 0.02, 0.0, UPPER),  # the upper half, two of four, leaves .8
        ([0.9, 0.45, 0.2, 0.1], 0.02, 0.0, DEPENDS),
        ([0.9, 0.45, 0.2, 0.1], 0.03, 0.0, UNSAID),  # .45 + 2.27 * .03 > .5
        ([0.9, 0.55, 0.2, 0.1], 0.03, 0.0, UNSAID),
        ([0.9, 0.8, 0.7, 0.6], 0.02, 0.0, HARDLY),
        ([0.9, 0.6, 0.55, 0.5], 0.02, 0.5, DEPENDS),  # (.6 - .5) / (1 - .5) = .2 is kept
        ([0.9, 0.8, 0.7, 0.6], 0.02, 0.5, UPPER),
        ([0.9, 0.9, 0.9, 0.9], 0.01, 0.9, UNSAID),  # all maps are alike: what is kept and what was always there look the same
        ([1.0, 1.0, 1.0, 1.0], 0.0, 1.0, HARDLY),  # nothing beyond other pictures, but the same to the last place
    ],
)
def test_verdicts_follow_what_is_kept_in_the_whole_interval(
    similar: list[float], spread: float, unrelated: float, verdict: str
) -> None:
    found = made(similar, spread, unrelated)
    mean, error = found.curve()
    torch.testing.assert_close(mean[0], torch.tensor(similar).double())
    torch.testing.assert_close(error[0], torch.full((4,), spread).double())
    assert found.verdicts == (verdict,)
    assert verdict in str(found)


def test_one_seed_is_no_evidence_and_two_are_little() -> None:
    assert made([0.9, 0.1, 0.1, 0.1], 0.0, seeds=1).verdicts == (UNSAID,)
    assert made([0.9, 0.1, 0.1, 0.1], 0.04, seeds=2).verdicts == (UNSAID,)  # .1 + 12.7 * .04 > .5
    assert made([0.9, 0.1, 0.1, 0.1], 0.04, seeds=4).verdicts == (DEPENDS,)


@pytest.mark.parametrize("seeds", [2, 3, 4, 6, 10, 12, 40, 1000])
def test_the_margin_is_students_quantile_or_a_little_more(seeds: int) -> None:
    exact = float(student.ppf(0.975, seeds - 1))
    values = {name: torch.zeros(1, seeds, 1, 1) for name in ("rank", "ssim")}
    assert exact <= replace(made([0.0], 0.0), cascading=values).margin < 1.01 * exact


def test_rows_are_methods() -> None:
    found = tp.sanity_check(shared("residual"), pictures(2), BOTH, seeds=1, steps=2)
    assert [one.methods for one in found] == [("edge_attribution",), ("random_attribution",)]
    assert found[1].cascading["rank"].shape == (1, 1, 2, 2)


def test_progress_counts_networks_says_the_cost_first_and_can_be_stopped() -> None:
    events: list[Any] = []
    with watching(lambda event: events.append(event) or None):
        tp.sanity_check(shared("residual"), pictures(2), BOTH, seeds=3, steps=2)
    networks = [event for event in events if event.unit == "networks"]
    assert [event.done for event in networks] == list(range(10))
    assert {event.total for event in networks} == {9}
    assert str(networks[0].stage).startswith("9 networks x 2 methods, about ")
    with pytest.raises(Cancelled), watching(lambda event: not (event.unit == "networks" and event.done == 2)):
        tp.sanity_check(shared("residual"), pictures(2), BOTH, seeds=3, steps=2)


def test_more_pictures_than_are_compared_count_for_the_mean_map() -> None:
    found = tp.sanity_check(shared("residual"), pictures(5), "saliency", seeds=1, steps=1, n_images=2)
    assert found.cascading["rank"].shape[2] == 2
    assert found.likeness.shape == (1, 5)
    torch.testing.assert_close(found.likeness[0], likeness(tp.saliency(shared("residual"), pictures(5))))


@pytest.mark.parametrize(
    ("methods", "words"), [([], "needs methods"), ("visualize", "makes no map"), ("grad_camm", "close names")]
)
def test_other_things_than_methods_are_refused(methods: Any, words: str) -> None:
    with pytest.raises(MethodError, match=words):
        tp.sanity_check(shared("residual"), pictures(1), methods)


@pytest.mark.parametrize("name", ["seeds", "steps", "n_images"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(MethodError, match=f"{name} must be a whole number from 1"):
        tp.sanity_check(shared("residual"), pictures(1), "saliency", **{name: 0})


class Brittle(nn.Module):
    """Gives numbers with its own weights, and NaN with any others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)
        self.own = self.last.weight.detach().clone().double()

    def forward(self, images: Tensor) -> Tensor:
        broken = 1.0 if torch.equal(self.last.weight, self.own) else torch.nan
        return self.last(self.first(images).relu().mean((2, 3))) * broken


def test_networks_that_break_give_no_verdict_and_do_not_end_the_check() -> None:
    torch.manual_seed(0)
    model, images = tp.wrap(Brittle().double(), size=16), pictures(2)
    found = tp.sanity_check(model, images, ["saliency", "full_grad"], seeds=2, steps=2)
    assert found.cascading["rank"].isnan().all()
    assert found.independent["rank"][..., 0].isnan().all()
    assert not found.independent["rank"][..., 1].isnan().any()  # the first layer alone: the last has its own weights
    assert found.verdicts == (UNSAID, UNSAID)
    assert tp.draw(found).get_axes()
    assert "nan" not in str(found)
    assert "some networks with random weights answer with NaN or infinity, and are left out" in found.notes
    measured = tp.parameter_randomization(model, images, tp.full_grad(model, images), seeds=2, steps=1)
    assert measured.status == ("non_finite_output", "non_finite_output")


def test_a_method_that_refuses_a_random_network_leaves_it_out_and_says_so() -> None:
    class Refusing(nn.Module):
        """Has no gradient at the image but with its own weights: methods of gradients refuse the others."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 16 * 16, 3).double()
            self.own = self.linear.weight.detach().clone()

        def forward(self, images: Tensor) -> Tensor:
            kept = torch.equal(self.linear.weight, self.own)
            return self.linear(images.flatten(1) if kept else images.detach().flatten(1))

    found = tp.sanity_check(tp.wrap(Refusing(), size=16), pictures(2), ["saliency", "edge_attribution"], seeds=2, steps=1)
    assert found.verdicts == (UNSAID, HARDLY)
    assert any(one.startswith("saliency refused some networks with random weights") for one in found.notes)


def test_a_model_with_random_weights_is_named() -> None:
    found = tp.sanity_check(tp.untrained(shared("residual")), pictures(1), "saliency", seeds=1, steps=1)
    assert any("has random weights itself" in one for one in found.notes)
