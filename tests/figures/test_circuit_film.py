"""A walk through a circuit: what each scene shows, and that later ones add to it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

import tapetum as tp
from tapetum.figures.circuit_film import scenes
from tapetum.figures.theme import LIGHT, rgb
from tapetum.types import Circuit, TapetumError


@pytest.fixture(scope="module")
def found() -> Circuit:
    model, truth = tp.planted_circuit("chain")
    return tp.circuit(model, 0, truth.images[:4], edges=len(truth.edges), test=False)


def test_each_layer_is_a_scene_and_the_score_is_the_last(found: Circuit) -> None:
    captions, pictures = scenes(found)
    layers = list(dict.fromkeys(node.layer for node in found.nodes[:-1]))
    assert [caption.partition(":")[0] for caption in captions[:-1]] == layers
    assert captions[-1] == found.target
    assert len({picture.shape for picture in pictures}) == 1


def test_a_scene_shows_what_the_earlier_ones_showed_and_nothing_of_later_layers(found: Circuit) -> None:
    card = torch.tensor(rgb(LIGHT.card))[:, None, None]
    drawn = [(picture - card).abs().amax(0) > 1e-3 for picture in scenes(found)[1]]
    for before, after in pairwise(drawn):
        assert after[before].float().mean() > 0.99  # smoothing moves a pixel at an edge
        assert after.sum() > before.sum()
    columns = drawn[-1].shape[1] / len(drawn)
    for i, scene in enumerate(drawn[:-1]):
        assert not scene[:, int((i + 1.2) * columns) :].any()


def test_a_film_has_a_frame_per_scene_and_a_circuit_without_edges_is_refused(found: Circuit, tmp_path: Path) -> None:
    with Image.open(tp.animate(found, tmp_path / "circuit.gif")) as film:
        assert getattr(film, "n_frames", 1) == len(scenes(found)[0])
    assert found.target in tp.animate(found, tmp_path / "circuit.html").read_text("utf-8")
    for empty in (replace(found, edges=()), replace(found, looks=None)):
        with pytest.raises(TapetumError, match="no nodes with pictures"):
            tp.animate(empty, tmp_path / "empty.gif")
