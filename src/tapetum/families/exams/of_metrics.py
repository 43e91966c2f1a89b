"""Examines metrics: whether they know a true map from maps that are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tapetum.families.baselines import edge_attribution
from tapetum.families.exams.networks import SIDE, ExamNetwork, exam_networks
from tapetum.progress import track
from tapetum.registry import lookup, methods, parameters, places
from tapetum.types import Attribution, Method, MethodError, MetricExam, TapetumError
from tapetum.types.exams import nan_marks

FOR_SMALL: Mapping[str, Mapping[str, Any]] = {"pointing_game": {"tolerance_px": 1}}
"""Settings in pixels, made smaller as the pictures are: 32 px where the paper's have 500."""

ABOUT = ("model", "images", "attribution", "masks")
"""Positional parameters of metrics that the exam can give."""

TELLING = 0.05
"""Least difference in value that counts, in distances between the true map and the median random map."""

DRAWN, WRONG = ("noise", "shuffled"), ("decoys", "opposite")
"""Kinds of maps that are drawn at random, and that show nothing of the truth."""

N_RANDOM = 20
"""Random maps per picture: half of them noise, half of them the truth with its places shuffled."""

KNOWING = "deep_lift"
"""Method whose maps are the truth on all six networks, for metrics that make the map again and so need a method."""

N_AGAIN = 3
"""Random maps per picture for such metrics, each made again many times."""


def exam_metrics(names: str | Sequence[str] | None = None, *, n: int = 10, seed: int = 0) -> MetricExam:
    """Examines whether metrics know the truth on six networks whose true explanation is known (`exam_networks`).

    The true map of each picture meets 20 random maps (ten of noise, ten with the true places shuffled; none is right by luck),
    the picture's edges, the patterns that do not count, and its own opposite, all of the same sum of magnitudes. The unit is
    the distance in value between the true map and the median random map. wins = share of the pictures where no map is better
    than the true one by more than a twentieth of it, and the last two are worse: the test of the perfect explanation.
    loses = share of the random maps that are worse by more than a twentieth: the test of the random one. A map that shows half
    of the truth may do as well as the whole: with one of two places hidden, an AND is gone. Metrics that make the map again
    are given `deep_lift`, which finds the truth on all six, against `random_attribution` and `edge_attribution`, all of which
    have to be worse. A metric passes that reaches .9 in both on every network; only such metrics may be part of a verdict
    (`PASSED`).

    Args:
        names: metrics; None: all.
        n: pictures per network.
        seed: of the pictures and of the random maps.

    Example:
        >>> print(tp.exam_metrics(["relevance_mass", "relevance_rank"], n=2))
    """
    known = methods(kind="metric")
    rows = [lookup(name) for name in ([names] if isinstance(names, str) else names)] if names is not None else list(known)
    for row in rows:
        if row.kind != "metric":
            raise MethodError(f"{row.name} is no metric; there are {', '.join(one.name for one in known)}")
    networks = exam_networks(n, seed)
    rivals = [_rivals(network, torch.Generator().manual_seed(seed)) for network in networks]
    found = [_examined(row, networks, rivals) for row in track(rows, len(rows), "metrics")]
    wins, loses = (torch.stack([one[i] for one, _, _ in found]) for i in (0, 1))
    return MetricExam(
        tuple(row.name for row in rows),
        tuple(network.name for network in networks),
        wins,
        loses,
        tuple(best for _, best, _ in found),
        tuple(said for _, _, said in found),
        n,
    )


def _rivals(network: ExamNetwork, generator: torch.Generator) -> dict[str, list[Tensor]]:
    """Returns {kind: maps (n, 3, 32, 32)} of the wrong maps, each with the truth's sum of magnitudes."""
    truth, places = network.truth, network.places
    kinds = {
        "noise": [_at_places(_drawn(places, generator, _noise)) for _ in range(N_RANDOM // 2)],
        "shuffled": [_at_places(_drawn(places, generator, _shuffled)) for _ in range(N_RANDOM // 2)],
        "edges": [edge_attribution(network.model, network.images).values],
        "decoys": [_at_places(network.decoys.double())],
        "opposite": [-truth],
    }
    size = truth.abs().sum((1, 2, 3), keepdim=True)
    return {name: [one.expand_as(truth) * size / _size(one) for one in maps] for name, maps in kinds.items()}


def _size(maps: Tensor) -> Tensor:
    return maps.abs().sum((1, 2, 3), keepdim=True) * (3 // maps.shape[1])


def _at_places(values: Tensor) -> Tensor:
    """Returns maps (n, 1, 32, 32) of values (n, 4, 4) per place."""
    return values.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)[:, None]


Draw: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]


def _noise(truth: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(truth.shape, generator=generator, dtype=truth.dtype)


def _shuffled(truth: Tensor, generator: torch.Generator) -> Tensor:
    return truth[torch.randperm(len(truth), generator=generator)]


def _drawn(places: Tensor, generator: torch.Generator, draw: Draw) -> Tensor:
    """Draws a map (n, 4, 4); one that happens to put every place that counts above all others is drawn again."""
    rows: list[Tensor] = []
    for truth in places.flatten(1):
        one = draw(truth, generator)
        while one[truth > 0].min() > one[truth <= 0].max():
            one = draw(truth, generator)
        rows.append(one)
    return torch.stack(rows).reshape(places.shape)


def _examined(
    metric: Method, networks: Sequence[ExamNetwork], rivals: Sequence[Mapping[str, list[Tensor]]]
) -> tuple[tuple[Tensor, Tensor], tuple[str, ...], str]:
    """Returns (wins, loses) (k,), the strongest rival on each network, and why the metric refused a network, else ""."""
    wins, loses, best, said = nan_marks(len(networks)), nan_marks(len(networks)), [""] * len(networks), ""
    again = any(one.name == "parameters" for one in parameters(metric))
    for i, (network, kinds) in enumerate(zip(networks, rivals, strict=True)):
        try:
            names, values = _of_methods(metric, network) if again else _of_maps(metric, network, kinds)
        except TapetumError as refusal:
            said = str(refusal)
            continue
        drawn = torch.tensor([name in DRAWN for name in names])
        wrong = torch.tensor([again or name in WRONG for name in names])
        ahead = _ahead(values[0], values[1:], drawn)
        wins[i] = ((ahead >= -TELLING).all(0) & (ahead[wrong] > TELLING).all(0)).double().mean()
        loses[i] = (ahead[drawn] > TELLING).double().mean()
        best[i] = _strongest(names, ahead)
    return (wins, loses), tuple(best), said


def _of_maps(metric: Method, network: ExamNetwork, kinds: Mapping[str, list[Tensor]]) -> tuple[list[str], Tensor]:
    """Returns the kinds of the wrong maps, and the values (1 + maps, n) of the true map and of these."""
    names = [name for name, maps in kinds.items() for _ in maps]
    return names, _values(metric, network, [network.truth, *(one for maps in kinds.values() for one in maps)])


def _of_methods(metric: Method, network: ExamNetwork) -> tuple[list[str], Tensor]:
    """Returns the same of methods in place of maps: one that finds the truth, and two that know nothing of the network."""
    asked = [(KNOWING, {}), *(("random_attribution", {"seed": seed}) for seed in range(N_AGAIN)), ("edge_attribution", {})]
    rows: list[Tensor] = []
    for name, given in asked:
        made = lookup(name).function(network.model, network.images, network.target, **given)
        found = metric.function(network.model, network.images, made, parameters=given)
        rows.append(_higher_is_better(found))
    return ["noise"] * N_AGAIN + ["edges"], torch.stack(rows)


def _values(metric: Method, network: ExamNetwork, maps: Sequence[Tensor]) -> Tensor:
    """Returns the metric's value of each of m maps of n pictures, (m, n), so that higher is better."""
    unknown = [place for place in places(metric) if place not in ABOUT]
    if unknown:
        raise MethodError(f"{metric.name} asks for {', '.join(unknown)}, which the exam does not have")
    n, m = len(network.images), len(maps)
    if any(one.name == "method" for one in parameters(metric)):
        rows = [_repeated(metric, network, one, row) for one in maps for row in range(n)]
        return torch.cat(rows).reshape(m, n)
    many, masks = network.images.repeat(m, 1, 1, 1), network.masks.repeat(m, 1, 1)
    return _measured(metric, network, many, torch.cat(list(maps)), masks).reshape(m, n)


def _repeated(metric: Method, network: ExamNetwork, maps: Tensor, row: int) -> Tensor:
    """Returns the value (1,) of one map by a metric that makes it again: a truth, and a wrong map, stays under small noise."""

    def method(model: Any, images: Tensor, target: Any) -> Attribution:
        return network.as_map(maps[row : row + 1].expand(len(images), -1, -1, -1))

    one = slice(row, row + 1)
    return _measured(metric, network, network.images[one], maps[one], network.masks[one], method=method)


def _measured(metric: Method, network: ExamNetwork, images: Tensor, maps: Tensor, masks: Tensor, **more: Any) -> Tensor:
    about = {"model": network.model, "images": images, "attribution": network.as_map(maps), "masks": masks}
    found = metric.function(**{place: about[place] for place in places(metric)}, **FOR_SMALL.get(metric.name, {}), **more)
    return _higher_is_better(found)


def _higher_is_better(found: Any) -> Tensor:
    values = found.value.double().cpu()
    return -values if getattr(found, "better", "higher") == "lower" else values


def _ahead(truth: Tensor, rivals: Tensor, drawn: Tensor) -> Tensor:
    """Returns by how much the true map is better than each of r maps of n pictures, (r, n).

    The unit is the distance to the median random map. Minus infinity where the true map has no value, or none better than
    the median; infinity where the other map has none.
    """
    unit = truth - rivals[drawn].nanmedian(0).values
    ahead = ((truth - rivals) / unit).masked_fill(rivals.isnan(), torch.inf)
    return ahead.masked_fill(~(unit > 1e-9 * truth.abs().clamp(min=1e-3)), -torch.inf)


def _strongest(names: Sequence[str], ahead: Tensor) -> str:
    """Returns the kind of map that the true one is least ahead of, mean over pictures, where that is not clear; else ""."""
    least, name = min((float(row.mean()), name) for name, row in zip(names, ahead, strict=True))
    return name if least <= TELLING else ""
