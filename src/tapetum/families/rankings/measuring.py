"""Measures maps of several methods on every picture of a data set, as the shards of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.scan.job import Decoded, Job, timed
from tapetum.engines.scan.shards import States, Tick
from tapetum.engines.scan.trackers import Context, SeenBatch, State, sample_rows
from tapetum.families.metrics.curves import EVIDENCE, deletion
from tapetum.models.vision_model import VisionModel
from tapetum.registry import lookup, parameters, places
from tapetum.types import Attribution, Evaluation, TapetumError

HIDDEN = (1, 2, 4)
"""How many of the fourteen steps of a deletion are hidden, for the three predictions of a map."""

MISSING = float("inf")
"""Stands for a number that is not there: a shard with NaN counts as damaged."""


@dataclass(frozen=True)
class MapNumbers:
    """Keeps a row of numbers per picture: per method its metrics, its predicted and its measured drops.

    The names and the settings of metrics are parameters of the tracker, so that shards of others are not taken for these.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    seed: int = 0
    settings: str = repr({name: dict(given) for name, given in EVIDENCE.items()})

    @property
    def width(self) -> int:
        """Numbers per method."""
        return len(self.metrics) + 2 * len(HIDDEN)

    def start(self, channels: int = 0) -> State:
        columns = len(self.methods) * self.width
        return {"samples": torch.zeros(0, dtype=torch.int64), "numbers": torch.zeros(0, columns, dtype=torch.float64)}

    def update(self, state: State, seen: SeenBatch) -> State:
        """Returns the state unchanged: rows come from maps of methods, not from a layer."""
        return state

    def merge(self, a: State, b: State) -> State:
        return sample_rows.merged(a, b)

    def result(self, state: State, context: Context) -> tuple[Tensor, Tensor]:
        return self.read(state)

    def read(self, state: State) -> tuple[Tensor, Tensor]:
        """Returns the samples (p,), and the numbers (p, methods, width) with NaN where there is none."""
        numbers = state["numbers"].reshape(-1, len(self.methods), self.width)
        return state["samples"], torch.where(numbers.isinf(), torch.nan, numbers)


@dataclass(frozen=True, eq=False)
class MapsJob(Job):
    """A scan's job whose only tracker is `MapNumbers`: a shard explains its pictures by every method, and measures the maps."""

    @property
    def numbers(self) -> MapNumbers:
        (tracker,) = next(iter(self.trackers.values()))
        assert isinstance(tracker, MapNumbers)
        return tracker

    def start(self) -> States:
        return {layer: [self.numbers.start()] for layer in self.trackers}

    def fill(self, states: States, decoded: Decoded, skipped: dict[int, str], seconds: dict[str, float], tick: Tick) -> None:
        (layer,) = states
        for pictures, images, samples in decoded:
            if samples:
                with timed(seconds, "network"):
                    rows = self.rows(images.to(self.model.device, self.model.dtype))
                new = {"samples": torch.tensor(samples), "numbers": rows}
                states[layer] = [self.numbers.merge(states[layer][0], new)]
            tick(pictures)

    def rows(self, images: Tensor) -> Tensor:
        """Returns the numbers (n, columns) of a batch of images."""
        return torch.cat([self._of(name, images) for name in self.numbers.methods], 1)

    def _of(self, method: str, images: Tensor) -> Tensor:
        """Returns a method's numbers (n, width); if it refuses the batch, of one image after the other."""
        try:
            return numbers_of(self.model, method, images, self.numbers)
        except TapetumError:
            if len(images) == 1:
                return torch.full((1, self.numbers.width), MISSING, dtype=torch.float64)
            return torch.cat([self._of(method, image) for image in images.split(1)])


def numbers_of(model: VisionModel, method: str, images: Tensor, wanted: MapNumbers) -> Tensor:
    """Returns (n, width): a method's metrics, and the drops that its maps predict and those that come."""
    maps, found = measured(model, method, images, wanted)
    values = torch.stack([found[name].value.double().cpu() for name in wanted.metrics], 1)
    numbers = torch.cat([values, *drops(maps, found["deletion"])], 1)
    return numbers.nan_to_num(nan=MISSING, posinf=MISSING, neginf=MISSING)


def measured(model: VisionModel, method: str, images: Tensor, wanted: MapNumbers) -> tuple[Attribution, dict[str, Evaluation]]:
    """Returns a method's maps, and {metric: result}, deletion always among them."""
    row = lookup(method)
    given = {"seed": wanted.seed} if any(one.name == "seed" for one in parameters(row)) else {}
    maps = row.function(model, images, **given)
    return maps, {name: _measured(name, model, images, maps) for name in dict.fromkeys((*wanted.metrics, "deletion"))}


def _measured(name: str, model: VisionModel, images: Tensor, maps: Attribution) -> Evaluation:
    metric = lookup(name)
    about: Mapping[str, Any] = {"model": model, "images": images, "attribution": maps}
    return metric.function(**{place: about[place] for place in places(metric)}, **EVIDENCE.get(name, {}))


def drops(maps: Attribution, deleted: Evaluation) -> tuple[Tensor, Tensor]:
    """Returns the drops of the probability that maps predict and those that came, each (n, 3), NaN without a probability.

    Predicted: the share of the map's positive evidence in the cells that are hidden, times the probability.
    """
    cells = F.adaptive_avg_pool2d(maps.ranking()[:, None].double(), _cells(maps.size)).flatten(1).cpu()
    positive = cells.sort(1, descending=True).values.clamp(min=0)
    steps = len(deleted.fraction) - 1
    whole, curve = positive.sum(1), deleted.curve.double().cpu()
    shares = torch.stack([positive[:, : round(cells.shape[1] * k / steps)].sum(1) / whole for k in HIDDEN], 1)
    predicted = curve[:, :1] * shares
    measured = curve[:, :1] - curve[:, list(HIDDEN)]
    bad = predicted.isnan() | torch.tensor(deleted.measures != "probability")
    return predicted.masked_fill(bad, torch.nan), measured.masked_fill(bad, torch.nan)


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    cells = EVIDENCE[deletion.__name__]["cells"]
    return min(cells, size[0]), min(cells, size[1])


def refuse_masks(names: Sequence[str]) -> None:
    """Refuses metrics that need masks, which a folder of pictures does not have, and names that are no metrics."""
    for name in names:
        metric = lookup(name)
        if metric.kind != "metric":
            raise TapetumError(f"{name} is no metric; rank_methods takes some such as insertion and deletion")
        if "masks" in places(metric):
            raise TapetumError(f"{name} needs masks of the objects, and a data set has none: take metrics such as insertion")
