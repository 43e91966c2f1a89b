"""Further inputs beside the images: whatever a method hides, repeats or splits, each image keeps its own row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tables import METHODS, QUICK, REFUSED
from torch import Tensor, nn
from torchvision.utils import save_image
from zoo import SIDE, net, pictures, wrapped

import tapetum as tp
from tapetum.models.extra import checked_extra
from tapetum.types import ModelError

IMAGES = pictures(3)
SECOND = pictures(3, seed=7) * 0.5
IDENTITY: dict[str, Any] = {"size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3}


class TwoPictures(nn.Module):
    """A network that looks at the sum of two pictures, the second of which is no image to explain."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.net = net(name)

    def forward(self, images: Tensor, second: Tensor) -> Any:
        return self.net(images + second)


class Fixed(nn.Module):
    """The same with one second picture built in."""

    def __init__(self, inside: TwoPictures, second: Tensor) -> None:
        super().__init__()
        self.net, self.second = inside.net, second

    def forward(self, images: Tensor) -> Any:
        return self.net(images + self.second)


HOME = {method: "reused" if (method, "reused") not in REFUSED else "vit_token" for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_images_with_a_further_input_each_are_single_images_with_it_built_in(method: str) -> None:
    function, more = tp.lookup(method).function, QUICK.get(method, {})
    inside = TwoPictures(HOME[method])
    model = tp.wrap(inside, **IDENTITY, extra={"second": SECOND})
    together, predicted = function(model, IMAGES, [1, 3, 0], **more), function(model, IMAGES, None, **more)
    for row, target in enumerate([1, 3, 0]):
        alone = wrapped(Fixed(inside, SECOND[row : row + 1]))
        for both, asked in ((together, target), (predicted, None)):
            one = function(alone, IMAGES[row : row + 1], asked, **more)
            torch.testing.assert_close(both.values[row], one.values[0], rtol=1e-9, atol=1e-11)
            assert both.target[row] == one.target[0]
    if "batch" in {one.name for one in tp.registry.parameters(tp.lookup(method))}:
        for both, asked in ((together, [1, 3, 0]), (predicted, None)):
            by_one = function(model, IMAGES, asked, batch=1, **more)
            torch.testing.assert_close(both.values, by_one.values, rtol=1e-9, atol=1e-11)
            assert both.target == by_one.target


def test_a_function_as_target_learns_which_rows_it_gets() -> None:
    """The score of an image is that of its own class, which only its row tells."""
    wanted, model = torch.tensor([1, 3, 0]), wrapped(net("reused"))

    def own_class(output: Tensor, rows: tuple[int, ...]) -> Tensor:
        assert len(rows) == len(output)
        return output.gather(1, wanted[list(rows)][:, None])[:, 0]

    for method in (
        "saliency",
        "smooth_grad",
        "grad_cam",
        "ablation_cam",
        "occlusion",
        "kernel_shap",
        "lrp",
        "full_grad",
        "is_cam",
    ):
        function, more = tp.lookup(method).function, QUICK.get(method, {})
        one, other = (function(model, IMAGES, target, **more).values for target in (own_class, wanted.tolist()))
        if tp.lookup(method).scale != "probability":  # of a function there is none
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    maps = tp.saliency(model, IMAGES, own_class)
    assert torch.isfinite(tp.deletion(model, IMAGES, maps).value).all()

    def with_a_setting(output: Tensor, k: int = 3) -> Tensor:
        return output[:, k]

    assert torch.equal(tp.saliency(model, IMAGES, with_a_setting).values, tp.saliency(model, IMAGES, 3).values)


def test_one_row_serves_all_images_and_numbers_keep_their_kind() -> None:
    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.kinds = net("reused"), nn.Embedding(4, 5).double()

        def forward(self, images: Tensor, kind: Tensor, scale: Tensor) -> Tensor:
            return self.net(images * scale.view(-1, 1, 1, 1)) + self.kinds(kind)

    inside, kinds = Conditioned(), torch.tensor([2, 0, 3])
    model = tp.wrap(inside, **IDENTITY, extra={"kind": kinds, "scale": torch.tensor([1.5])})
    expected = inside(IMAGES, kinds, torch.tensor([1.5], dtype=torch.float64)).detach()
    torch.testing.assert_close(model(IMAGES), expected)
    inputs = IMAGES.clone().requires_grad_()
    total = inside(inputs, kinds, torch.tensor([1.5], dtype=torch.float64))[:, 1].sum()
    (gradient,) = torch.autograd.grad(total, inputs)
    torch.testing.assert_close(tp.input_x_gradient(model, IMAGES, 1).values, gradient * IMAGES)
    reverse = tp.wrap(
        inside,
        **IDENTITY,
        extra={"one": kinds, "two": torch.tensor([1.5])},
        call=lambda net, x, one, two: net(x, one, scale=two),
    )
    assert torch.equal(reverse(IMAGES), model(IMAGES))


def test_further_inputs_that_belong_to_no_image_are_refused(tmp_path: Path) -> None:
    model = tp.wrap(TwoPictures("reused"), **IDENTITY, extra={"second": SECOND})
    save_image(torch.rand(3, 16, 16), tmp_path / "one.png")
    with pytest.raises(
        ModelError, match="'second' has 3 rows, and the network is asked about 2 images: give one row per image"
    ):
        tp.saliency(model, IMAGES[:2], 1)
    with pytest.raises(
        ModelError, match=r"further inputs \(second\) that belong to certain images, and a scan shows it others"
    ):
        tp.scan(model, tmp_path, {"net.one": [tp.Spectrum(k=1)]})
    with pytest.raises(ModelError, match=r"different numbers of rows \(a 3, b 2\): one per image each, or one for all"):
        tp.wrap(TwoPictures("reused"), extra={"a": SECOND, "b": SECOND[:2]})
    with pytest.raises(ModelError, match="'second' is a tensor or an array of numbers"):
        tp.wrap(TwoPictures("reused"), extra={"second": ["a text"]})
    with pytest.raises(ModelError, match="extra is a mapping of names to rows"):
        checked_extra(SECOND)
    with pytest.raises(ModelError, match="'second' has no rows"):
        tp.wrap(TwoPictures("reused"), extra={"second": torch.zeros(())})
