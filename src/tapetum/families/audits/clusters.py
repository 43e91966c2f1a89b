"""Groups the pictures of a class by where their evidence lies, and tests each group's place by an experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.families.audits.hiding import cells, on_grid, shares, strongest, tested, weakest
from tapetum.families.audits.material import Material
from tapetum.families.audits.pictures import BATCH, Audited, answers
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report, stage
from tapetum.registry import lookup
from tapetum.types import RelevanceCluster, TapetumError

MOST = 5
"""Largest number of groups of a class."""

FEWEST = 6
"""Least number of pictures of a group that is shown and tested."""

SHOWN = 6


def clusters(model: VisionModel, read: Audited, made: Material, seed: int) -> tuple[tuple[RelevanceCluster, ...], Tensor]:
    """Groups of pictures of each class, the largest effect first, and mean shares (k, 3) of evidence per class.

    Evidence is the positive part of Grad-CAM of the picture's own class. Shares are those on the object, on its surroundings
    and in the outer band. Groups come from spectral clustering of the maps, as many as the largest gap of eigenvalues says
    (Lapuschkin et al. 2019). The place where a group's evidence lies is replaced by the picture's own plate, and so is an
    equal area where the group has the least; the effect is the difference of the two drops of the own class's probability.
    """
    try:
        maps = _maps(model, read)
    except TapetumError as error:
        note(f"pictures are not grouped by where their evidence lies: {error}")
        return (), torch.full((len(read.classes), 3), torch.nan, dtype=torch.float64)
    grids = on_grid(maps)
    there = grids.flatten(1).sum(1) > 0
    parts = shares(maps, read.objects)
    generator = torch.Generator().manual_seed(seed)
    found: list[RelevanceCluster] = []
    for index in range(len(read.classes)):
        rows = ((read.labels == index) & there).nonzero()[:, 0]
        if len(rows) >= 2 * FEWEST:
            groups = grouped((grids[rows] / grids[rows].sum((1, 2), keepdim=True)).flatten(1), seed)
            each = [rows[groups == group] for group in range(int(groups.max()) + 1)]
            found += [_tested(model, read, made, grids, parts, some, index, generator) for some in each if len(some) >= FEWEST]
    corrected = [_corrected(one, len(found)) for one in found]
    means = torch.stack([parts[(read.labels == index) & there].mean(0) for index in range(len(read.classes))])
    return tuple(sorted(corrected, key=lambda one: -one.effect)), means


def _maps(model: VisionModel, read: Audited) -> Tensor:
    """Positive part (n, h, w) of Grad-CAM of each picture's own class, at the size of the pictures."""
    found, size = [], read.pixels.shape[-2:]
    with stage("where the evidence lies"):
        for rows in torch.arange(len(read.pixels)).split(BATCH):
            images = model.preprocessing.normalize(read.pixels[rows]).to(model.device, model.dtype)
            target = [read.outputs[label] for label in read.labels[rows].tolist()]
            values = lookup("grad_cam").function(model, images, target).values.clamp(min=0).float().cpu()
            found.append(F.interpolate(values.reshape(len(rows), 1, *values.shape[-2:]), size, mode="bilinear")[:, 0])
            report(sum(map(len, found)), len(read.pixels), "pictures")
    return torch.cat(found)


def grouped(maps: Tensor, seed: int) -> Tensor:
    """Groups (m,) of maps (m, d): spectral clustering of a graph of nearest neighbours, with the number by the largest gap."""
    from scipy.cluster.vq import kmeans2

    m = len(maps)
    near = max(3, m // 10)
    distances = torch.cdist(maps.double(), maps.double())
    order = distances.argsort(1)[:, 1 : near + 1]
    graph = torch.zeros(m, m, dtype=torch.float64).scatter_(1, order, 1.0)
    graph = (graph + graph.T) / 2
    degree = graph.sum(1).clamp(min=1e-9).rsqrt()
    values, vectors = torch.linalg.eigh(torch.eye(m, dtype=torch.float64) - degree[:, None] * graph * degree)
    gaps = values[1 : MOST + 1] - values[:MOST]
    count = 1 + int(gaps.argmax())
    if count == 1:
        return torch.zeros(m, dtype=torch.long)
    rows: NDArray[np.float64] = F.normalize(vectors[:, :count], dim=1).numpy()
    return torch.from_numpy(kmeans2(rows, count, minit="++", rng=np.random.default_rng(seed))[1]).long()


def _tested(
    model: VisionModel,
    read: Audited,
    made: Material,
    grids: Tensor,
    parts: Tensor,
    rows: Tensor,
    index: int,
    generator: torch.Generator,
) -> RelevanceCluster:
    """Hides the place of a group's evidence, and one where it has the least, in each of its pictures."""
    grid = (grids[rows] / grids[rows].sum((1, 2), keepdim=True)).mean(0)
    size = size_of(read.pixels)
    most, least = cells(strongest(grid), size), cells(weakest(grid), size)

    def chance(where: Tensor) -> Tensor:
        pixels = torch.where(where, made.plates[rows], read.pixels[rows])
        return torch.cat([answers(model, some, read.outputs)[0][:, index] for some in pixels.split(BATCH)])

    drop = tested(chance(least) - chance(most), generator)
    share: list[float] = parts[rows].mean(0).tolist()
    far = (grids[rows] / grids[rows].sum((1, 2), keepdim=True) - grid).square().sum((1, 2)).argsort(stable=True)[:SHOWN]
    return RelevanceCluster(
        read.classes[index],
        len(rows),
        (share[0], share[1], share[2]),
        grid,
        drop.mean,
        drop.interval,
        drop.p_value,
        tuple(read.names[row] for row in rows[far].tolist()),
        read.pixels[rows[far]],
        most,
    )


def _corrected(one: RelevanceCluster, count: int) -> RelevanceCluster:
    return replace(one, p_value=min(1.0, one.p_value * count))
