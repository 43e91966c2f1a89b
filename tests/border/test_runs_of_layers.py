"""A layer that runs several times: each run has a name, and whoever names none is told which one it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import CLASSES, conv, pictures, vision_model, wrapped

import tapetum as tp
from tapetum.types import LayerError


class Siamese(nn.Module):
    """One trunk for the image and for its mirror image; nothing else has a map."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 8, 2), nn.ReLU())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        both = self.trunk(images), self.trunk(0.5 * images.flip(-1))
        return self.head(torch.cat([one.mean((2, 3)) for one in both], 1))


class Frames(nn.Module):
    """Three crops as frames of a loop, and their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(conv(3, 8, 2), nn.ReLU()), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        frames = [self.trunk(images.roll(k, -1) * (k + 1)).mean((2, 3)) for k in range(3)]
        return self.head(torch.stack(frames).mean(0))


class Refined(nn.Module):
    """A state that one step refines three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.trunk, self.head = conv(3, 8, 2), conv(8, 8), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        state = self.stem(images)
        for _ in range(3):
            state = state + self.trunk(state.relu())
        return self.head(state.relu().mean((2, 3)))


NETS = {"siamese": (Siamese, 2), "frames": (Frames, 3), "refined": (Refined, 3)}


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NETS[name][0]().double().eval()


def at_run(net: nn.Module, images: Tensor, run: int, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """(activation of that run of the trunk, logits), with its channels scaled."""
    kept: list[Tensor] = []

    def change(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output * scale if len(kept) == run + 1 else output

    handle = net.get_submodule("trunk").register_forward_hook(change)
    logits = net(images)
    handle.remove()
    return kept[run], logits


@pytest.mark.parametrize("name", list(NETS))
def test_every_run_has_its_own_gradient_and_ablation(name: str) -> None:
    net, images, targets = built(name), pictures(2), [1, 3]
    model, runs = wrapped(net), NETS[name][1]
    for run in range(runs):
        maps, logits = at_run(net, images, run)
        (grad,) = torch.autograd.grad(logits[range(2), targets].sum(), maps)
        cam = tp.grad_cam(model, images, targets, layer=f"trunk[{run}]")
        torch.testing.assert_close(cam.values, (grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).detach())
        assert cam.layer == f"trunk[{run}]"
        assert not any("times" in note for note in cam.notes)
        drops = torch.zeros_like(maps[:, :1])
        for k in range(8):
            without = at_run(net, images, run, 1 - torch.eye(8, dtype=maps.dtype)[k][:, None, None])[1]
            share = ((logits - without) / logits.abs())[range(2), targets]
            drops += share[:, None, None, None] * maps[:, k : k + 1]
        ablated = tp.ablation_cam(model, images, targets, layer=f"trunk[{run}]")
        torch.testing.assert_close(ablated.values, drops.detach())
        with tp.capture(model, f"trunk[{run}]") as acts:
            assert model(images) is None
        torch.testing.assert_close(acts[f"trunk[{run}]"], maps.detach())
        torch.testing.assert_close(tp.saliency(model, images, tp.Unit(f"trunk[{run}]", 2)).values, of_unit(net, images, run))


def of_unit(net: nn.Module, images: Tensor, run: int) -> Tensor:
    leaf = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(at_run(net, leaf, run)[0][:, 2].mean((1, 2)).sum(), leaf)
    return grad.abs()


@pytest.mark.parametrize("name", list(NETS))
@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam", "eigen_cam", "layer_cam", "score_cam"])
def test_without_a_run_it_is_the_last_one_and_a_note_says_so(name: str, method: str) -> None:
    model, runs = wrapped(built(name)), NETS[name][1]
    result = getattr(tp, method)(model, pictures(1), 1, layer="trunk")
    last = getattr(tp, method)(model, pictures(1), 1, layer="trunk[-1]")
    assert last.layer == f"trunk[{runs - 1}]"
    torch.testing.assert_close(result.values, last.values)
    assert f"trunk runs {runs} times; this is its last run: trunk[0] to trunk[{runs - 1}] name one each" in result.notes


def test_a_trunk_that_everything_goes_through_twice_is_chosen_and_named() -> None:
    result = tp.grad_cam(wrapped(built("siamese")), pictures(1), 1)
    assert result.layer == "trunk.2"
    assert any("trunk.2 runs 2 times" in note for note in result.notes)


def test_a_run_that_there_is_not_is_refused_with_those_there_are() -> None:
    model = wrapped(built("siamese"))
    with pytest.raises(LayerError, match=r"no layer 'trunk\[2\]' in net; trunk runs 2 times: trunk\[0\], trunk\[1\]"):
        tp.grad_cam(model, pictures(1), 1, layer="trunk[2]")
    with pytest.raises(LayerError, match=r"no layer 'head\[0\]'"):
        tp.grad_cam(model, pictures(1), 1, layer="head[0]")


def test_relevance_and_its_conditions_are_those_of_one_run() -> None:
    model, images = wrapped(built("siamese")), pictures(1)
    one, two = (tp.concept_relevance(model, images, 1, layer=f"trunk[{run}]", k=8) for run in (0, 1))
    torch.testing.assert_close(tp.concept_relevance(model, images, 1, layer="trunk", k=8).relevance, two.relevance)
    logit = built("siamese")(images)[0, 1] - built("siamese").get_submodule("head").bias[1]
    torch.testing.assert_close(one.total + two.total, logit[None].detach(), rtol=1e-4, atol=1e-6)
    through = [tp.lrp(model, images, 1, through=f"trunk[{run}]:{k}").values for run in (0, 1) for k in range(8)]
    whole = tp.lrp(model, images, 1).values  # R_0 + R_1; through a channel of one run, all of the other's still arrives
    torch.testing.assert_close(torch.stack(through).sum(0), 9 * whole)


def test_units_pictures_and_inspections_say_which_run_it_was() -> None:
    model, images = wrapped(built("siamese")), pictures(1)
    words = "trunk runs 2 times; this is its last run: trunk[0] to trunk[1] name one each"
    assert words in tp.saliency(model, images, "trunk:3").notes
    assert words in tp.visualize(model, "trunk:3", n_steps=1).notes
    assert words in tp.activation_maps(model, images, layers="trunk")[0].notes
    assert tp.activation_maps(model, images, layers="trunk[0]")[0].layer == "trunk[0]"
    assert not tp.visualize(model, "trunk[0]:3", n_steps=1).notes


class TwoMaps(nn.Module):
    """Gives two maps; the head reads the second one, which no module gives."""

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.weight = conv(3, 8, 2), nn.Parameter(torch.randn(8, 8, 3, 3))

        def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            early = self.one(images).relu()
            return early, {"late": torch.nn.functional.conv2d(early, self.weight, padding=1)}

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.Backbone(), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[1]["late"].relu().mean((2, 3)))


@pytest.mark.parametrize("layer", [None, "backbone/1.late"])
def test_another_output_of_a_layer_has_a_name_and_is_chosen_where_it_is_the_one_that_is_read(layer: str | None) -> None:
    torch.manual_seed(0)
    net, images = TwoMaps().double().eval(), pictures(2)
    kept: list[Tensor] = []
    handle = net.backbone.register_forward_hook(lambda _module, _args, out: kept.append(out[1]["late"]))
    logits = net(images)
    handle.remove()
    (grad,) = torch.autograd.grad(logits[:, 1].sum(), kept[0])
    cam = tp.grad_cam(wrapped(net), images, 1, layer=layer)
    assert cam.layer == "backbone/1.late"
    torch.testing.assert_close(cam.values, (grad.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).detach())
    ablated = tp.ablation_cam(wrapped(net), images, 1, layer="backbone/1.late")  # resumed behind the backbone
    drops = torch.zeros_like(kept[0][:, :1])
    for k in range(8):
        keep = 1 - torch.eye(8, dtype=images.dtype)[k][:, None, None]
        share = (logits - net.head((kept[0] * keep).relu().mean((2, 3))))[:, 1] / logits[:, 1].abs()
        drops += share[:, None, None, None] * kept[0][:, k : k + 1]
    torch.testing.assert_close(ablated.values, drops.detach())
    with pytest.raises(LayerError, match=r"does not read what backbone returns.*backbone/1.late"):
        tp.grad_cam(wrapped(net), images, 1, layer="backbone")
    with pytest.raises(LayerError, match=r"backbone gives several outputs: backbone/0, backbone/1.late"):
        tp.grad_cam(wrapped(net), images, 1, layer="backbone/2")


# --- watching


def test_what_was_not_captured_is_refused_with_the_reason() -> None:
    model, images = vision_model("in_place"), pictures(1)
    with tp.capture(model, "features.2") as acts:
        model.module(images)
    with pytest.raises(LayerError, match=r"a pass of model\.module is another network's"):
        acts["features.2"]


@pytest.mark.parametrize("first", [True, False])
def test_what_the_model_finds_out_about_itself_is_not_captured(first: bool) -> None:
    model, images = vision_model("in_place"), pictures(1)
    names = ["features.2", "features.6"]
    with tp.capture(model, names) as acts:
        if first:
            model.laid_out(images)  # one pass on a blank image
        assert model(images) is None
        if not first:
            model.laid_out(images)
    with tp.capture(vision_model("in_place"), names, stop=False) as wanted:
        pass
    fresh = vision_model("in_place")
    with tp.capture(fresh, names) as wanted:
        fresh(images)
    assert all(torch.equal(acts[name], wanted[name]) for name in names)


@pytest.mark.parametrize(
    ("outer", "inner"), [("features.2", "features.2"), ("features.6", "features.2"), ("features.2", "features.6")]
)
def test_captures_inside_one_another_are_both_filled(outer: str, inner: str) -> None:
    model, images = vision_model("in_place"), pictures(1)
    with tp.capture(model, outer) as around, tp.capture(model, inner) as inside:
        assert model(images) is None
    for acts, name in ((around, outer), (inside, inner)):
        with tp.capture(model, name) as alone:
            model(images)
        assert torch.equal(acts[name], alone[name])


def test_methods_inside_a_capture_run_to_their_end() -> None:
    model, images = vision_model("in_place"), pictures(1)
    wanted = tp.grad_cam(model, images, 1).values
    with tp.capture(model, "features.2"):
        torch.testing.assert_close(tp.grad_cam(model, images, 1).values, wanted)
        assert len(tp.predict(model, images)[0]) == 5
        torch.testing.assert_close(
            tp.occlusion(model, images, 1).values, tp.occlusion(vision_model("in_place"), images, 1).values
        )


def test_a_module_of_the_network_is_its_name() -> None:
    model, images = vision_model("in_place"), pictures(1)
    part = model.module.features[2]
    assert tp.grad_cam(model, images, 1, layer=part).layer == "features.2"
    assert tp.grad_cam(model, images, 1, layer=[part, "features.6"]).layer == "features.2, features.6"
    assert tp.activation_maps(model, images, layers=part)[0].layer == "features.2"
    with tp.capture(model, part) as acts:
        model(images)
    assert list(acts) == ["features.2"]
    with pytest.raises(LayerError, match="this Conv2d is no module of in_place"):
        tp.grad_cam(model, images, 1, layer=nn.Conv2d(3, 3, 1))
    with pytest.raises(LayerError, match="this InPlace is the network itself"):
        tp.grad_cam(model, images, 1, layer=model.module)
