"""Names of units: formulas found on planted truth tables, right names in a network built by hand, none where nothing is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from colored import color_folders
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.cli import main
from tapetum.families.naming.formulas import Formula, best_formulas
from tapetum.families.naming.judging import judged
from tapetum.families.naming.terms import Terms, choosing, label_terms
from tapetum.types import LayerError, MethodError
from tapetum.types.unit_names import words_of

COLORS = {"ruby": (220, 30, 30), "moss": (30, 200, 30), "sea": (30, 30, 220), "coal": (25, 25, 25)}
EACH = 48


class Colors(nn.Module):
    """Channels 0 to 2 are red, green and blue less the other two, 3 is red or blue, 4 is nothing but noise of the place."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Conv2d(3, 4, 1, bias=False)
        weights = [[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1], [0.5, -1, 0.5]]
        self.units.weight.data = torch.tensor(weights).reshape(4, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.units(images).mean((2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return color_folders(tmp_path_factory.mktemp("colors"), COLORS, EACH)


@pytest.fixture(scope="module")
def model() -> tp.VisionModel:
    return tp.wrap(Colors().eval(), size=8, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")


@pytest.fixture(scope="module")
def names(model: tp.VisionModel, folder: Path) -> tp.UnitNames:
    return tp.name_units(model, folder, "units", groups={"gem": ["ruby", "sea"]}, workers=1)


def test_units_built_by_hand_get_their_names(names: tp.UnitNames) -> None:
    assert names.names == ("ruby", "moss", "sea", "gem")
    assert names.auc.min() > 0.99
    assert names.p_values.max() < 1e-8
    assert (names.chosen_on, names.judged_on) == (64, 128)
    assert names.positives.tolist() == [32, 32, 32, 64]
    assert names.share == 1


def test_without_the_group_the_formula_of_its_labels_is_found(model: tp.VisionModel, folder: Path) -> None:
    found = tp.name_units(model, folder, "units", workers=1)
    assert set(str(found.names[3]).split(" OR ")) == {"ruby", "sea"}
    assert tp.name_units(model, folder, "units", workers=1, length=1).names[3] in (None, "ruby", "sea")


def test_names_are_found_by_their_words(names: tp.UnitNames) -> None:
    assert names.find("sea of clouds") == (2,)
    assert names.find("gem") == (3,)
    assert names.find("dog") == ()
    assert words_of("(dog OR fox) AND NOT grey wolf") == {"dog", "fox"}
    assert words_of("(dog AND NOT hound) OR wild cat") == {"dog", "wild", "cat"}


def test_names_say_what_chance_would_give(names: tp.UnitNames) -> None:
    words = str(names)
    assert words.startswith("4 of 4 units of units have a name: AUC at least 0.75 on 128 pictures that did not choose it")
    assert "units:0  ruby" in words
    assert names.shuffled.max() < 0.75


def test_a_finished_scan_is_used_again(model: tp.VisionModel, folder: Path, names: tp.UnitNames, tmp_path: Path) -> None:
    given = {"groups": {"gem": ["ruby", "sea"]}, "workers": 1, "out": tmp_path / "scan"}
    first, second = (tp.name_units(model, folder, "units", **given) for _ in range(2))
    assert first.names == second.names == names.names
    assert torch.equal(first.auc, names.auc)
    assert torch.equal(second.p_values, names.p_values)


def planted_terms(n: int = 300, seed: int = 0) -> Terms:
    truth = torch.rand(n, 6, generator=torch.Generator().manual_seed(seed)) < torch.tensor([0.5, 0.4, 0.3, 0.3, 0.2, 0.2])
    return Terms(tuple("ABCDEF"), truth)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (Formula(2), "C"),
        (Formula(4, (("OR", 5),)), "E OR F"),
        (Formula(0, (("AND", 1),)), "A AND B"),
        (Formula(1, (("AND NOT", 2),)), "B AND NOT C"),
        (Formula(4, (("OR", 5), ("AND NOT", 0))), "(E OR F) AND NOT A"),
        (Formula(2, (("OR", 3), ("OR", 4))), "C OR D OR E"),
    ],
)
def test_the_search_finds_a_planted_formula(formula: Formula, words: str) -> None:
    terms = planted_terms()
    truth = formula.truth(terms)
    noise = torch.rand(len(truth), 1, generator=torch.Generator().manual_seed(1))
    assert formula.words(terms) == words
    (found,) = best_formulas(truth[:, None] + 0.5 * noise, terms, 3)
    assert torch.equal(found.truth(terms), truth)


def test_a_longer_formula_must_be_worth_its_terms() -> None:
    terms = planted_terms()
    score = terms.truth[:, 0].double() + 0.01 * (terms.truth[:, 0] & terms.truth[:, 4])
    assert best_formulas(score[:, None], terms, 3) == [Formula(0)]


def test_names_dealt_out_by_lot_are_given_to_no_more_units_than_the_level_allows() -> None:
    """30 tables of 20 units, at a level of .05: a name in more than 5 tables has a probability of at most .003."""
    false = 0
    for seed in range(30):
        drawn = torch.Generator().manual_seed(1000 + seed)
        scores = torch.rand(150, 20, generator=drawn)
        scores[:, :10] = (scores[:, :10] - 0.8).clamp(min=0)  # sparse ones too
        found = judged(scores, planted_terms(150, seed), [str(i) for i in range(150)], length=3, seed=seed)
        false += bool((found.p_values <= 0.05).any())
    assert false <= 5


def test_choosing_pictures_are_a_third_of_every_term_and_depend_on_ids_not_on_order() -> None:
    terms, ids = planted_terms(), [f"{i}.png" for i in range(300)]
    chosen = choosing(terms, ids, 0)
    assert int(chosen.sum()) == 100
    share = (terms.truth & chosen[:, None]).sum(0) / terms.truth.sum(0)
    assert share.min() > 0.28
    assert share.max() < 0.39
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    again = choosing(terms.take(order), [ids[i] for i in order.tolist()], 0)
    assert torch.equal(again, chosen[order])
    assert not torch.equal(choosing(terms, ids, 1), chosen)


def test_terms_are_groups_labels_and_the_groups_of_imagenet_each_once() -> None:
    terms = label_terms(["pug", "beagle", "tabby", "school bus"], {"pet": ["pug", "tabby"]})
    assert terms.names[:5] == ("pet", "beagle", "pug", "school bus", "tabby")
    assert {"dog", "carnivore"} <= set(terms.names)
    assert "feline" not in terms.names  # true of the tabby alone, which has a label
    assert "vehicle" not in terms.names
    assert len({tuple(column.tolist()) for column in terms.truth.T}) == len(terms.names)


def test_units_that_are_constant_or_not_finite_have_no_name() -> None:
    terms = planted_terms(150)
    scores = torch.stack([torch.zeros(150), torch.full((150,), torch.nan), terms.truth[:, 0].float()], 1)
    found = judged(scores, terms, [str(i) for i in range(150)], length=2, seed=0)
    assert found.p_values[:2].tolist() == [1, 1]
    assert found.auc[:2].tolist() == [0.5, 0.5]
    assert found.names[2] == "A"


class Reader(nn.Module):
    """Embeds a picture as its mean colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) + 0.01


def reader() -> tp.VisionModel:
    base = tp.wrap(Reader().eval(), size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    words = {"red": [1.0, 0, 0], "green": [0, 1.0, 0], "blue": [0, 0, 1.0]}
    return tp.VisionModel(
        base.module, "reader", base.preprocessing, encode_text=lambda _, texts: torch.tensor([words[text] for text in texts])
    )


def test_texts_name_units_through_an_image_text_model(model: tp.VisionModel, folder: Path) -> None:
    found = tp.name_units(
        model, folder, "units", texts=["red", "green", "blue"], text_model=reader(), length=1, workers=1, score="mean"
    )
    assert found.source == "texts"
    assert found.names[:3] == ("red", "green", "blue") or found.candidates[:3] == ("red", "green", "blue")
    assert found.shuffled.max() < found.auc[:3].min()


@dataclass(frozen=True)
class Blobs:
    """Pictures of a red and a green square, each at a place of its own; every other picture has no green one."""

    n: int = 60
    name: str = "blobs"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{i:03d}" for i in range(self.n))

    @property
    def labels(self) -> tuple[None, ...]:
        return (None,) * self.n

    def fingerprint(self) -> str:
        return f"blobs {self.n}"

    def masks(self, sample: int) -> Tensor:
        drawn = np.random.default_rng(sample)
        found = torch.zeros(2, 24, 24, dtype=torch.bool)
        for plane in found[: 2 - sample % 2]:
            y, x = drawn.integers(0, 19, 2)
            plane[y : y + 5, x : x + 5] = True
        return found

    def read(self, sample: int) -> Tensor:
        red, green = self.masks(sample)
        noise = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(sample)) * 0.1
        return (noise + 0.8 * torch.stack([red, green, red & False])).clamp(0, 1)[None]


def test_masks_name_the_units_whose_highest_places_they_cover() -> None:
    net = Colors()
    net.units.weight.data[3] = torch.tensor([0.0, 0, 1]).reshape(3, 1, 1)  # blue: noise alone
    model = tp.wrap(net.eval(), size=24, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")
    source = Blobs()
    red, green = torch.stack([source.masks(i) for i in range(source.n)], 1)
    found = tp.name_units(model, source, "units", masks={"red": red, "green": green}, workers=1)
    assert found.names == ("red", "green", None, None)
    assert found.auc[:2].min() > 0.95
    assert found.p_values[:2].max() < 1e-2
    assert found.iou is not None
    assert found.iou[:2].min() > 0.1  # the highest 1 in 200 of all places are a part of 25 in 576
    assert found.iou[2:].max() < 0.04
    assert found.shuffled.max() < 0.7  # masks of other pictures


def test_a_unit_that_likes_one_place_of_every_picture_is_named_by_no_mask() -> None:
    """A bright corner in all pictures, masks that lie there more often than elsewhere: they fit all pictures alike."""

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.units = nn.Conv2d(3, 1, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            ramp = torch.linspace(1, 0, 24)[:, None] * torch.linspace(1, 0, 24)
            return self.units(images * 0.01 + ramp).mean((2, 3))

    net = Corner()
    net.units.weight.data.fill_(1.0)
    model = tp.wrap(net.eval(), size=24, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")
    masks = torch.zeros(60, 24, 24, dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[: 4 + i % 3, : 4 + i % 5] = True
    found = tp.name_units(model, Blobs(), "units", masks={"thing": masks}, workers=1)
    assert found.auc[0] > 0.9
    assert found.p_values[0] > 0.01
    assert found.names == (None,)


def test_what_cannot_be_named_is_refused(model: tp.VisionModel, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    refused = [
        (lambda: tp.name_units(model, tmp_path, "units", workers=1), MethodError, "have no labels: give class folders"),
        (lambda: tp.name_units(model, folder, "nowhere"), LayerError, "nowhere"),
        (
            lambda: tp.name_units(model, folder, "units", groups={"gem": ["rubi"]}, workers=1),
            MethodError,
            "no picture has the label 'rubi' of the group 'gem'; close names: ruby",
        ),
        (lambda: tp.name_units(model, folder, "units", groups={"gem": []}, workers=1), MethodError, "the group 'gem' is empty"),
        (lambda: tp.name_units(model, folder, "units", texts=["red"], workers=1), MethodError, "reads no texts"),
        (
            lambda: tp.name_units(model, folder, "units", texts="red", workers=1),
            MethodError,
            'a list such as \\["dog", "car"\\]',
        ),
        (
            lambda: tp.name_units(model, folder, "units", masks={"a": torch.zeros(3, 8, 8)}, workers=1),
            MethodError,
            r"masks are \{name: \(192, h, w\)\}",
        ),
        (lambda: tp.name_units(model, folder, "units", masks={}, texts=["a"], workers=1), MethodError, "in place of labels"),
        (lambda: tp.name_units(model, folder, "units", workers=1, limit=30), MethodError, "is true of 15 of the 30 pictures"),
    ]
    for call, kind, words in refused:
        with pytest.raises(kind, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_command_prints_names_and_writes_them(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    given = [
        "name",
        str(folder),
        "--model",
        f"{tmp_path / 'mine.py'}:build",
        "--layer",
        "units",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as end:
        main([*given, "--workers", "1", "--length", "1", "--size", "8"])
    assert end.value.code == 0
    assert "units:0  ruby" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [one["name"] for one in report["units"]] == ["ruby", "moss", "sea"]
    assert (tmp_path / "out" / "names.png").is_file()
    assert tp.open(tmp_path / "out" / "names").names == ("ruby", "moss", "sea")


FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.units = nn.Conv2d(3, 3, 1, bias=False)
        self.units.weight.data = (1.5 * torch.eye(3) - 0.5).reshape(3, 3, 1, 1)

    def forward(self, images):
        return self.units(images).mean((2, 3))

def build():
    return Net()
"""
