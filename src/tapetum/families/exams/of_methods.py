"""Examines attribution methods: whether their maps find a truth that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.families.exams.marking import CLEAR, chance, margins, mass
from tapetum.families.exams.networks import CELLS, ExamNetwork, exam_networks
from tapetum.progress import track
from tapetum.registry import lookup, methods, parameters
from tapetum.types import Method, MethodError, MethodExam, TapetumError
from tapetum.types.exams import nan_marks

SMALLER: Mapping[str, Mapping[str, Any]] = {
    "rise": {"n_masks": 1000},
    "extremal_perturbation": {"n_steps": 100},
}
"""Settings that save time where more changes no mark."""

SQUARES: Mapping[str, Any] = {"segments": "grid", "n_segments": CELLS**2}
"""Segments of every method that takes some: the exam is about the method, and superpixels do not follow such patterns."""


def exam_methods(names: str | Sequence[str] | None = None, *, n: int = 10, seed: int = 0) -> MethodExam:
    """Examines whether methods find the truth on six networks whose true explanation is known (`exam_networks`).

    found = share of the pictures where every place that counts stands above every other by 5 % of the map's largest place,
    and a place that speaks against stands below. mass = share of the map's magnitude on these places. A signed map must have
    the right signs; a map of magnitudes must show all places that count; of a CAM its positive part. A method passes a
    network with nine of ten pictures and more mass than the best of 99 random maps. Methods run with their defaults, except
    that segments are squares; a network that a method refuses has no marks.

    Args:
        names: methods; None: all.
        n: pictures per network.
        seed: of the pictures, of sampled methods, and of the random maps.

    Example:
        >>> print(tp.exam_methods(["grad_cam", "integrated_gradients"], n=2))
    """
    known = methods(kind="attribution")
    rows = [lookup(name) for name in _listed(names)] if names is not None else list(known)
    for row in rows:
        if row.kind != "attribution":
            raise MethodError(f"{row.name} makes no maps of a prediction: exam_methods takes {known[0].name}, ...")
    networks = exam_networks(n, seed)
    found = [_examined(row, networks, seed) for row in track(rows, len(rows), "methods")]
    share, apart, on_truth = (torch.stack([one[i] for one, _ in found]) for i in range(3))
    return MethodExam(
        tuple(row.name for row in rows),
        tuple(network.name for network in networks),
        share,
        apart,
        on_truth,
        torch.stack([chance(network, seed) for network in networks]),
        tuple(row.reduce for row in rows),
        tuple(said for _, said in found),
        n,
    )


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _examined(method: Method, networks: Sequence[ExamNetwork], seed: int) -> tuple[tuple[Tensor, Tensor, Tensor], str]:
    """Returns the shares found, the margins and the masses (k,) of one method, and why it refused a network, else ""."""
    marks, said = [nan_marks(len(networks)) for _ in range(3)], ""
    own = {one.name for one in parameters(method)}
    given = {name: value for name, value in {**SQUARES, "seed": seed}.items() if name in own}
    for i, network in enumerate(networks):
        try:
            maps = method.function(network.model, network.images, network.target, **given, **SMALLER.get(method.name, {}))
        except TapetumError as refusal:
            said = str(refusal)
            continue
        apart = margins(network, maps)
        marks[0][i], marks[1][i] = (apart > CLEAR).double().mean(), apart.mean()
        marks[2][i] = mass(network, maps).mean()
    return (marks[0], marks[1], marks[2]), said
