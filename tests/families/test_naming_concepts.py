"""Names of concepts: planted directions get the names of what they stand for, channels that mix them do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from colored import color_folders
from torch import Tensor, nn

import tapetum as tp
from tapetum.cli import main
from tapetum.types import LayerError, MethodError, TargetError

COLORS = {"ruby": (220, 30, 30), "moss": (30, 200, 30), "sea": (30, 30, 220), "coal": (25, 25, 25)}
EACH = 30
PLANTED = torch.tensor([[1, 1, 0, 0, 0.5, 0], [0, 1, 1, 0, 0, 0.5], [0.5, 0, 1, 1, 0, 0], [0, 0.5, 0, 1, 1, 0]])
"""The directions (4, 6) of the four colours: no channel is of one colour alone."""


class Mixed(nn.Module):
    """`colors` finds the four colours, `mixed` is the sum of their directions, each as strong as its colour."""

    def __init__(self) -> None:
        super().__init__()
        self.colors, self.mixed = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, bias=False)
        weights = [[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1], [-1, -1, -1]]
        self.colors.weight.data = torch.tensor(weights)[:, :, None, None]
        self.colors.bias.data = torch.tensor([0, 0, 0, 0.8])
        self.mixed.weight.data = PLANTED.T[:, :, None, None].clone()

    def forward(self, images: Tensor) -> Tensor:
        return self.mixed(self.colors(images).relu()).mean((2, 3))


def build() -> Mixed:
    return Mixed().eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return color_folders(tmp_path_factory.mktemp("mixed"), COLORS, EACH)


@pytest.fixture(scope="module")
def model() -> tp.VisionModel:
    return tp.wrap(build(), size=8, mean=(0.0,) * 3, std=(1.0,) * 3, outputs="numbers")


@pytest.fixture(scope="module")
def found(model: tp.VisionModel, folder: Path) -> tp.Concepts:
    return tp.concepts(model, folder, "mixed", method="nmf", n=4, importance="none", rows=1000, k=2, workers=1)


def planted_names(found: tp.Concepts) -> list[str]:
    """The colour whose direction is nearest to each concept's."""
    nearest = (found.directions.float() @ torch.nn.functional.normalize(PLANTED, dim=1).T).argmax(1)
    return [list(COLORS)[i] for i in nearest.tolist()]


def test_a_dictionary_gets_the_names_of_the_planted_directions(model: tp.VisionModel, folder: Path, found: tp.Concepts) -> None:
    names = tp.name_units(model, folder, found, workers=1, length=1)
    assert set(planted_names(found)) == set(COLORS)
    assert list(names.names) == planted_names(found)
    assert names.auc.min() > 0.99
    assert names.concepts == tuple(f"nmf {i} in mixed" for i in range(4))
    assert names.layer == "mixed"
    assert str(names).startswith("4 of 4 concepts of mixed have a name")
    assert f"nmf 0 in mixed  {names.names[0]}" in str(names)
    assert names[1].concepts == ("nmf 1 in mixed",)
    assert {names.names[i] for i in names.find("ruby")} == {"ruby"}
    assert tp.show(names).axes


def test_single_concepts_get_names_by_the_activation_along_them(model: tp.VisionModel, folder: Path) -> None:
    dual = torch.linalg.pinv(PLANTED.double()).T  # of no other planted direction: dual @ PLANTED.T = identity
    concepts = [tp.Concept("mixed", one, f"made {i}") for i, one in enumerate(dual)]
    several = tp.name_units(model, folder, concepts, workers=1, length=1)
    assert several.names == tuple(COLORS)
    assert several.concepts == ("made 0", "made 1", "made 2", "made 3")
    alone = tp.name_units(model, folder, concepts[2], workers=1, length=1)
    assert (alone.names, alone.concepts, alone.units) == (("sea",), ("made 2",), (0,))
    assert alone.auc[0] == several.auc[2]


def test_a_direction_of_one_channel_has_the_name_of_that_unit(model: tp.VisionModel, folder: Path) -> None:
    units = tp.name_units(model, folder, "mixed", workers=1)
    alone = tp.name_units(model, folder, tp.Concept("mixed", torch.eye(6)[3]), workers=1)
    assert alone.candidates == units.candidates[3:4]
    assert alone.auc[0] == units.auc[3]


def test_clusters_are_named_by_how_many_places_they_have(model: tp.VisionModel, folder: Path) -> None:
    clusters = tp.concepts(model, folder, "mixed", method="kmeans", n=4, importance="none", rows=1000, k=2, workers=1)
    names = tp.name_units(model, folder, clusters, workers=1, length=1)
    assert set(names.names) == set(COLORS)
    assert any("scores are means over places" in note for note in names.notes)


def test_masks_name_concepts_too(model: tp.VisionModel, folder: Path) -> None:
    """A red square of 2 x 2 places, and a mask of it: the highest 1 in 200 of all places are in it, those of blue nowhere."""

    class Squares:
        ids, labels, name = tuple(f"{i}" for i in range(48)), (None,) * 48, "squares"

        def fingerprint(self) -> str:
            return self.name

        def read(self, sample: int) -> Tensor:
            noise = 0.1 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(sample))
            noise[0] += 0.8 * red[sample]
            return noise[None]

    red = torch.zeros(48, 8, 8)
    for i in range(48):
        y, x = i * 5 % 7, i * 3 % 7
        red[i, y : y + 2, x : x + 2] = 1
    dual = torch.linalg.pinv(PLANTED.double()).T
    concepts = [tp.Concept("mixed", dual[0]), tp.Concept("mixed", dual[2])]
    names = tp.name_units(model, Squares(), concepts, masks={"red": red, "blue": 1 - red}, workers=1)
    assert names.names[0] == "red"
    assert names.names[1] != "red"


@pytest.mark.usefixtures("unchecked")
def test_what_are_no_concepts_of_one_layer_is_refused(model: tp.VisionModel, folder: Path) -> None:
    at = torch.ones(6)
    refused = [
        ([tp.Concept("mixed", at), tp.Concept("colors", torch.ones(4))], MethodError, "not of those of 2 layers"),
        ([], MethodError, "names are of a layer, tp.Concepts, or tp.Concept of one layer, not of list"),
        (3, MethodError, "not of int"),
        ([tp.Concept("mixed", at), tp.Unit("mixed", 0)], TargetError, "ask for each by themselves"),
        (tp.Concept("mixed", at, position=(0, 0)), TargetError, "no examples and no name"),
        (tp.Concept("mixed", torch.ones(4)), TargetError, "has 4 numbers, mixed has 6 channels"),
        (tp.Concept("other", at), LayerError, "other"),
    ]
    for given, kind, words in refused:
        with pytest.raises(kind, match=words) as caught:
            tp.name_units(model, folder, given, workers=1)
        assert "\n" not in str(caught.value)


def test_the_command_names_saved_concepts(
    tmp_path: Path, folder: Path, found: tp.Concepts, capsys: pytest.CaptureFixture[str]
) -> None:
    tp.save(found, tmp_path / "made" / "concepts")
    given = ["name", str(folder), "--model", f"{__file__}:build", "--size", "8", "--workers", "1", "--length", "1"]
    for place in (tmp_path / "made", tmp_path / "made" / "concepts"):
        out = tmp_path / f"out-{place.name}"
        with pytest.raises(SystemExit) as end:
            main([*given, "--concepts", str(place), "--out", str(out)])
        assert end.value.code == 0
        assert "nmf 0 in mixed" in capsys.readouterr().out
        report = json.loads((out / "report.json").read_text())
        assert [one["concept"] for one in report["concepts"]] == [f"nmf {i} in mixed" for i in range(4)]
        assert set(tp.open(out / "names").names) == set(COLORS)
    for wrong in ([], ["--layer", "mixed", "--concepts", str(tmp_path / "made")]):
        with pytest.raises(SystemExit) as end:
            main([*given, *wrong, "--out", str(tmp_path / "none")])
        assert end.value.code not in (0, None)
        assert "give --layer, whose units get names, or --concepts" in capsys.readouterr().err
