"""Laws that every attribution obeys, over registry x zoo: a new method and a new network are tested by existing.

Tolerances: networks are float64, where the same sum in another order differs by about 1e-15 relative; 1e-10 leaves room
for the few places that amplify it (softmax, division by a small score) and is far below any real mistake.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from snapshots import assert_no_hooks, assert_same, snapshot
from tables import CLASS_SENSITIVE, COMPLETE, LINEAR, METHODS, QUICK, REFUSED, WITHOUT_EVIDENCE
from torch import Tensor, nn
from zoo import EARLY, NETS, SIDE, Functional, ViT, net, pictures, shared, vision_model, wrapped

import tapetum as tp
from tapetum.engines.scores import forward_logits
from tapetum.progress import Progress
from tapetum.registry import lookup, parameters
from tapetum.types import Attribution, Cancelled, ImageError, MethodError, TargetError

EXACT = {"rtol": 1e-10, "atol": 1e-12}

PAIRS = [(method, name) for method in METHODS for name in NETS]
ALLOWED = [pair for pair in PAIRS if pair not in REFUSED]
PROBES = ("in_place", "residual", "vit_token", "as_dataclass")
"""Networks for the laws that depend on the method more than on the network."""
PROBED = [pair for pair in ALLOWED if pair[1] in PROBES]


def explain(method: str, model: Any, images: Tensor, target: Any = None, **more: Any) -> Attribution:
    return lookup(method).function(model, images, target, **{**QUICK.get(method, {}), **more})


@functools.cache
def usual(method: str, name: str) -> Attribution:
    """Two pictures with a target each."""
    return explain(method, shared(name), pictures(2), [1, 3])


def home(method: str, name: str) -> str:
    """That network, or a transformer for methods that are about attention."""
    return "vit_token" if (method, name) in REFUSED else name


def close(a: Tensor, b: Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(a, b, **(tolerance or EXACT))


# --- results


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_a_map_is_finite_or_the_refusal_is_one_known_line(method: str, name: str) -> None:
    if (method, name) in REFUSED:
        with pytest.raises(REFUSED[method, name]) as caught:
            explain(method, shared(name), pictures(2))
        assert str(caught.value)
        assert "\n" not in str(caught.value)
        return
    result = explain(method, shared(name), pictures(2))
    assert torch.isfinite(result.values).all()
    wanted = "no_positive_evidence" if (method, name) in WITHOUT_EVIDENCE else "ok"
    assert result.status == (wanted, wanted)
    heatmap = result.heatmap()
    assert heatmap.shape == (2, SIDE, SIDE)
    assert (heatmap > 0).any() == (wanted == "ok")


@pytest.mark.parametrize(("method", "name"), PROBED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_and_device_are_the_images_own(method: str, name: str, dtype: torch.dtype) -> None:
    model = wrapped(net(name).to(dtype), name)
    result = explain(method, model, pictures(1, dtype=dtype), 2)
    for tensor in (result.values, result.stderr, result.heatmap()):
        assert tensor is None or (tensor.dtype, tensor.device) == (dtype, torch.device("cpu"))
    # single precision: 1e-7 per operation, amplified by up to a few hundred where scores nearly cancel
    if dtype == torch.float32:
        exact = explain(method, shared(name), pictures(1), 2).values
        assert (result.values - exact).abs().max() <= 1e-4 * exact.abs().max()


@pytest.mark.parametrize(("method", "name"), PROBED)
def test_the_same_seed_gives_the_same_values(method: str, name: str) -> None:
    again = explain(method, shared(name), pictures(2), [1, 3])
    assert torch.equal(again.values, usual(method, name).values)


@pytest.mark.parametrize("method", METHODS)
def test_only_sampled_methods_take_a_seed_and_another_seed_gives_another_sample(method: str) -> None:
    takes_seed = "seed" in [parameter.name for parameter in parameters(lookup(method))]
    assert takes_seed == ("sampled" in lookup(method).laws)
    if takes_seed:
        model, images = shared("reused"), pictures(1)
        one = explain(method, model, images, 1, seed=1).values
        assert not torch.allclose(one, explain(method, model, images, 1, seed=2).values)
        generator = torch.Generator().manual_seed(1)
        assert torch.equal(one, explain(method, model, images, 1, generator=generator).values)


@pytest.mark.parametrize(("method", "name"), ALLOWED)
def test_a_batch_of_two_is_two_single_images_also_with_a_target_each(method: str, name: str) -> None:
    images, both = pictures(2), usual(method, name)
    for row, target in enumerate((1, 3)):
        alone = explain(method, shared(name), images[row : row + 1], target)
        close(both.values[row : row + 1], alone.values)
        assert both[row].target == alone.target
        if both.stderr is not None and alone.stderr is not None:
            close(both.stderr[row : row + 1], alone.stderr)


@pytest.mark.parametrize(("method", "name"), PROBED)
def test_the_batch_size_does_not_change_the_answer(method: str, name: str) -> None:
    if "batch" not in [parameter.name for parameter in parameters(lookup(method))]:
        assert "baseline" in lookup(method).laws  # nothing else can do without a forward pass
        return
    one, seven = (explain(method, shared(name), pictures(3), [1, 3, 0], batch=size).values for size in (1, 7))
    close(one, seven)


@pytest.mark.parametrize(("method", "name"), PROBED)
def test_no_target_means_the_predicted_class_of_each_image(method: str, name: str) -> None:
    model, images = shared(name), pictures(2)
    predicted = forward_logits(model, images).argmax(1).tolist()
    close(explain(method, model, images).values, explain(method, model, images, predicted).values)


# --- the caller's surroundings


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("method", "name"), PROBED)
def test_works_where_gradients_are_switched_off(method: str, name: str, mode: Callable[[], Any]) -> None:
    expected = usual(method, name).values
    model = vision_model(name)
    with mode():
        result = explain(method, model, pictures(2), [1, 3])  # the images, too, are made in here
        assert torch.is_grad_enabled() is False
    close(result.values, expected)
    assert not result.values.is_inference()


@pytest.mark.parametrize("method", METHODS)
def test_a_replica_made_in_inference_mode_still_gives_gradients(method: str) -> None:
    name = home(method, "residual")
    model = vision_model(name)
    with torch.inference_mode():
        model(pictures(1))
    close(explain(method, model, pictures(2), [1, 3]).values, usual(method, name).values)


@pytest.mark.parametrize("method", METHODS)
def test_the_global_random_states_stay_as_they_were(method: str) -> None:
    def states() -> tuple[Any, ...]:  # Python's own is left out: beartype draws from it when it checks a list
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    explain(method, vision_model(home(method, "in_place")), pictures(1))
    assert states() == before


@pytest.mark.parametrize("method", METHODS)
def test_progress_ends_with_everything_done(method: str) -> None:
    events: list[Progress] = []
    with tp.watching(events.append):
        explain(method, shared(home(method, "in_place")), pictures(2), [1, 3])
    if "baseline" in lookup(method).laws:
        return  # over before there is anything to watch
    assert events
    assert events[-1].done == events[-1].total > 0
    assert all(0 <= event.done <= event.total for event in events)


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_watcher_that_says_no_stops_the_work_and_the_model_stays(method: str, at: int) -> None:
    if "baseline" in lookup(method).laws:
        return
    model = vision_model(home(method, "in_place"))
    before, seen = snapshot(model.module), []

    def watcher(event: Progress) -> bool:
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


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """What was there before the first of these tests is neither searched nor counted: some 450 000 objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_in_memory(method: str) -> None:
    """A graph that holds itself through a rule's memory is never freed: some 50 MB a call on a network of usual size."""
    name = next(name for name in ("residual", "vit_token") if (method, name) not in REFUSED)
    explain(method, shared(name), pictures(1), 1)  # what the model remembers of itself stays
    before = _living()
    explain(method, shared(name), pictures(1), 1)
    assert _living() <= before


# --- the user's model


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_the_users_model_is_untouched(method: str, name: str) -> None:
    model = vision_model(name)
    next(model.module.parameters()).requires_grad_(False)  # a frozen part stays frozen, the rest stays trainable
    before = snapshot(model.module)
    with contextlib.suppress(*REFUSED.values()):
        explain(method, model, pictures(2))
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)


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


@pytest.mark.parametrize("at", [1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_in_the_forward_pass_leaves_the_users_model_untouched(method: str, at: int) -> None:
    torch.manual_seed(0)
    about_attention = (method, "functional") in REFUSED and (method, "vit_token") not in REFUSED
    model = wrapped((BrittleViT if about_attention else Brittle)().double())
    first = explain(method, model, pictures(2)).values  # surveys the model, so the calls below are the method's own
    before = snapshot(model.module)
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


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_in_a_callable_target_leaves_the_users_model_untouched(method: str, at: int) -> None:
    model, calls = vision_model(home(method, "in_place")), []
    before = snapshot(model.module)

    def target(output: Tensor) -> Tensor:
        calls.append(None)
        if len(calls) >= at:
            raise KeyError("the target broke")
        return output[:, 1]

    if {"baseline", "target_free"} & lookup(method).laws:
        explain(method, model, pictures(2), target)
    elif "class_only" in lookup(method).laws:
        with pytest.raises(MethodError, match="give a class"):
            explain(method, model, pictures(2), target)
    else:
        keywords = {"batch": 1}  # so that every method asks for the score more than once
        with pytest.raises(KeyError, match="the target broke"):
            explain(method, model, pictures(2), target, **keywords)
    assert_same(before, snapshot(model.module))
    assert_no_hooks(model.replica)


@pytest.mark.parametrize(("method", "name"), PROBED)
def test_a_callable_that_reads_a_class_equals_that_class(method: str, name: str) -> None:
    on_its_scale = (lambda table: table.softmax(1)) if lookup(method).scale == "probability" else (lambda table: table)

    def read(output: Any) -> Tensor:
        return on_its_scale(output.logits if name == "as_dataclass" else output)[:, 2]

    images = pictures(2)
    if "class_only" in lookup(method).laws:
        with pytest.raises(MethodError, match="give a class"):
            explain(method, shared(name), images, read)
        return
    close(explain(method, shared(name), images, read).values, explain(method, shared(name), images, 2).values)


# --- declared laws

WITH = {law: [name for name in METHODS if law in lookup(name).laws] for name in METHODS for law in lookup(name).laws}


def declared(law: str) -> list[tuple[str, str]]:
    return [(method, name) for method in WITH[law] for name in NETS if (method, name) not in REFUSED]


def test_every_declared_law_has_a_test() -> None:
    tested = {
        "sampled", "class_sensitive", "linear_exact", "dummy", "complete", "linear_in_score", "map_of_layer",
        "forward_only", "baseline", "positive_layer", "at_image", "pooled_layer", "target_free", "class_only",
    }  # fmt: skip
    assert set(WITH) == tested


@pytest.mark.parametrize(("method", "name"), declared("class_sensitive"))
def test_class_sensitive_two_classes_have_two_maps(method: str, name: str) -> None:
    module = net(name)
    with torch.no_grad():  # a decided network, as training makes it: random ones answer nearly alike to every image
        *_, weight, _bias = module.parameters()
        weight *= 30
    images = pictures(1).expand(len(weight), -1, -1, -1)
    more = CLASS_SENSITIVE.get(method, {})
    maps = explain(method, wrapped(module, name), images, list(range(len(weight))), **more).values
    maps = maps / maps.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    differences = (maps[:, None] - maps).abs().amax((2, 3, 4))
    assert differences.max() > 0.03  # of the largest value: far above rounding, and no matter of scale


@pytest.mark.parametrize("target", [tp.contrast(0, 1), tp.probability(0), lambda output: output[:, 0]], ids=["-", "p", "f"])
@pytest.mark.parametrize(("method", "name"), declared("class_only"))
def test_class_only_anything_else_is_refused(method: str, name: str, target: Any) -> None:
    with pytest.raises(MethodError, match="give a class"):
        explain(method, vision_model(name), pictures(1), target)


@pytest.mark.parametrize(("method", "name"), declared("at_image"))
def test_at_image_the_predicted_class_costs_no_pass_and_is_the_same(method: str, name: str) -> None:
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


@pytest.mark.parametrize("fill", [0.0, 0.7])
@pytest.mark.parametrize("method", WITH["linear_exact"])
def test_linear_exact_the_closed_form_on_a_linear_model(method: str, fill: float) -> None:
    model, images = shared("linear"), pictures(2)
    settings, truth = LINEAR[method]
    weights = model.module[1].weight.detach().view(-1, 3, SIDE, SIDE)
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


@pytest.mark.parametrize("method", WITH["dummy"])
def test_dummy_what_the_model_ignores_gets_nothing(method: str) -> None:
    torch.manual_seed(0)
    values = explain(method, wrapped(LeftHalf().double()), pictures(2), 1).values
    # one picture in batches of two sizes: its two scores, whose difference is the value, may differ in their last bits
    assert values[..., SIDE // 2 :].abs().max() <= 1e-13
    assert (values[..., : SIDE // 2] != 0).any()


@pytest.mark.parametrize(("method", "name"), declared("complete"))
def test_complete_the_values_sum_to_the_score_difference(method: str, name: str) -> None:
    model, images = shared(name), pictures(2)
    settings, baseline, smooth, kinked = COMPLETE[method]
    result = explain(method, model, images, 2, **settings)
    difference = (forward_logits(model, images) - forward_logits(model, baseline(images)))[:, 2]
    tolerance = smooth if name in ("linear", "linear_conv", "channels_last", "vit_token", "vit_mean") else kinked
    assert ((result.values.sum((1, 2, 3)) - difference).abs() <= tolerance * difference.abs().clamp(min=0.1)).all()


@pytest.mark.parametrize(("method", "name"), declared("linear_in_score"))
def test_linear_in_score_the_map_of_a_contrast_is_the_difference_of_the_maps(method: str, name: str) -> None:
    model, images = shared(name), pictures(2)
    a, b = (explain(method, model, images, target).values for target in (1, 4))
    close(explain(method, model, images, tp.contrast(1, 4)).values, a - b)
    assert explain(method, model, images, [tp.contrast(1, 4), 3]).target == ("class 1 rather than class 4", "class 3")


@pytest.mark.parametrize(("method", "name"), declared("map_of_layer"))
def test_map_of_layer_the_values_have_the_layers_own_grid(method: str, name: str) -> None:
    model, images = shared(name), pictures(1)
    for layer in (None,) if "pooled_layer" in lookup(method).laws else (None, EARLY[name]):
        result = explain(method, model, images, 1, layer=layer)
        assert result.layer is not None
        assert layer in (None, result.layer)
        assert tuple(result.values.shape) == (1, 1, *model.survey[result.layer].grid)  # type: ignore[misc]
        assert any("was chosen" in note for note in result.notes) == (
            layer is None
        )  # a choice that was made for the user is told


@pytest.mark.parametrize(("method", "name"), declared("positive_layer"))
def test_positive_layer_negative_activations_are_told(method: str, name: str) -> None:
    model, images = shared(name), pictures(1)
    for layer in (None, EARLY[name]):
        result = explain(method, model, images, 1, layer=layer)
        with tp.capture(model, str(result.layer)) as acts:
            model(images)
        told = any("negative activations" in note and "without" not in note for note in result.notes)
        assert told == bool(acts[str(result.layer)].min() < 0)


@pytest.mark.parametrize(("method", "name"), declared("pooled_layer"))
def test_pooled_layer_the_mean_over_places_is_the_score_without_the_bias(method: str, name: str) -> None:
    module = net(name)
    *_, bias = module.parameters()
    images = pictures(2)
    values = explain(method, wrapped(module, name), images, [1, 3]).values
    with torch.no_grad():
        bias[:] = 0
        scores = forward_logits(wrapped(module, name), images)[[0, 1], [1, 3]]
    close(values.mean((1, 2, 3)), scores)


@pytest.mark.parametrize(("method", "name"), declared("target_free"))
def test_target_free_every_class_has_the_same_map(method: str, name: str) -> None:
    one, other = (explain(method, shared(name), pictures(2), target).values for target in (1, 3))
    assert torch.equal(one, other)


class Sealed(nn.Module):
    """Answers, and never gives a gradient: an exported or a wrapped service."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner(images)


@pytest.mark.parametrize("method", METHODS)
def test_forward_only_methods_need_no_gradient_and_the_others_say_that_they_do(method: str) -> None:
    plain = net(home(method, "reused"))
    sealed = Sealed(net(home(method, "reused")))
    images, laws = pictures(2), lookup(method).laws
    if {"forward_only", "baseline"} & laws:
        close(explain(method, wrapped(sealed), images, 1).values, explain(method, wrapped(plain), images, 1).values)
        return
    with pytest.raises((TargetError, MethodError)) as caught:
        explain(method, wrapped(sealed), images, 1)
    assert "gradient" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_baseline_methods_do_not_look_at_the_weights_and_every_other_method_does(method: str) -> None:
    images = pictures(2)
    one, two = (explain(method, vision_model(home(method, "reused"), seed), images, 1).values for seed in (0, 1))
    assert torch.equal(one, two) == ("baseline" in lookup(method).laws)
