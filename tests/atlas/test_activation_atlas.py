"""Activation atlases against means, counts, derivatives and layouts computed one by one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from zoo import shared, vision_model

import tapetum as tp
from tapetum.atlas.activation_atlas import directions, usual_positions
from tapetum.atlas.evidence import evidence, predictions
from tapetum.atlas.layouts import binned, grid_side, laid_out, principal, whitening
from tapetum.atlas.map_pages import map_data
from tapetum.atlas.painting import Canvases, Painted
from tapetum.data.streams import as_source
from tapetum.notes import noting
from tapetum.progress import watching

LAYER = "second"
"""Of the residual network: 8 channels on 8 x 8 places."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures in two class folders: reddish and bluish."""
    place = tmp_path_factory.mktemp("classes")
    generator = torch.Generator().manual_seed(0)
    for i in range(30):
        kind = ("blue", "red")[i % 2]
        pixels = 0.3 * torch.rand(3, 4, 4, generator=generator)
        pixels[2 if kind == "blue" else 0] += 0.6
        large = torch.nn.functional.interpolate(pixels[None], (20, 22), mode="bicubic")[0].clamp(0, 1)
        (place / kind).mkdir(exist_ok=True)
        Image.fromarray((large * 255).byte().permute(1, 2, 0).numpy()).save(place / kind / f"{i:02d}.png")
    return place


def atlas_of(model: Any, folder: Path, **more: Any) -> tp.ActivationAtlas:
    return tp.activation_atlas(model, folder, LAYER, **{"positions": 8, "grid": 3, "layout": "pca", "n_steps": 2} | more)


def maps_of(model: Any, folder: Path, layer: str = LAYER) -> Tensor:
    """(n, c, h, w): each picture by itself."""
    source, found = as_source(folder), []
    for sample in range(len(source.ids)):
        with torch.no_grad(), tp.capture(model, [layer]) as acts:
            model(model.preprocess(source.read(sample)))
        found.append(acts[layer])
    return torch.cat(found)


# --- layout


def clusters(n: int) -> Tensor:
    """2 n vectors along two directions, of lengths between 1 and 100, with noise of a twentieth of their length."""
    generator = torch.Generator().manual_seed(3)
    lengths = 100 ** torch.rand(2 * n, 1, generator=generator)
    axes = torch.eye(12)[:2].repeat_interleave(n, 0)
    return lengths * (axes + 0.05 * torch.randn(2 * n, 12, generator=generator))


@pytest.mark.slow  # UMAP is compiled when it is first used
def test_directions_that_differ_lie_apart_and_the_same_seed_lays_out_the_same() -> None:
    vectors = clusters(150)
    points, how = laid_out(vectors, seed=1)
    assert how == "umap"
    centres = torch.stack([points[:150].mean(0), points[150:].mean(0)])
    nearer = torch.cdist(points, centres).argmin(1)
    assert torch.equal(nearer, torch.arange(2).repeat_interleave(150))  # cosine: lengths of 1 and 100 lie together
    assert torch.equal(laid_out(vectors, seed=1)[0], points)
    assert not torch.equal(laid_out(vectors, seed=2)[0], points)


def test_principal_components_are_those_of_the_covariance() -> None:
    """Against the singular value decomposition; a point's two numbers keep the most of its distances that two can."""
    vectors = clusters(40).double()
    places = principal(vectors)
    u, s, _ = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    assert torch.allclose(places.abs(), (u * s)[:, :2].abs(), atol=1e-9)
    assert torch.equal(principal(vectors.flip(1)).abs().round(decimals=6), places.abs().round(decimals=6))


def test_layouts_fill_the_unit_square_whatever_strays() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(500, 6, generator=generator)
    vectors[7] *= 1e4
    points, _ = laid_out(vectors, layout="pca")
    assert [float(points.min()), float(points.max())] == [0, 1]
    others = torch.cat([points[:7], points[8:]])
    assert float((others.quantile(0.9, 0) - others.quantile(0.1, 0)).min()) > 0.2  # the stray does not make the map small


def test_without_umap_principal_components_are_used_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with noting() as said:
        assert laid_out(clusters(60))[1] == "pca"
        assert laid_out(clusters(10))[1] == "pca"
    assert "tapetum[atlas]" in said[0]
    assert "too few" in said[1]
    with pytest.raises(tp.TapetumError, match=r"tapetum\[atlas\]"):
        laid_out(clusters(60), layout="umap")


def test_vectors_that_are_all_alike_lie_in_the_middle() -> None:
    points, _ = laid_out(torch.ones(20, 3), layout="pca")
    assert torch.equal(points, torch.full((20, 2), 0.5, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(20, 150), side=st.integers(1, 4))
def test_cells_hold_what_lies_in_them(seed: int, m: int, side: int) -> None:
    """Counts, members and means against a loop over all cells; eighths have exact sums, so that equality is exact."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(m, 2, generator=generator, dtype=torch.float64)
    points[: m // 8] = points[: m // 8].round()  # on the very edges
    vectors = torch.randint(-80, 80, (m, 3), generator=generator) / 8
    found = binned(points, vectors, side) if m >= 5 * side * side * 3 else None
    if found is None:
        return
    number, dropped = 0, 0
    for row in range(side):
        for column in range(side):
            inside = [
                i
                for i, (x, y) in enumerate(points.tolist())
                if min(side - 1, int(x * side)) == column and min(side - 1, int(y * side)) == row
            ]
            if len(inside) < 5:
                dropped += bool(inside)
                assert bool((found.members[inside] == -1).all())
                continue
            assert (int(found.rows[number]), int(found.columns[number])) == (row, column)
            assert found.members[inside].unique().tolist() == [number]
            assert int(found.counts[number]) == len(inside)
            assert torch.equal(found.means[number], vectors[inside].double().sum(0) / len(inside))
            number += 1
    assert (len(found), found.dropped) == (number, dropped)


@pytest.mark.slow  # the import of scikit-learn
def test_whitening_is_the_shrunk_inverse() -> None:
    """Against scikit-learn's estimate of the same covariance; and of many vectors it is the plain inverse."""
    shrunk = pytest.importorskip("sklearn.covariance")
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    for m in (8, 30, 50_000):
        vectors = torch.randn(m, 6, generator=generator, dtype=torch.float64) @ mixing
        covariance, _ = shrunk.ledoit_wolf(vectors.numpy(), assume_centered=True)
        assert np.allclose(whitening(vectors).numpy() @ covariance, np.eye(6), atol=1e-8)
    plain = vectors.T @ vectors / len(vectors)
    assert torch.allclose(whitening(vectors) @ plain, torch.eye(6, dtype=torch.float64), atol=0.05)
    assert torch.equal(whitening(torch.zeros(4, 3)), torch.eye(3, dtype=torch.float64))


def test_usual_numbers() -> None:
    assert [usual_positions(n) for n in (1, 500, 800, 4000, 20_000, 20_001, 10**6)] == [16, 16, 10, 2, 1, 1, 1]
    assert [grid_side(m) for m in (10, 8000, 10**6)] == [3, 14, 40]


# --- what vectors speak for


def test_evidence_behind_a_linear_head_is_its_weights(folder: Path) -> None:
    """w . (v - mean v): the head reads the mean over places, which of a map that is v everywhere is v."""
    model = shared("residual")
    means = torch.randn(20, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = model.module.head.linear.weight.detach()
    found = evidence(model, LAYER, means)
    assert torch.allclose(found, (means - means.mean(0)) @ weights.T, atol=1e-12)


@pytest.mark.parametrize(("name", "layer"), [("in_place", "features.2"), ("vit_mean", "blocks.0"), ("channels_last", "first")])
def test_evidence_is_what_the_rest_of_the_network_says(name: str, layer: str) -> None:
    """One vector at a time, with the map filled by hand."""
    model = shared(name)
    channels = model.survey[layer].channels
    assert channels
    means = torch.randn(3, channels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = []
    for v in means:
        with torch.no_grad(), tp.edit(model, {layer: lambda act, v=v: torch.zeros_like(act) + v[None, :, None, None]}):
            rows.append(model(torch.zeros(1, 3, 16, 16, dtype=torch.float64))[0])
    expected = torch.stack(rows)
    assert torch.allclose(evidence(model, layer, means), expected - expected.mean(0), atol=1e-10)


def test_predictions_are_the_largest_logits_and_lost_pictures_are_left_out(folder: Path, tmp_path: Path) -> None:
    files = []
    for i, file in enumerate(sorted(folder.rglob("*.png"))[:20]):
        files.append(tmp_path / f"{i:02d}.png")
        files[-1].write_bytes(file.read_bytes())
    source, model = as_source(files), shared("residual")
    files[17].write_bytes(b"gone")
    with torch.no_grad():
        expected = {i: int(model(model.preprocess(source.read(i))).argmax()) for i in range(20) if i != 17}
    assert predictions(model, source, range(20)) == expected


# --- the whole


def test_every_number_of_a_map_is_that_of_a_loop(folder: Path) -> None:
    model = vision_model("residual")
    atlas, maps = atlas_of(model, folder), maps_of(model, folder).float()
    vectors = maps.flatten(2)[atlas.samples, :, atlas.places]  # (m, c)
    rows, columns = atlas.places // 8, atlas.places % 8
    assert len(vectors) == 30 * 8
    assert bool(((rows > 0) & (rows < 7) & (columns > 0) & (columns < 7)).all())  # edges are left out
    assert sum(cell.count for cell in atlas.cells) == int((atlas.members >= 0).sum())
    mean, sd = vectors.double().mean(0), vectors.double().std(0, correction=0)
    labels = as_source(folder).labels
    for i, cell in enumerate(atlas.cells):
        mine = (atlas.members == i).nonzero().flatten()
        assert cell.count == len(mine) >= 5
        assert torch.allclose(atlas.means[i], vectors[mine].double().mean(0), atol=1e-6)
        z = ((atlas.means[i] - mean) / sd).nan_to_num(0)  # a unit that is the same everywhere
        assert [channel for channel, _ in cell.units] == z.argsort(descending=True, stable=True)[:5].tolist()
        assert [value for _, value in cell.units] == pytest.approx(z.sort(descending=True).values[:5].tolist(), abs=1e-5)
        alike = torch.nn.functional.cosine_similarity(vectors[mine].double(), atlas.means[i][None])
        assert cell.pictures[0] == int(atlas.samples[mine[alike.argmax()]])
        assert len(set(cell.pictures)) == len(cell.pictures) <= 9
        of = [labels[sample] for sample in atlas.samples[mine].tolist()]
        assert dict(cell.labels) == {name: of.count(name) for name in set(of)}
        assert [count for _, count in cell.labels] == sorted((count for _, count in cell.labels), reverse=True)
    for label, where in atlas.classes.items():
        assert dict(where) == {i: dict(cell.labels)[label] for i, cell in enumerate(atlas.cells) if label in dict(cell.labels)}
    assert atlas.labelled == "labels"


def test_cells_speak_for_the_classes_with_most_evidence(folder: Path) -> None:
    model = vision_model("residual")
    atlas = atlas_of(model, folder, pictures=False)
    assert atlas.evidence is not None
    assert torch.allclose(atlas.evidence.double(), evidence(model, LAYER, atlas.means), atol=1e-6)  # kept in float32
    for cell, row in zip(atlas.cells, atlas.evidence, strict=True):
        best = [k for k in row.argsort(descending=True).tolist() if row[k] > 0][:5]
        assert [name for name, _ in cell.supports] == [f"class {k}" for k in best]
    order = atlas.speaking_for(2)
    assert [value for _, value in order] == sorted((value for _, value in order), reverse=True)
    assert order[0][0] == int(atlas.evidence[:, 2].argmax())
    with pytest.raises(tp.TapetumError, match="no class 'tabby'"):
        atlas.speaking_for("tabby")


def test_cells_pictures_point_along_their_means(folder: Path) -> None:
    """Each cell's picture, seen by the network, lies nearer to its own cell's direction than noise does."""
    model = vision_model("residual")
    atlas = atlas_of(model, folder, n_steps=20, whiten=False)
    assert atlas.pixels is not None
    assert set(atlas.status) == {"ok"}
    wanted = directions(atlas.means, None).double()
    with torch.no_grad(), tp.capture(model, [LAYER]) as acts:
        model(model.preprocessing.normalize(atlas.pixels.double()))
    made = (torch.nn.functional.cosine_similarity(acts[LAYER], wanted[:, :, None, None], dim=1)).mean((1, 2))
    with torch.no_grad(), tp.capture(model, [LAYER]) as acts:
        model(model.preprocessing.normalize(0.5 + 0.1 * torch.randn(made.shape[0], 3, 16, 16, dtype=torch.float64)))
    noise = (torch.nn.functional.cosine_similarity(acts[LAYER], wanted[:, :, None, None], dim=1)).mean((1, 2))
    assert bool((made > noise).all())


def test_the_same_seed_gives_the_same_bits_for_any_number_of_workers(folder: Path) -> None:
    model = vision_model("residual")
    first, second = (atlas_of(model, folder, workers=workers) for workers in (1, 3))
    assert first.pixels is not None
    assert second.pixels is not None
    for name in ("points", "samples", "places", "members", "means", "pixels", "evidence"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert first.cells == second.cells
    assert not torch.equal(atlas_of(model, folder, seed=1, pictures=False).places, first.places)


def test_a_finished_atlas_is_read_again_and_a_stopped_one_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = Canvases.make

    def counting(self: Canvases, rows: range) -> Painted:
        made.append(len(rows))
        return make(self, rows)

    monkeypatch.setattr(Canvases, "make", counting)
    model = vision_model("residual")
    settings = {"out": tmp_path, "positions": 36, "grid": 7, "workers": 1}

    def stop(step: tp.Progress) -> bool:
        return not (step.stage == "pictures" and step.done >= 17)

    with watching(stop), pytest.raises(tp.Cancelled):
        atlas_of(model, folder, **settings)
    begun = len(made)
    assert begun == 2  # one batch was finished, and is not made again
    first = atlas_of(model, folder, **settings)
    assert sum(made[begun:]) == len(first) - 16
    assert not list(tmp_path.glob(".parts*"))
    made.clear()
    again = atlas_of(model, folder, **settings)
    assert made == []
    assert again.cells == first.cells
    assert again.classes == first.classes
    assert torch.equal(again.means, first.means)
    other = atlas_of(model, folder, **settings | {"n_steps": 3})
    assert sum(made) == len(first)
    assert other.key != first.key
    with pytest.raises(tp.TapetumError, match="holds another scan"):
        atlas_of(vision_model("residual", seed=1), folder, **settings)


def test_pages_get_the_map_and_its_tiles(folder: Path, tmp_path: Path) -> None:
    model = vision_model("residual")
    atlas = atlas_of(model, folder)
    numbers = {sample: 100 + sample for sample in range(0, 30, 2)}  # half of the pictures are shown
    page = json.loads(json.dumps(map_data(atlas, tmp_path, numbers, tile=32), allow_nan=False))
    assert (page["grid"], page["layout"], page["positions"]) == ([3, 3], "pca", 8)
    assert page["sprite"]["sheets"] == [f"{LAYER}-000.webp"]
    sheet = np.asarray(Image.open(tmp_path / f"{LAYER}-000.webp").convert("RGB")) / 255
    assert atlas.pixels is not None
    for i, (cell, mine) in enumerate(zip(page["cells"], atlas.cells, strict=True)):
        assert (cell["row"], cell["column"], cell["count"], cell["tile"]) == (mine.row, mine.column, mine.count, i)
        assert cell["pictures"] == [numbers[s] for s in mine.pictures if s in numbers]
        shown = sheet[4:28, 32 * i + 4 : 32 * i + 28].mean((0, 1))
        assert np.abs(shown - atlas.pixels[i, :, 2:-2, 2:-2].mean((1, 2)).numpy()).max() < 0.05  # WebP's loss
    assert {label: dict(map(tuple, cells)) for label, *cells in page["classes"]} == {
        label: dict(cells) for label, cells in atlas.classes.items()
    }


def test_saved_atlases_open_and_are_drawn_cell_by_cell(folder: Path, tmp_path: Path) -> None:
    from tapetum.figures.maps import _page  # the picture in the figure, before matplotlib scales it

    atlas = atlas_of(vision_model("residual"), folder)
    again = tp.open(tp.save(atlas, tmp_path / "saved"))
    assert again.cells == atlas.cells
    assert again.classes == atlas.classes
    assert atlas.pixels is not None
    page = _page(again, [1.0] * len(again))
    assert page.shape == (3, 48, 48)
    for i, cell in enumerate(atlas.cells):
        place = page[:, 16 * cell.row : 16 * cell.row + 16, 16 * cell.column : 16 * cell.column + 16]
        assert torch.equal(place, atlas.pixels[i])
    figure = tp.show(again, label=2)
    assert f"Activation atlas of {LAYER}" in figure.texts[0].get_text()
    assert len(tp.draw(atlas_of(vision_model("residual"), folder, pictures=False)).axes) == 1


def test_refusals(folder: Path) -> None:
    model = vision_model("residual")
    with pytest.raises(tp.TapetumError, match="of one layer"):
        tp.activation_atlas(model, folder, "*")
    with pytest.raises(tp.TapetumError, match="limit must be from 1"):
        atlas_of(model, folder, limit=0)
    with pytest.raises(tp.TapetumError, match="coarser grid"):
        atlas_of(model, folder, limit=5, positions=1, grid=40, pictures=False)
    with pytest.raises(tp.TapetumError, match="no evidence for classes"):
        replace(atlas_of(model, folder, pictures=False), evidence=None).speaking_for(0)
