"""`capture` sees what a layer really gave; `edit` changes it; both leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import EARLY, NETS, Head, conv, net, pictures, shared, vision_model, wrapped

import tapetum as tp
from tapetum.engines.scores import as_score, forward_logits
from tapetum.types import LayerError, Unit

WITH_MAPS = [name for name in NETS if name != "linear"]


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_captured_values_are_those_before_an_in_place_operation() -> None:
    model, image = shared("residual"), pictures(1)
    with tp.capture(model, "first.two") as acts:
        model(image)
    block = model.module.first
    stem = model.module.stem(image)
    expected = block.two(block.one(stem).relu()).detach()  # before `out += identity` and the ReLU
    torch.testing.assert_close(acts["first.two"].detach(), expected, rtol=1e-12, atol=1e-12)


def test_tokens_and_channels_last_arrive_as_maps_at_their_own_places() -> None:
    image = pictures(1)
    with tp.capture(shared("channels_last"), ["first.norm", "first"]) as acts:
        shared("channels_last")(image)
    block = shared("channels_last").module.first
    normed = block.norm(block.depthwise(shared("channels_last").module.stem(image)).permute(0, 2, 3, 1))
    torch.testing.assert_close(acts["first.norm"], normed.permute(0, 3, 1, 2), rtol=1e-12, atol=1e-12)

    for name, prefix in (("vit_token", 1), ("vit_mean", 0)):
        with tp.capture(shared(name), "blocks.0") as maps:
            shared(name)(image)
        with tp.capture(shared(name), "blocks.0", raw=True) as raw:
            shared(name)(image)
        tokens, grid = raw["blocks.0"], maps["blocks.0"]
        assert tokens.shape == (1, 16 + prefix, 8)
        for place in range(16):
            assert torch.equal(grid[0, :, place // 4, place % 4], tokens[0, prefix + place])


def test_stop_ends_the_pass_after_the_last_layer_and_not_before() -> None:
    model, ran = vision_model("residual"), []
    assert model.survey.order  # has run before the hooks below listen
    for name, part in model.replica.named_modules():
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    with tp.capture(model, ["stem", "first"]) as acts:
        assert model(pictures(1)) is None
    assert list(acts) == ["stem", "first"]
    assert "first" in ran
    assert not {"down", "second", "head", ""} & set(ran)
    with tp.capture(model, ["stem"], stop=False) as acts:
        assert isinstance(model(pictures(1)), Tensor)
    assert "head" in ran


def test_a_globs_layers_are_all_captured() -> None:
    model = shared("residual")
    with tp.capture(model, ["*.one", "down"]) as acts:
        model(pictures(2))
    assert set(acts) == {"first.one", "second.one", "down"}
    assert {len(maps) for maps in acts.values()} == {2}


def test_a_layer_that_runs_several_times_keeps_its_last_activation() -> None:
    model, image = shared("reused"), pictures(1)
    with tp.capture(model, "relu") as acts:
        model(image)
    with tp.capture(model, "three") as before:
        model(image)
    assert torch.equal(acts["relu"], before["three"].clamp(min=0))


def test_unknown_layers_are_refused_with_close_names() -> None:
    with (
        pytest.raises(LayerError, match=r"^no layer 'frist' in residual; close names: first.*$"),
        tp.capture(shared("residual"), "frist"),
    ):
        pass


def test_a_plain_module_is_watched_as_it_is() -> None:
    module, image = net("in_place").eval(), pictures(1)
    with tp.capture(module, ["features.0", "features.1"]) as acts:
        output = module(image)
    assert isinstance(output, Tensor)  # to its end
    expected = module.features[1](module.features[0](image))
    assert torch.equal(acts["features.1"], expected)  # although an in-place ReLU follows
    assert hooks(module) == 0
    with pytest.raises(LayerError, match="no layer 'absent' in InPlace"), tp.capture(module, "absent"):
        pass


@pytest.mark.parametrize("raised", [KeyError, KeyboardInterrupt])
def test_hooks_are_gone_after_an_error_in_the_block(raised: type[BaseException]) -> None:
    model, module = vision_model("in_place"), net("in_place")
    with pytest.raises(raised), tp.capture(model, "features.3"), tp.capture(module, "features.3"):
        raise raised
    with pytest.raises(LayerError), tp.capture(model, ["features.3", "absent"]):
        pass
    with pytest.raises(LayerError), tp.capture(module, ["features.3", "absent"]):
        pass
    assert hooks(model.replica) == hooks(model.module) == hooks(module) == 0


def test_blocks_can_be_nested() -> None:
    model, image = shared("residual"), pictures(1)
    with tp.capture(model, "second", stop=False) as outer:
        with tp.capture(model, "first") as inner:
            model(image)
        assert "second" not in outer  # the inner block stopped the pass
        model(image)
    with tp.capture(model, ["first", "second"]) as both:
        model(image)
    assert torch.equal(outer["second"], both["second"])
    assert torch.equal(inner["first"], both["first"])


def test_an_edit_inside_a_capture_is_seen_by_it() -> None:
    model, image = shared("residual"), pictures(1)
    with tp.edit(model, {"first": lambda maps: maps * 0}), tp.capture(model, "down") as acts:
        model(image)
    assert torch.equal(acts["down"], model.module.down.bias.detach().view(1, -1, 1, 1).expand_as(acts["down"]))


@pytest.mark.parametrize("name", WITH_MAPS)
def test_an_edit_that_gives_the_same_changes_nothing_and_one_that_gives_nothing_does(name: str) -> None:
    model, image = shared(name), pictures(2)
    plain = forward_logits(model, image)
    for same in (lambda maps: maps, lambda maps: maps.clone(), lambda maps: None):
        with tp.edit(model, {EARLY[name]: same}):
            assert torch.equal(forward_logits(model, image), plain)
    with tp.edit(model, {EARLY[name]: lambda maps: 0 * maps}):
        changed = forward_logits(model, image)
    assert not torch.allclose(changed, plain)
    assert torch.equal(forward_logits(model, image), plain)


def test_an_edit_may_work_in_place_on_a_copy_of_its_own() -> None:
    """An edit that overwrites the tensor it was given changes this pass, and no weight and no later pass."""
    model, image = vision_model("linear_conv"), pictures(1)
    plain = model(image)
    with tp.edit(model, {"0": lambda maps: maps.zero_()}):
        assert torch.equal(model(image), model.module[3].bias.detach()[None])
    assert torch.equal(model(image), plain)


def test_a_model_survives_other_image_sizes() -> None:
    model = shared("channels_last")
    with tp.capture(model, "first.norm") as acts:
        model(pictures(1, 24))
    assert acts["first.norm"].shape == (1, 8, 12, 12)


class TwoPaths(nn.Module):
    """`late` runs before `early` does, whatever their order in the module."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late, self.head = conv(6, 6), conv(3, 6), Head(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.early(self.late(images)))


def test_the_pass_stops_at_the_last_layer_that_runs_not_the_last_one_named() -> None:
    model = wrapped(TwoPaths().double())
    with tp.capture(model, ["early", "late"]) as acts:
        model(pictures(1))
    assert set(acts) == {"early", "late"}


def test_the_score_of_a_unit_is_its_activation() -> None:
    model, images = shared("residual"), pictures(2)
    with tp.capture(model, "second") as acts:
        model(images)
    score = as_score(model, images, [Unit("second", 3, (2, 5)), Unit("second", 1)])
    expected = torch.stack([acts["second"][0, 3, 2, 5], acts["second"][1, 1].mean()])
    assert torch.equal(score(images), expected)
    assert torch.equal(score.take([1])(images[1:]), expected[1:])
