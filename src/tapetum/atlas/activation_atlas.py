"""Makes activation atlases: maps of a layer's activation vectors over a data set, with pictures (carter2019activation)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor

from tapetum import progress, store
from tapetum.atlas.evidence import answered, predictions
from tapetum.atlas.evidence import evidence as evidence_of
from tapetum.atlas.layouts import Binned, Projection, binned, grid_side, laid_out, whitening
from tapetum.atlas.painting import Canvases, Painted, paint
from tapetum.atlas.units import PRESET, side_of
from tapetum.border.methods import survey
from tapetum.border.sentences import Limit, OtherRunner, Resume, Seed, Workers
from tapetum.data.streams import Source
from tapetum.engines.render.presets import preset as named_preset
from tapetum.engines.scan import Scanning
from tapetum.engines.scan.scan import key_of as scan_key
from tapetum.engines.scan.trackers import Positions
from tapetum.engines.scores.inside import one_layer
from tapetum.families.compositions.grids import towards
from tapetum.keeping.keyed import Kept, Key
from tapetum.keeping.places import removed
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.types import ActivationAtlas, LayerError, MapCell, PositionsResult, TapetumError

SCHEMA = 2
PARTS = ".parts"
"""Name of the folder that keeps finished batches of pictures until the atlas is complete."""

LARGE = 20_000
"""Above this number of pictures, a map takes one vector of each, and unlabelled pictures are not classified by the model."""

WANTED = 8_000
"""Number of vectors that fill a map of 14 x 14 cells."""

N_STEPS = 128
COSINE_POWER = 2.0
"""Cosine power in Lucid's recipe for the pictures of cells."""

UNITS = LABELS = SUPPORTS = 5
PICTURES = 9


@survey(cite="carter2019activation", question="looks_for")
def activation_atlas(
    model: VisionModel,
    source: Source,
    layer: str,
    *,
    positions: int | None = None,
    grid: int | None = None,
    layout: Projection | None = None,
    pictures: bool = True,
    whiten: bool = True,
    cosine_power: float | int = COSINE_POWER,
    size: int | None = None,
    n_steps: int = N_STEPS,
    preset: str = PRESET,
    limit: Limit = None,
    seed: Seed = 0,
    workers: Workers = None,
    run: OtherRunner = None,
    out: str | Path | None = None,
    resume: Resume = True,
) -> ActivationAtlas:
    """A map of a layer's activation vectors over a data set: similar vectors lie close together, and every cell has a picture.

    Vectors at random positions of every picture are laid out in two dimensions (UMAP, cosine distance), a grid is laid over
    them, and the vectors of each cell are averaged (carter2019activation). A cell with fewer than 5 is left out. Its picture
    raises the mean over the map of (a . u) max(.1, cos(a, u))^p, u = S v / |S v|, v the cell's mean and S the inverse of the
    layer's second moments, shrunk, which unstretches the space (`whiten`; without it S = 1); the paper optimises the middle
    of the map alone. `cells[i].supports` are the classes that it speaks for: the logits with the cell's mean at every place of
    the layer, less their mean over the cells (`evidence`; not the paper's gradients); `speaking_for(label)` orders the cells.

    Args:
        positions: vectors per picture; None: 1 from 20,000 pictures on (the paper's), else up to 16, for about 8,000 in all.
        grid: cells per side; None: so many that each has 40 vectors on average.
        layout: umap or pca; None: UMAP where umap-learn is there.
        pictures: False: no pictures, the map alone.
        whiten: whether the space is unstretched.
        cosine_power: p, how strictly a picture is of this direction and no other.
        size: of the pictures in px; None: 96, or the network's own size.
        n_steps: steps of ascent.
        preset: a recipe by name, as for `visualize`.
        out: a folder where finished parts are kept: a killed run continues there, a finished one is read again.

    Example:
        >>> tp.activation_atlas(model, folder, "blocks.5", positions=4, size=32, n_steps=2).grid
        (3, 3)
    """
    name = _checked(model, layer)
    folder = None if out is None else Path(out)
    count = len(source.ids) if limit is None else min(limit, len(source.ids))
    tracker = Positions(count=usual_positions(count) if positions is None else positions, seed=seed)
    how = Scanning(None if run else workers, run, None if folder is None else folder / "scan", resume, limit)
    job = how.job(model, source, {name: (tracker,)})
    canvases = Canvases(model, (), replace(named_preset(preset), n_steps=n_steps), side_of(model, size), seed)
    about = {"layer": name, "whiten": whiten, "cosine_power": float(cosine_power)}
    facts = {**scan_key(job).facts, **canvases.facts(), **about, "grid": grid, "layout": layout, "pictures": pictures}
    labels = hashlib.sha256("\n".join(map(str, source.labels[:count])).encode()).hexdigest()
    key = Key({**facts, "labels": labels}, SCHEMA).hash
    earlier = None if folder is None or not resume else _earlier(folder, key)
    if earlier is not None:
        return earlier
    with noting() as notes:
        with progress.stage("scan"):
            found = how.scan(job)[name][0]
        atlas = _charted(found, grid, layout, tracker.count, seed)
        atlas = _labelled(atlas, model, source)
        atlas = _with_evidence(atlas, model)
        if pictures:
            wanted = directions(atlas.means, whitening(found.vectors) if whiten else None)
            parts = None if folder is None else folder / PARTS
            made = _painted(canvases, name, wanted, cosine_power, parts, workers, resume)
            pixels = torch.from_numpy(made.pixels).permute(0, 3, 1, 2).float() / 255
            atlas = replace(atlas, pixels=pixels, status=made.status)
    atlas = replace(atlas, model=model.name, data=source.name, key=key, notes=tuple(notes))
    return atlas if folder is None else _kept(atlas, folder)


def usual_positions(pictures: int) -> int:
    """Returns how many vectors to take per picture: 1 for many pictures, up to 16 for few, so that the cells are filled."""
    return 1 if pictures > LARGE else max(1, min(16, -(-WANTED // max(1, pictures))))


def _checked(model: VisionModel, layer: str) -> str:
    name = one_layer(model, layer, ", since an activation atlas is of one layer")
    if model.survey[name].channels is None:
        raise LayerError(f"{name} has no channels; `tapetum layers` lists what each layer gives")
    return name


# --- the map


def _charted(found: PositionsResult, grid: int | None, layout: Projection | None, positions: int, seed: int) -> ActivationAtlas:
    """Lays activation vectors out in two dimensions, divides them into cells, and describes the cells."""
    with progress.stage("layout"):
        progress.report(0, len(found.vectors), "vectors")
        points, how = laid_out(found.vectors, seed=seed, layout=layout)
        progress.report(len(points), len(points), "vectors")
    cells = binned(points, found.vectors, grid or grid_side(len(points)))
    if cells.dropped:
        note(f"{cells.dropped} of {len(cells) + cells.dropped} cells are left out: fewer than 5 vectors each")
    made = described_cells(cells, found.vectors, found.samples)
    return ActivationAtlas(
        found.layer, how, cells.grid, made, points, found.samples, found.places, cells.members, cells.means,
        found.ids, positions=positions,
    )  # fmt: skip


def described_cells(cells: Binned, vectors: Tensor, samples: Tensor) -> tuple[MapCell, ...]:
    """Returns the cells of a map, each with its 5 units of highest z-score and up to 9 pictures nearest to its mean."""
    values = vectors.double().cpu()
    sd = values.std(0, correction=0)
    z = torch.where(sd > 0, (cells.means - values.mean(0)) / torch.where(sd > 0, sd, 1), 0)
    strongest = z.sort(dim=1, descending=True, stable=True)
    described = []
    for i in range(len(cells)):
        units = zip(strongest.indices[i, :UNITS].tolist(), strongest.values[i, :UNITS].tolist(), strict=True)
        mine = (cells.members == i).nonzero().flatten()
        likeness = torch.nn.functional.cosine_similarity(values[mine], cells.means[i : i + 1])
        nearest = mine[likeness.argsort(descending=True, stable=True)]
        pictures = tuple(dict.fromkeys(samples[nearest].tolist()))[:PICTURES]
        described.append(MapCell(int(cells.rows[i]), int(cells.columns[i]), len(mine), (), tuple(units), pictures))
    return tuple(described)


# --- classes


def _labelled(atlas: ActivationAtlas, model: VisionModel, source: Source) -> ActivationAtlas:
    """Adds to each cell the most frequent labels of its pictures, or the predicted classes if the data set has no labels."""
    names: Mapping[int, str] = {s: label for s in atlas.ids if (label := source.labels[s]) is not None}
    kind: Literal["labels", "predictions", "nothing"] = "labels" if names else "nothing"
    if not names and len(atlas.ids) <= LARGE:
        with progress.stage("predictions"):
            found, _ = answered(lambda: predictions(model, source, sorted(atlas.ids)))
        if found:
            names, kind = {sample: label_or_number(model, index) for sample, index in found.items()}, "predictions"
            note("the data set has no labels: those shown are the classes that the model predicts")
    counts = labels_per_cell(atlas.members, atlas.samples, names)
    cells = tuple(replace(cell, labels=tuple(mine.most_common(LABELS))) for cell, mine in zip(atlas.cells, counts, strict=True))
    return replace(atlas, cells=cells, classes=by_class(counts), labelled=kind, class_names=model.labels)


def labels_per_cell(members: Tensor, samples: Tensor, names: Mapping[int, str]) -> list[Counter[str]]:
    """Returns per cell {label: number of its vectors from pictures with that label}, in alphabetical order."""
    counts = [Counter[str]() for _ in range(int(members.max()) + 1)]
    for cell, sample in zip(members.tolist(), samples.tolist(), strict=True):
        if cell >= 0 and sample in names:
            counts[cell][names[sample]] += 1
    return [Counter(dict(sorted(one.items()))) for one in counts]  # most_common keeps this order among equals


def by_class(counts: Sequence[Counter[str]]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Returns {label: (cell, count) pairs}, the cells with most vectors of that label first."""
    found: dict[str, list[tuple[int, int]]] = {}
    for cell, mine in enumerate(counts):
        for label, count in mine.items():
            found.setdefault(label, []).append((cell, count))
    return {label: tuple(sorted(found[label], key=lambda pair: (-pair[1], pair[0]))) for label in sorted(found)}


def label_or_number(model: VisionModel, index: int) -> str:
    """Returns the name of a class, or "class 7" where classes have no names."""
    return f"class {index}" if model.labels is None or index >= len(model.labels) else model.labels[index]


def _with_evidence(atlas: ActivationAtlas, model: VisionModel) -> ActivationAtlas:
    """Adds the evidence of each cell's mean vector for every class; notes the reason if there is none."""
    with progress.stage("evidence"):
        table, why = answered(lambda: evidence_of(model, atlas.layer, atlas.means))
    if table is None:
        note(f"no evidence for classes: {why}")
        return atlas
    top = table.topk(min(SUPPORTS, table.shape[1]))
    supports = [
        tuple((label_or_number(model, k), value) for k, value in zip(*row, strict=True) if value > 0)
        for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
    cells = tuple(replace(cell, supports=mine) for cell, mine in zip(atlas.cells, supports, strict=True))
    return replace(atlas, cells=cells, evidence=table.float())


# --- pictures of cells


def _painted(
    canvases: Canvases, layer: str, wanted: Tensor, power: float | int, parts: Path | None, workers: int | None, resume: bool
) -> Painted:
    """Renders a picture for each of the wanted directions (k, c); keeps finished batches in the folder `parts`."""
    job = replace(canvases, objectives=[towards(layer, one, power) for one in wanted])
    digest = hashlib.sha256(wanted.numpy().tobytes()).hexdigest()
    key = Key({**job.facts(), "vectors": digest, "cosine_power": float(power)})
    with progress.stage("pictures"), nullcontext(parts) if parts else TemporaryDirectory() as folder:
        return paint(job, Kept(Path(folder), key, resume=resume), workers=workers)


def directions(means: Tensor, metric: Tensor | None) -> Tensor:
    """Returns S v / |S v| for each mean v (k, c), the direction in which its picture is optimised; S is `metric` (None: I)."""
    wanted = means if metric is None else means @ metric
    lengths = wanted.norm(dim=1, keepdim=True)
    return (wanted / torch.where(lengths > 0, lengths, 1)).float()


# --- on the disk


def _place(folder: Path, key: str) -> Path:
    return folder / f"atlas-{key[:16]}"


def _earlier(folder: Path, key: str) -> ActivationAtlas | None:
    with suppress(TapetumError):
        found = store.open(_place(folder, key))
        return found if isinstance(found, ActivationAtlas) and found.key == key else None
    return None


def _kept(atlas: ActivationAtlas, folder: Path) -> ActivationAtlas:
    """Saves the finished atlas in place of any earlier one, then deletes earlier atlases and partial results."""
    place = _place(folder, atlas.key)
    store.save_again(atlas, place)
    for old in (*folder.glob("atlas-*"), folder / PARTS):
        if old != place:
            removed(old)
    return atlas
