"""Laws that every attribution obeys, over registry x zoo: a new method and a new network are tested by existing.

Tolerances: networks are float64, where the same sum in another order differs by about 1e-15 relative; 1e-10 leaves room
for the few places that amplify it (softmax, division by a small score) and is far below any real mistake.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from snapshots import assert_no_hooks, assert_same, differences, hooks, snapshot
from tables import CLASS_SENSITIVE, COMPLETE, LINEAR, METHODS, QUICK, REFUSED, STATUS, STATUS_PREDICTED
from together import holds
from torch import Tensor, nn
from zoo import EARLY, NETS, SIDE, Functional, ViT, net, pictures, shared, vision_model, wrapped

import tapetum as tp
from tapetum.engines.scores import forward_logits
from tapetum.progress import Progress
from tapetum.registry import live, lookup, parameters
from tapetum.types import Attribution, Cancelled, ImageError, MethodError, TapetumError, TargetError

EXACT = {"rtol": 1e-10, "atol": 1e-12}

PROBES = ("in_place", "residual", "vit_token", "as_dataclass")
"""Networks for the laws that depend on the method more than on the network."""

every_method = pytest.mark.parametrize("method", METHODS)


def nets(method: str, names: Iterable[str] = NETS) -> list[tuple[str, str]]:
    """The method on each of these networks that it does not refuse."""
    return [(method, name) for name in names if (method, name) not in REFUSED]


def probe(method: str) -> list[tuple[str, str]]:
    """The method on one of the probes, another one for each family, for the laws of the border that all methods share."""
    families = sorted({lookup(name).family for name in METHODS})
    start = families.index(lookup(method).family) % len(PROBES)
    return nets(method, PROBES[start:] + PROBES[:start])[:1]


def explain(method: str, model: Any, images: Tensor, target: Any = None, **more: Any) -> Attribution:
    return lookup(method).function(model, images, target, **{**QUICK.get(method, {}), **more})


@dataclass(frozen=True)
class Call:
    """Two pictures on a network of their own: what came out, and what changed meanwhile."""

    outcome: Attribution | TapetumError
    changed: list[str]
    hooks: list[str]
    random_states_stay: bool
    events: list[Progress]
    shown: dict[int, Tensor]


TARGETS = (1, 3)
"""Of each of the two pictures."""
PREDICTED = None
EVERYWHERE = [(name, targets) for name in NETS for targets in (TARGETS, PREDICTED)]


@functools.cache
def call(method: str, name: str, targets: tuple[int, int] | None = TARGETS) -> Call:
    """Made once for all laws: the tests run method by method."""
    model, images, events, shown = vision_model(name), pictures(2), list[Progress](), dict[int, Tensor]()
    next(model.module.parameters()).requires_grad_(False)  # a frozen part stays frozen, the rest stays trainable
    before, random = snapshot(model.module), random_states()

    def watcher(event: Progress) -> None:
        events.append(event)
        if event.so_far is not None:
            shown.update(zip(event.rows, event.so_far(), strict=True))

    try:
        with tp.watching(watcher):
            outcome: Attribution | TapetumError = explain(method, model, images, targets and list(targets))
    except TapetumError as refusal:
        outcome = refusal
    stay = random_states() == random
    return Call(outcome, differences(before, snapshot(model.module)), hooks(model.replica), stay, events, shown)


def random_states() -> tuple[Any, ...]:
    """Without Python's own: beartype draws from it when it checks a list."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


def usual(method: str, name: str) -> Attribution:
    """Two pictures with a target each."""
    outcome = call(method, name).outcome
    if isinstance(outcome, TapetumError):
        raise outcome
    return outcome


def home(method: str, name: str) -> str:
    """That network, or a transformer for methods that are about attention."""
    return "vit_token" if (method, name) in REFUSED else name


def close(a: Tensor, b: Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(a, b, **(tolerance or EXACT))


# --- results


@every_method
def test_a_map_is_finite_or_the_refusal_is_one_known_line(method: str) -> None:
    def law(method: str, name: str, targets: tuple[int, int] | None) -> None:
        result = call(method, name, targets).outcome
        if (method, name) in REFUSED:
            assert isinstance(result, REFUSED[method, name])
            assert str(result)
            assert "\n" not in str(result)
            return
        assert isinstance(result, Attribution), result
        assert torch.isfinite(result.values).all()
        assert result.status == (STATUS if targets else STATUS_PREDICTED).get((method, name), ("ok", "ok"))
        heatmap = result.heatmap()
        assert heatmap.shape == (2, SIDE, SIDE)
        assert (heatmap > 0).any(2).any(1).tolist() == [status == "ok" for status in result.status]
        for tensor in (result.values, result.stderr, heatmap):
            assert tensor is None or (tensor.dtype, tensor.device) == (torch.float64, torch.device("cpu"))  # the images' own

    holds(law, [(method, *on) for on in EVERYWHERE])


@every_method
def test_a_batch_of_two_is_two_single_images_also_with_a_target_each(method: str) -> None:
    def law(method: str, name: str) -> None:
        images, both = pictures(2), usual(method, name)
        for row, target in enumerate((1, 3)):
            alone = explain(method, shared(name), images[row : row + 1], target)
            close(both.values[row : row + 1], alone.values)
            assert both[row].target == alone.target
            if both.stderr is not None and alone.stderr is not None:
                close(both.stderr[row : row + 1], alone.stderr)

    holds(law, nets(method))


@every_method
def test_single_precision_stays_and_is_near_to_double(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, exact = wrapped(net(name).float(), name), usual(method, name).values
        result = explain(method, model, pictures(2, dtype=torch.float32), [1, 3])
        for tensor in (result.values, result.stderr, result.heatmap()):
            assert tensor is None or (tensor.dtype, tensor.device) == (torch.float32, torch.device("cpu"))
        # 1e-7 per operation, amplified by up to a few hundred where scores nearly cancel
        assert (result.values - exact).abs().max() <= 1e-4 * exact.abs().max()

    holds(law, probe(method))


@every_method
def test_the_same_seed_gives_the_same_values(method: str) -> None:
    def law(method: str, name: str) -> None:
        again = explain(method, shared(name), pictures(2), [1, 3])
        assert torch.equal(again.values, usual(method, name).values)

    holds(law, nets(method, PROBES))


@every_method
def test_the_batch_size_does_not_change_the_answer(method: str) -> None:
    if "batch" not in [parameter.name for parameter in parameters(lookup(method))]:
        assert "baseline" in lookup(method).laws  # nothing else can do without a forward pass
        return

    def law(method: str, name: str) -> None:
        one, seven = (explain(method, shared(name), pictures(3), [1, 3, 0], batch=size).values for size in (1, 7))
        close(one, seven)

    holds(law, nets(method, PROBES))


@every_method
def test_no_target_means_the_predicted_class_of_each_image(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, images = shared(name), pictures(2)
        predicted = forward_logits(model, images).argmax(1).tolist()
        found = call(method, name, PREDICTED).outcome
        assert isinstance(found, Attribution)
        close(found.values, explain(method, model, images, predicted).values)

    holds(law, nets(method, PROBES))


# --- the caller's surroundings


@every_method
def test_works_where_gradients_are_switched_off(method: str) -> None:
    def law(method: str, name: str) -> None:
        for mode in (torch.no_grad, torch.inference_mode):
            model = vision_model(name)
            with mode():
                result = explain(method, model, pictures(2), [1, 3])  # the images, too, are made in here
                assert torch.is_grad_enabled() is False
            close(result.values, usual(method, name).values)
            assert not result.values.is_inference()

    holds(law, probe(method))


@every_method
def test_a_replica_made_in_inference_mode_still_gives_gradients(method: str) -> None:
    name = home(method, "residual")
    model = vision_model(name)
    with torch.inference_mode():
        model(pictures(1))
    close(explain(method, model, pictures(2), [1, 3]).values, usual(method, name).values)


@every_method
def test_the_global_random_states_stay_as_they_were(method: str) -> None:
    assert [on for on in EVERYWHERE if not call(method, *on).random_states_stay] == []


@every_method
def test_progress_ends_with_everything_done(method: str) -> None:
    if "baseline" in lookup(method).laws:
        return  # over before there is anything to watch

    def law(method: str, name: str) -> None:
        events = call(method, name).events
        assert events
        assert events[-1].done == events[-1].total > 0
        assert all(0 <= event.done <= event.total for event in events)

    holds(law, nets(method))


@every_method
def test_a_watcher_that_says_no_stops_the_work_and_the_model_stays(method: str) -> None:
    if "baseline" in lookup(method).laws:
        return
    model = vision_model(home(method, "in_place"))
    before, seen = snapshot(model.module), list[Progress]()
    for at in (1, 3):
        seen.clear()

        def watcher(event: Progress, at: int = at) -> bool:
            seen.append(event)
            return len(seen) < at

        with tp.watching(watcher), pytest.raises(Cancelled, match=r"^stopped after \d+ of \d+ \w+$"):
            explain(method, model, pictures(3), [1, 3, 0], batch=1)
        assert len(seen) == at
        assert_same(before, snapshot(model.module))
        assert_no_hooks(model.replica)


def _living() -> int:
    gc.collect()
    return sum(issubclass(type(one), Tensor) for one in gc.get_objects())


@every_method
def test_nothing_is_left_in_memory(method: str) -> None:
    """A graph that holds itself through a rule's memory is never freed: some 50 MB a call on a network of usual size."""
    name = home(method, "residual")
    explain(method, shared(name), pictures(1), 1)  # what the model remembers of itself stays
    gc.collect()
    gc.freeze()  # what is there by now is neither searched nor counted: some 450 000 objects
    before = _living()
    explain(method, shared(name), pictures(1), 1)
    assert _living() <= before


# --- the user's model


@every_method
def test_the_users_model_is_untouched(method: str) -> None:
    assert [on for on in EVERYWHERE if call(method, *on).changed] == []
    assert [on for on in EVERYWHERE if call(method, *on).hooks] == []


class Brittle(Functional):
    """Raises at a chosen call, in the middle of the network; the count is the class's, so all replicas share it."""

    left = 10**9

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.ReLU()  # changes nothing; `cam` needs the map that the head pools to be some layer's
        self.fragile = self.Fragile()

    class Fragile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            Brittle.left -= 1
            if Brittle.left <= 0:
                raise RuntimeError("the fragile module broke")
            return x * 1

    def forward(self, images: Tensor) -> Tensor:
        x = self.two(self.one(images).relu())
        x = self.four(self.fragile(x).relu())
        return self.head(self.last(self.norm(x).relu_()))


class BrittleViT(ViT):
    """Raises between its two attentions; the count is that of `Brittle`."""

    def __init__(self) -> None:
        super().__init__(class_token=True)
        self.blocks.insert(1, Brittle.Fragile())


@every_method
def test_an_error_in_the_forward_pass_leaves_the_users_model_untouched(method: str) -> None:
    torch.manual_seed(0)
    about_attention = (method, "functional") in REFUSED and (method, "vit_token") not in REFUSED
    model = wrapped((BrittleViT if about_attention else Brittle)().double())
    first = explain(method, model, pictures(2)).values  # surveys the model, so the calls below are the method's own
    before = snapshot(model.module)
    for at in (1, 2, 5):
        Brittle.left = at
        try:
            with contextlib.suppress(RuntimeError, ImageError):  # a network that breaks at any image is refused in words
                explain(method, model, pictures(2))
                # at the second call every method is in its own work: the first one finds the predicted class
                once = {"baseline", "at_image"} & lookup(method).laws
                assert at > (1 if once else 2) or "baseline" in once or "resume" in lookup(method).function.__globals__
        finally:
            Brittle.left = 10**9
        assert_same(before, snapshot(model.module))
        assert_no_hooks(model.replica)
    assert torch.equal(explain(method, model, pictures(2)).values, first)


@every_method
def test_an_error_in_a_callable_target_leaves_the_users_model_untouched(method: str) -> None:
    model, calls = vision_model(home(method, "in_place")), []
    before = snapshot(model.module)
    for at in (1, 2):
        calls.clear()

        def target(output: Tensor, *, at: int = at) -> Tensor:
            calls.append(None)
            if len(calls) >= at:
                raise KeyError("the target broke")
            return output[:, 1]

        if {"baseline", "target_free"} & lookup(method).laws:
            explain(method, model, pictures(2), target)
        elif "class_only" in lookup(method).laws:
            with pytest.raises(MethodError, match="give a class"):
                explain(method, model, pictures(2), target)
        else:  # one image a pass, so that every method asks for the score more than once
            with pytest.raises(KeyError, match="the target broke"):
                explain(method, model, pictures(2), target, batch=1)
        assert_same(before, snapshot(model.module))
        assert_no_hooks(model.replica)


@every_method
def test_a_callable_that_reads_a_class_equals_that_class(method: str) -> None:
    def law(method: str, name: str) -> None:
        def read(output: Any) -> Tensor:
            table = output.logits if name == "as_dataclass" else output
            return (table.softmax(1) if lookup(method).scale == "probability" else table)[:, 1]

        if "class_only" in lookup(method).laws:
            with pytest.raises(MethodError, match="give a class"):
                explain(method, shared(name), pictures(2), read)
            return
        close(explain(method, shared(name), pictures(2), read).values, explain(method, shared(name), pictures(2), 1).values)

    holds(law, nets(method, PROBES))


# --- declared laws

WITH = {law: [name for name in METHODS if law in lookup(name).laws] for name in METHODS for law in lookup(name).laws}
TESTED: set[str] = set()


def declared(law: str, *, of: list[str] | None = None) -> pytest.MarkDecorator:
    """Marks the test of a law: it runs for each method that declares the law, or for each of those given."""
    TESTED.add(law)
    return pytest.mark.parametrize("method", of or WITH[law])


def test_every_declared_law_has_a_test() -> None:
    assert set(WITH) == TESTED


@declared("sampled", of=METHODS)
def test_sampled_methods_alone_take_a_seed_and_another_seed_gives_another_sample(method: str) -> None:
    takes_seed = "seed" in [parameter.name for parameter in parameters(lookup(method))]
    assert takes_seed == ("sampled" in lookup(method).laws)
    if takes_seed:
        model, images = shared("reused"), pictures(1)
        one = explain(method, model, images, 1, seed=1).values
        assert not torch.allclose(one, explain(method, model, images, 1, seed=2).values)
        generator = torch.Generator().manual_seed(1)
        assert torch.equal(one, explain(method, model, images, 1, generator=generator).values)


@declared("live", of=METHODS)
def test_live_methods_alone_show_their_map_while_it_is_made_and_at_last_the_whole(method: str) -> None:
    assert live(lookup(method)) == ("live" in lookup(method).laws)

    def law(method: str, name: str) -> None:
        shown = call(method, name).shown
        assert sorted(shown) == ([0, 1] if live(lookup(method)) else [])
        for row, found in shown.items():
            close(found, usual(method, name).values[row])

    holds(law, nets(method))


@declared("class_sensitive")
def test_class_sensitive_two_classes_have_two_maps(method: str) -> None:
    def law(method: str, name: str) -> None:
        module = net(name)
        with torch.no_grad():  # a decided network, as training makes it: random ones answer nearly alike to every image
            *_, weight, _bias = module.parameters()
            weight *= 30
        images = pictures(1).expand(len(weight), -1, -1, -1)
        more = CLASS_SENSITIVE.get(method, {})
        maps = explain(method, wrapped(module, name), images, list(range(len(weight))), **more).values
        maps = maps / maps.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        apart = (maps[:, None] - maps).abs().amax((2, 3, 4))
        assert apart.max() > 0.03  # of the largest value: far above rounding, and no matter of scale

    holds(law, nets(method))


@declared("class_only")
def test_class_only_anything_else_is_refused(method: str) -> None:
    def law(method: str, name: str) -> None:
        for target in (tp.contrast(0, 1), tp.probability(0), lambda output: output[:, 0]):
            with pytest.raises(MethodError, match="give a class"):
                explain(method, shared(name), pictures(1), target)

    holds(law, nets(method))


@declared("at_image")
def test_at_image_the_predicted_class_costs_no_pass_and_is_the_same(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, images = wrapped(net(name), name), pictures(3)
        asked = explain(method, model, images, [one[0].index for one in tp.predict(model, images)])
        passes: list[None] = []
        handle = model.replica.register_forward_pre_hook(lambda *_: passes.append(None))
        try:
            predicted = explain(method, model, images, batch=3)
        finally:
            handle.remove()
        assert predicted.explains == asked.explains
        close(predicted.values, asked.values)
        assert len(passes) == 1

    holds(law, nets(method))


@declared("linear_exact")
def test_linear_exact_the_closed_form_on_a_linear_model(method: str) -> None:
    model, images = shared("linear"), pictures(2)
    settings, truth = LINEAR[method]
    weights = model.module[1].weight.detach().view(-1, 3, SIDE, SIDE)
    for fill in (0.0, 0.7):
        for target, w in (
            (2, weights[2]),
            (tp.contrast(2, 4), weights[2] - weights[4]),
            (lambda out: 3 * out[:, 0], 3 * weights[0]),
        ):
            close(explain(method, model, images, target, **settings(fill)).values, truth(w, images, fill))


class LeftHalf(nn.Module):
    """Sees the left half of the image alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Functional()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images[..., : SIDE // 2])


@declared("dummy")
def test_dummy_what_the_model_ignores_gets_nothing(method: str) -> None:
    torch.manual_seed(0)
    values = explain(method, wrapped(LeftHalf().double()), pictures(2), 1).values
    # one picture in batches of two sizes: its two scores, whose difference is the value, may differ in their last bits
    assert values[..., SIDE // 2 :].abs().max() <= 1e-13
    assert (values[..., : SIDE // 2] != 0).any()


@declared("complete")
def test_complete_the_values_sum_to_the_score_difference(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, images = shared(name), pictures(2)
        settings, baseline, smooth, kinked = COMPLETE[method]
        result = explain(method, model, images, 2, **settings)
        difference = (forward_logits(model, images) - forward_logits(model, baseline(images)))[:, 2]
        tolerance = smooth if name in ("linear", "linear_conv", "channels_last", "vit_token", "vit_mean") else kinked
        assert ((result.values.sum((1, 2, 3)) - difference).abs() <= tolerance * difference.abs().clamp(min=0.1)).all()

    holds(law, nets(method))


@declared("linear_in_score")
def test_linear_in_score_the_map_of_a_contrast_is_the_difference_of_the_maps(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, images, classes = shared(name), pictures(2), usual(method, name)  # 1 and 3
        four = explain(method, model, images[:1], 4).values
        mixed = explain(method, model, images, [tp.contrast(1, 4), 3])
        close(mixed.values[:1], classes.values[:1] - four)
        close(mixed.values[1:], classes.values[1:])
        close(explain(method, model, images[:1], tp.contrast(1, 4)).values, classes.values[:1] - four)
        assert mixed.target == ("class 1 rather than class 4", "class 3")

    holds(law, nets(method))


@declared("map_of_layer")
def test_map_of_layer_the_values_have_the_layers_own_grid(method: str) -> None:
    def law(method: str, name: str) -> None:
        model = shared(name)
        results = [usual(method, name)]
        if "pooled_layer" not in lookup(method).laws:
            results.append(explain(method, model, pictures(1), 1, layer=EARLY[name]))
            assert results[1].layer == EARLY[name]
        for result in results:
            assert tuple(result.values.shape[1:]) == (1, *model.survey[str(result.layer)].grid)  # type: ignore[misc]
            # a choice that was made for the user is told
            assert any("was chosen" in note for note in result.notes) == (result is results[0])

    holds(law, nets(method))


@declared("positive_layer")
def test_positive_layer_negative_activations_are_told(method: str) -> None:
    def law(method: str, name: str) -> None:
        model, images = shared(name), pictures(2)
        for result in (usual(method, name), explain(method, model, images, [1, 3], layer=EARLY[name])):
            with tp.capture(model, str(result.layer)) as acts:
                model(images)
            told = any("negative activations" in note and "without" not in note for note in result.notes)
            assert told == bool(acts[str(result.layer)].min() < 0)

    holds(law, nets(method))


@declared("pooled_layer")
def test_pooled_layer_the_mean_over_places_is_the_score_without_the_bias(method: str) -> None:
    def law(method: str, name: str) -> None:
        module, images = net(name), pictures(2)
        *_, bias = module.parameters()
        with torch.no_grad():
            bias[:] = 0
        scores = forward_logits(wrapped(module, name), images)[[0, 1], [1, 3]]
        close(usual(method, name).values.mean((1, 2, 3)), scores)

    holds(law, nets(method))


@declared("target_free")
def test_target_free_every_class_has_the_same_map(method: str) -> None:
    def law(method: str, name: str) -> None:
        other = explain(method, shared(name), pictures(2), [3, 0]).values
        assert torch.equal(usual(method, name).values, other)

    holds(law, nets(method))


class Sealed(nn.Module):
    """Answers, and never gives a gradient: an exported or a wrapped service."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner(images)


@declared("forward_only", of=METHODS)
def test_forward_only_methods_need_no_gradient_and_the_others_say_that_they_do(method: str) -> None:
    name = home(method, "reused")
    sealed, images, laws = wrapped(Sealed(net(name))), pictures(2), lookup(method).laws
    if {"forward_only", "baseline"} & laws:
        close(explain(method, sealed, images, [1, 3]).values, usual(method, name).values)
        return
    with pytest.raises((TargetError, MethodError)) as caught:
        explain(method, sealed, images, 1)
    assert "gradient" in str(caught.value)
    assert "\n" not in str(caught.value)


@declared("baseline", of=METHODS)
def test_baseline_methods_do_not_look_at_the_weights_and_every_other_method_does(method: str) -> None:
    name = home(method, "reused")
    other = explain(method, vision_model(name, seed=1), pictures(2), [1, 3]).values
    assert torch.equal(usual(method, name).values, other) == ("baseline" in lookup(method).laws)
