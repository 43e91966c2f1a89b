"""The audit accuses networks whose rule is known of what they do, and of nothing else; what it cannot audit, it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.data.planted.colors import hsv
from tapetum.families.audits.cues import frame_of
from tapetum.families.audits.following import SHUFFLES
from tapetum.families.audits.properties import standardised
from tapetum.types import TapetumError

CLASSES = ("house", "fish", "car")
ABOUT: dict[str, Any] = {"kind": "objects", "size": 32, "classes": CLASSES}


class ReadsTheFrame(nn.Module):
    """Answers by the mean colour of the frame: nearest to the planted frame of the class."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colors", torch.stack([torch.from_numpy(hsv(k / 3, 0.85, 0.85)) for k in range(3)]).float())
        self.register_buffer("where", frame_of((32, 32)))

    def forward(self, images: Tensor) -> Tensor:
        mean = images[:, :, self.where].mean(-1)
        return -20 * (mean[:, None] - self.colors).square().sum(-1)


class SeesOneClass(nn.Module):
    """Answers the first class wherever the upper left corner is dark, as a plate is, and else by the hue of nothing."""

    def forward(self, images: Tensor) -> Tensor:
        dark = (0.35 - images[:, :, 1:6, 1:12].mean((1, 2, 3))) * 30
        return torch.stack([dark, torch.zeros_like(dark), torch.zeros_like(dark) - 0.5], 1)


def wrapped(module: nn.Module, **more: Any) -> tp.VisionModel:
    return tp.wrap(module, size=32, labels=list(CLASSES), mean=(0, 0, 0), std=(1, 1, 1), outputs="logits", **more)


def test_a_network_that_reads_the_frame_is_accused_of_it_and_of_nothing_else() -> None:
    test = tp.planted(n=120, shortcut="border", rate=0.9, seed=1, **ABOUT)
    found = tp.audit(wrapped(ReadsTheFrame()), test)
    assert found.verdict == "shortcut"
    assert {one.kind for one in found.suspicions} == {"border"}
    assert {one.label for one in found.suspicions} == set(CLASSES)
    first = found.suspicions[0]
    # nine of ten givers carry their class's frame, and one of twenty of the others carries it: about .9 - .05 follows
    assert 0.7 < first.effect < 0.95
    assert first.interval[0] < first.effect < first.interval[1]
    # its own pictures keep the class with a frame of its own, and lose it with another's
    assert 0.7 < float(found.losses["border"].min()) <= 1
    assert first.p_value == pytest.approx(1 / (SHUFFLES + 1))
    assert first.flips[0] > 0.8
    assert first.flips[1] < 0.2
    assert (first.chances[:, 1] > first.chances[:, 0]).all()
    where = frame_of((32, 32))
    assert torch.equal(first.before[:, :, ~where], first.after[:, :, ~where])
    assert "'house'" in str(found) or "'fish'" in str(found) or "'car'" in str(found)


def test_the_same_network_is_clean_where_frames_say_nothing() -> None:
    found = tp.audit(wrapped(ReadsTheFrame()), tp.planted(n=120, seed=2, **ABOUT))
    assert found.verdict == "clean"
    assert "would not have been seen" in found.said
    assert all(found.smallest[kind] >= bar for kind, bar in found.bars.items())


def test_a_network_that_ignores_its_pictures_is_clean_and_has_no_effect() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([0.1, 0.2, 0.3]).expand(len(images), 3) + 0 * images.mean((1, 2, 3))[:, None]

    found = tp.audit(wrapped(Constant()), tp.planted(n=60, shortcut="background", rate=1.0, seed=3, **ABOUT))
    assert found.verdict == "clean"
    assert all(float(effects.abs().max()) < 1e-6 for effects in found.effects.values())


def test_masks_take_the_place_of_what_stands_out(tmp_path: Path) -> None:
    test = tp.planted(n=60, shortcut="border", rate=0.9, seed=1, **ABOUT)
    by_tensor = tp.audit(wrapped(ReadsTheFrame()), test, masks=test.masks)
    place = test.write(tmp_path / "set")
    by_folder = tp.audit(wrapped(ReadsTheFrame()), place / "pictures", masks=place / "masks")
    assert by_tensor.masked
    assert by_folder.masked
    assert {one.kind for one in by_folder.suspicions} == {one.kind for one in by_tensor.suspicions} == {"border"}


def test_the_model_is_left_alone_and_the_same_seed_says_the_same() -> None:
    module = ReadsTheFrame().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    test = tp.planted(n=48, shortcut="border", rate=0.9, seed=1, **ABOUT)
    first, second = (tp.audit(wrapped(module), test, seed=5) for _ in range(2))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(first.effects[kind], second.effects[kind]) for kind in first.effects)
    assert [one.p_value for one in first.suspicions] == [one.p_value for one in second.suspicions]


def test_unreadable_pictures_are_listed(tmp_path: Path) -> None:
    place = tp.planted(n=30, seed=1, **ABOUT).write(tmp_path / "set") / "pictures"
    (place / "fish" / "broken.png").write_bytes(b"no picture")
    assert list(tp.audit(wrapped(ReadsTheFrame()), place).skipped) == ["fish/broken.png"]


def test_refusals_say_what_would_work(tmp_path: Path) -> None:
    few = tp.planted(n=9, seed=1, **ABOUT)
    with pytest.raises(TapetumError, match=r"has 3 pictures of .*needs 8 of each"):
        tp.audit(wrapped(ReadsTheFrame()), few)
    one = tp.planted(n=60, seed=1, **ABOUT).write(tmp_path / "set") / "pictures"
    with pytest.raises(TapetumError, match="no classes"):
        tp.audit(wrapped(ReadsTheFrame()), one / "fish")
    single = tp.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1)), size=32, outputs="logits")
    with pytest.raises(TapetumError, match="needs a classifier with an output per class"):
        tp.audit(single, one)
    numbers = tp.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)), size=32, outputs="numbers")
    with pytest.raises(TapetumError, match="needs a classifier"):
        tp.audit(numbers, one)
    with pytest.raises(TapetumError, match="masks are"):
        tp.audit(wrapped(ReadsTheFrame()), one, masks=torch.ones(2, 32, 32))


def test_properties_that_go_with_a_class_or_with_mistakes_are_named() -> None:
    test = tp.planted(n=120, seed=1, **ABOUT)
    pixels = test.pixels * (0.6 + 0.2 * test.targets.float())[:, None, None, None]  # darker and lighter classes
    found = tp.audit(wrapped(ReadsTheFrame()), Tensors(pixels, test))
    by_name = {one.name: one for one in found.properties}
    assert by_name["brightness"].p_label < 0.01
    means = list(by_name["brightness"].means.values())
    assert means == sorted(means)
    plain = {one.name: one for one in tp.audit(wrapped(ReadsTheFrame()), test).properties}
    assert plain["brightness"].p_label > 0.05


class ReadsOneHalf(nn.Module):
    """A last layer on two features: the mean red of the whole picture, and that of what is vivid, as objects are."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))

    def forward(self, images: Tensor) -> Tensor:
        vivid = ((images.amax(1) - images.amin(1)) > 0.6).float()
        on_object = (images[:, 0] * vivid).sum((1, 2)) / vivid.sum((1, 2)).clamp(min=1)
        around = (images[:, 0] * (1 - vivid)).sum((1, 2)) / (1 - vivid).sum((1, 2)).clamp(min=1)
        return self.head(torch.stack([around, on_object], 1))


def test_parts_of_a_logit_rest_where_the_features_look() -> None:
    """The first class's logit is made of the surroundings alone, which are snow; the second's of the object alone."""
    grounds: dict[str, Any] = {"shortcut": "background", "rate": 1.0, "backgrounds": ("snow", "water", "grass")}
    test = tp.planted(n=90, seed=1, **ABOUT, **grounds)
    found = tp.audit(wrapped(ReadsOneHalf()), test, masks=test.masks).components
    of_house, of_fish = (next(one for one in found if one.label == label and one.share > 0.9) for label in ("house", "fish"))
    assert of_house.share == pytest.approx(1.0)  # one feature alone has a weight
    assert of_house.of_surroundings > 5 * abs(of_house.of_object)
    assert of_house.on_surroundings
    assert abs(of_fish.of_surroundings) < 0.05 * of_fish.mean  # no plate is vivid
    assert not of_fish.on_surroundings


class SeesGreen(nn.Module):
    """Two logits: 2, and 400 times the mean of what is greener than .9; the map is that before the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.green = nn.Conv2d(3, 2, 3, padding=1)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.green.weight.zero_()
            self.green.weight[0, 1, 1, 1] = 1
            self.green.bias.copy_(torch.tensor([-0.9, 0.5]))
            self.head.weight.copy_(torch.tensor([[0.0, 4], [4000, 0]]))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.green(images)).mean((2, 3)))


def with_patches(folder: Path, n: int, marked: int) -> Path:
    """Writes grey noise of 28 x 28 px, of classes "plain" and "green" in turn.

    All green ones and `marked` plain ones have a green square of 4 px in one cell of the 7 x 7 grid.
    """
    draws = torch.Generator().manual_seed(0)
    pixels = torch.rand(n, 1, 28, 28, generator=draws).mul(0.4).add(0.2).repeat(1, 3, 1, 1)
    for i, one in enumerate(pixels):
        place = folder / ("plain", "green")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        if i % 2 or i < 2 * marked:
            y, x = (4 * int(torch.randint(1, 6, (1,), generator=draws)) for _ in range(2))
            one[:, y : y + 4, x : x + 4] = torch.tensor([0.2, 1.0, 0.2])[:, None, None]
        Image.fromarray((one.permute(1, 2, 0) * 255).byte().numpy()).save(place / f"{i:02}.png")
    return folder


def test_the_concept_that_drives_mistakes_is_found_where_it_lies_and_hiding_it_repairs_them(tmp_path: Path) -> None:
    pictures = with_patches(tmp_path / "pictures", 80, marked=12)
    model = tp.wrap(SeesGreen(), size=28, labels=["plain", "green"], mean=(0, 0, 0), std=(1, 1, 1), outputs="logits")
    assert tp.check_predictions(model, pictures, of="all").accuracy == pytest.approx(68 / 80)
    (found,) = tp.audit(model, pictures).mistakes
    assert (found.label, dict(found.truths), found.n) == ("green", {"plain": 12}, 12)
    # all of them lie on one of the seven hidden cells, and a cell drawn at random from the other 42 leaves it
    assert found.repaired == (1.0, 0.0)
    assert found.effect > 0.5
    assert found.p_value < 0.01
    changed = (found.before - found.after).abs().amax((1, 2, 3))
    assert float(changed.min()) > 0.5
    assert not ((found.after[:, 1] - found.after[:, 0]) > 0.5).any(), "no green is left"


def test_a_network_without_mistakes_has_no_concepts_of_them(tmp_path: Path) -> None:
    pictures = with_patches(tmp_path / "pictures", 80, marked=0)
    model = tp.wrap(SeesGreen(), size=28, labels=["plain", "green"], mean=(0, 0, 0), std=(1, 1, 1), outputs="logits")
    assert tp.audit(model, pictures).mistakes == ()


def test_equal_values_share_a_rank_whatever_the_order_of_the_pictures() -> None:
    """Pictures lie in the order of their classes: a property that is the same for all must not go with them."""
    values = torch.tensor([[0.0, 2.0], [0.0, 2.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    found = standardised(values)
    assert torch.equal(found[:, 0], torch.zeros(4, dtype=torch.float64))
    assert found[0, 1] == found[1, 1] == -found[2, 1] == -found[3, 1]


def test_sizes_and_compression_of_files_that_go_with_a_class_are_named(tmp_path: Path) -> None:
    test = tp.planted(n=60, seed=1, **ABOUT)
    for i, (pixels, label) in enumerate(zip(test.pixels, test.labels, strict=True)):
        (tmp_path / label).mkdir(exist_ok=True)
        picture = Image.fromarray((pixels.permute(1, 2, 0) * 255).round().byte().numpy())
        size, quality = (48, 32) if label == "fish" else (32, 32), 40 if label == "car" else 90
        picture.resize(size).save(tmp_path / label / f"{i:02d}.jpg", quality=quality)
    found = {one.name: one for one in tp.audit(wrapped(ReadsTheFrame()), tmp_path).properties}
    for name in ("width", "proportions", "JPEG quantisation"):
        assert found[name].p_label < 0.01
    assert found["proportions"].means == {"car": 1.0, "fish": 1.5, "house": 1.0}
    assert found["height"].p_label == 1  # the same for all
    assert found["brightness"].p_label > 0.05
    assert "width" not in {one.name for one in tp.audit(wrapped(ReadsTheFrame()), test).properties}  # no files


class Tensors:
    """A source of given pixels, with the names and labels of a planted set."""

    def __init__(self, pixels: Tensor, like: tp.Planted) -> None:
        self.pixels, self.name, self.ids, self.labels, self.classes = pixels, "tensors", like.ids, like.labels, like.classes

    def fingerprint(self) -> str:
        return "tensors"

    def read(self, sample: int) -> Tensor:
        return self.pixels[sample : sample + 1]


@pytest.mark.slow
def test_a_receipt_finds_planted_cues_on_twins_and_accuses_few_clean_ones() -> None:
    about: dict[str, Any] = {**ABOUT, "size": 48}
    test, more = (tp.planted(n=n, seed=seed, **about) for n, seed in ((160, 1), (400, 2)))
    model = tp.train(more, epochs=6, batch=32, learning_rate=3e-3).model
    found = tp.audit(model, test, twins=8)
    one = found.receipt
    assert one is not None
    assert one.clean == 4
    assert one.accused <= 1
    assert one.planted + one.refused + sum(total for kind, (_, total) in one.kinds.items() if kind not in VISIBLE) == 4
    assert one.found >= one.planted - 1
    assert "networks like yours" in str(one)


VISIBLE = ("background", "watermark", "border", "color", "texture")
