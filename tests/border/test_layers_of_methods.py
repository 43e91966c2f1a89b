"""One layer, several, or the best: what `layer=` and `fuse=` mean for every method that has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from zoo import pictures, shared, vision_model

import tapetum as tp
from tapetum.types import LayerError, MethodError

BOTH = ["features.2", "features.6"]


def test_several_layers_are_fused_on_the_finest_grid_each_by_its_largest_magnitude() -> None:
    model, images = shared("in_place"), pictures(2)
    fine, coarse = (tp.grad_cam(model, images, [1, 3], layer=layer).values for layer in BOTH)
    assert fine.shape[-2:] == (16, 16)
    assert coarse.shape[-2:] == (8, 8)
    fine, coarse = (maps / maps.abs().amax((2, 3), keepdim=True) for maps in (fine, coarse))
    coarse = F.interpolate(coarse, (16, 16), mode="bilinear", align_corners=False)
    result = tp.grad_cam(model, images, [1, 3], layer=BOTH)
    torch.testing.assert_close(result.values, (fine + coarse) / 2)
    torch.testing.assert_close(tp.grad_cam(model, images, [1, 3], layer=BOTH, fuse="max").values, torch.maximum(fine, coarse))
    assert result.layer == "features.2, features.6"
    assert "2 layers are fused by their mean" in result.notes
    again = tp.grad_cam(model, images, [1, 3], layer=result.layer)  # what the result says can be asked for again
    assert torch.equal(again.values, result.values)


def test_a_layer_without_any_evidence_adds_nothing_instead_of_dividing_by_zero() -> None:
    model = vision_model("in_place")
    with torch.no_grad():
        model.module.get_parameter(
            "features.4.weight"
        ).zero_()  # the deep layer still has a map, and no gradient gets behind it
    result = tp.grad_cam(model, pictures(1), 1, layer=BOTH)
    assert torch.isfinite(result.values).all()


def test_a_fused_map_of_one_wrong_layer_is_refused_by_name() -> None:
    with pytest.raises(LayerError, match=r"no layer 'features\.99'"):
        tp.grad_cam(shared("in_place"), pictures(1), layer=["features.2", "features.99"])
    with pytest.raises(LayerError, match="a list to fuse"):
        tp.grad_cam(shared("in_place"), pictures(1), layer="features.*")
    with pytest.raises(LayerError, match="a name or several"):
        tp.grad_cam(shared("in_place"), pictures(1), layer=[])


@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam"])
@pytest.mark.parametrize("name", ["residual", "vit_mean", "channels_last"])
def test_the_best_layer_is_the_one_whose_own_map_measures_best(method: str, name: str) -> None:
    model, images = shared(name), pictures(2)
    explain = getattr(tp, method)
    result = explain(model, images, [1, 3], layer="best")
    assert len(result.tried) >= 2
    measured = {
        layer: [one.first for one in tp.judge(model, images, explain(model, images, [1, 3], layer=layer)).each]
        for layer in result.tried
    }
    means = {layer: float(torch.tensor(numbers).nanmean().nan_to_num(-9)) for layer, numbers in measured.items()}
    assert means[result.layer] == max(means.values())
    assert next(iter(result.tried)) == result.layer
    for layer, numbers in result.tried.items():
        assert numbers == pytest.approx(measured[layer], abs=1e-9, nan_ok=True)
    assert any("the most faithful (" in note and "it stands up on " in note for note in result.notes)
    assert torch.equal(result.values, explain(model, images, [1, 3], layer=result.layer).values)
    assert [len(one) for one in result[0].tried.values()] == [1] * len(result.tried)


def test_the_automatic_choice_is_among_the_tried() -> None:
    model, images = shared("residual"), pictures(1)
    assert tp.grad_cam(model, images, 1).layer in tp.grad_cam(model, images, 1, layer="best").tried


def test_a_network_without_maps_refuses_the_best_layer_as_well() -> None:
    with pytest.raises(LayerError, match=r"no spatial map|no layer with a map"):
        tp.grad_cam(shared("linear"), pictures(1), layer="best")


def test_what_was_tried_is_saved(tmp_path: Path) -> None:
    result = tp.grad_cam(shared("residual"), pictures(1), 1, layer="best")
    assert dict(tp.open(tp.save(result, tmp_path / "saved")).tried) == dict(result.tried)


def test_a_profile_that_a_method_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(MethodError, match="grad_cam has no profile 'zennit'; there are captum, grad-cam, torchcam, paper"):
        tp.grad_cam(shared("residual"), pictures(1), like="zennit")
    with pytest.raises(MethodError, match="rise has no profile 'captum'; there is none"):
        tp.rise(shared("residual"), pictures(1), like="captum")


def test_a_profile_changes_defaults_and_leaves_what_is_given() -> None:
    model, images = shared("functional"), pictures(1)
    theirs = tp.integrated_gradients(model, images, 1, like="zennit").values
    ours = tp.integrated_gradients(model, images, 1, n_steps=20, quadrature="right").values
    assert torch.equal(theirs, ours)
    given = tp.integrated_gradients(model, images, 1, like="zennit", n_steps=3).values
    assert torch.equal(given, tp.integrated_gradients(model, images, 1, n_steps=3, quadrature="right").values)


def test_a_profile_does_not_hide_that_nothing_speaks_for_the_target() -> None:
    """Scaled to [0, 1] a map without positive evidence is blank: the status is that of the map before."""
    model, images = shared("residual"), pictures(8)
    for target in range(5):
        plain = tp.grad_cam(model, images, target)
        assert tp.grad_cam(model, images, target, like="grad-cam").status == plain.status


class TwoScales(torch.nn.Module):
    """One module without weights runs on a fine map, then on the chosen coarse one, as CoaT's stochastic depth does."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 4, 3, 2, 1)
        self.drop, self.head = torch.nn.Tanh(), torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.coarse(self.drop(self.fine(x)))).mean((2, 3)))


def test_a_module_that_runs_at_two_scales_is_no_layer_of_one_grid() -> None:
    model = tp.wrap(TwoScales().double(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    result = tp.ablation_cam(model, torch.rand(1, 3, 16, 16, dtype=torch.float64), 1)
    assert result.layer == "coarse"
    assert result.values.shape[-2:] == (4, 4)
