"""Works on one shard: the result depends on the shard alone, not on where or when it is computed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.data.streams import Source
from tapetum.data.streams.base import read_images
from tapetum.engines.probe import capture
from tapetum.engines.scan.ledger import Ledger
from tapetum.engines.scan.plan import Plan
from tapetum.engines.scan.shards import ShardResult, States, Tick
from tapetum.engines.scan.trackers import SeenBatch, Sees, Tracker, together
from tapetum.engines.signed import capture_signed
from tapetum.models.vision_model import VisionModel
from tapetum.processor import processor
from tapetum.types import LayerError

Decoded: TypeAlias = Iterator[tuple[int, Tensor, list[int]]]
"""(number of pictures, readable ones as images, their samples) for each batch of a shard."""


@dataclass(frozen=True, eq=False)
class Job:
    """All that a worker needs to compute shards; can be pickled. Finished shards go to `ledger`; without one they are
    returned."""

    model: VisionModel
    source: Source
    trackers: Mapping[str, Sequence[Tracker]]
    plan: Plan
    pre_activation: bool = False
    precision: Literal["exact", "fast"] = "exact"
    ledger: Ledger | None = None

    def channels(self) -> dict[str, int]:
        """Returns {layer: number of units}; refuses layers without channels."""
        survey = self.model.survey  # read once: checking that the model is unchanged takes a millisecond
        found: dict[str, int] = {}
        for name in self.trackers:
            units = survey[name].units
            if units is None:
                raise LayerError(f"{name} has no channels that a scan could rank (its output is {survey[name].shape})")
            found[name] = units
        return found

    def start(self) -> States:
        """Returns the trackers' initial states, before any picture."""
        channels = self.channels()
        return {layer: [one.start(channels[layer]) for one in many] for layer, many in self.trackers.items()}

    def merge(self, a: States, b: States) -> States:
        return {
            layer: [one.merge(x, y) for one, x, y in zip(many, a[layer], b[layer], strict=True)]
            for layer, many in self.trackers.items()
        }

    def work(self, shard: int, tick: Tick = lambda _: None) -> ShardResult:
        """Computes one shard from its pictures; callers set torch to one thread, since their number affects the last bits."""
        seconds = {"decoding": 0.0, "network": 0.0, "trackers": 0.0}
        states, skipped = self.start(), {}
        with torch.no_grad(), self.model.pinned():
            self.fill(states, self._decoded(shard, skipped, seconds), skipped, seconds, tick)
        result = ShardResult(shard, states, skipped, seconds, processor(self.model.device))
        if self.ledger is None:
            return result
        self.ledger.write(result)
        return replace(result, states={})

    def fill(self, states: States, decoded: Decoded, skipped: dict[int, str], seconds: dict[str, float], tick: Tick) -> None:
        """Updates the states with the batches of a shard; records pictures that are left out, and the seconds spent."""
        scored: list[dict[str, SeenBatch]] = []
        for pictures, images, samples in decoded:
            if samples:
                scored.append(self._look(images, samples, states, skipped, seconds))
            tick(pictures)
        with timed(seconds, "trackers"):
            if scored:
                self._update(states, {layer: together([one[layer] for one in scored]) for layer in states}, "scores")

    def _look(
        self, images: Tensor, samples: list[int], states: States, skipped: dict[int, str], seconds: dict[str, float]
    ) -> dict[str, SeenBatch]:
        """Runs one batch: updates the trackers that read maps, and returns the maxima and means for the other trackers."""
        with timed(seconds, "network"):
            seen = self.look(images, samples)
        with timed(seconds, "trackers"):
            seen = _finite(seen, skipped)
            self._update(states, seen, "maps")
            return {layer: one.scores() for layer, one in seen.items()}

    def _update(self, states: States, seen: Mapping[str, SeenBatch], what: Sees) -> None:
        """Updates either the trackers that read maps or those that read scores, as `what` says."""
        for layer, one in seen.items():
            for i, tracker in enumerate(self.trackers[layer]):
                if len(one.samples) and getattr(tracker, "sees", "maps") == what:
                    states[layer][i] = tracker.update(states[layer][i], one)

    def look(self, images: Tensor, samples: Sequence[int]) -> dict[str, SeenBatch]:
        """Returns the maps of every layer for a batch of model-ready images; the forward pass stops after the deepest layer."""
        images = self.model.laid_out(images.to(self.model.device, self.model.dtype))
        watch = capture_signed if self.pre_activation else capture
        faster = torch.autocast(images.device.type, torch.bfloat16) if self.precision == "fast" else nullcontext()
        with faster, watch(self.model, list(self.trackers)) as maps:
            self.model(images)
        numbers = torch.tensor(samples)
        return {layer: SeenBatch(_places(maps[layer]), numbers) for layer in self.trackers}

    # --- decoding, beside the network

    def _decoded(self, shard: int, skipped: dict[int, str], seconds: dict[str, float]) -> Decoded:
        """Yields (number of pictures, readable ones as images, their samples) per batch; decodes the next batch meanwhile."""
        with ThreadPoolExecutor(1) as decoder:
            batches = list(self.plan.batches(shard))
            pending = decoder.submit(self.read, batches[0], seconds)
            for i in range(len(batches)):
                images, samples, refused = pending.result()
                skipped.update(refused)
                if i + 1 < len(batches):
                    pending = decoder.submit(self.read, batches[i + 1], seconds)
                yield len(batches[i]), images, samples

    def read(self, batch: range, seconds: dict[str, float]) -> tuple[Tensor, list[int], dict[int, str]]:
        """Returns the readable pictures of a batch as images, their samples, and why others are left out."""
        with timed(seconds, "decoding"):
            return read_images(self.source, batch, self.model.preprocessing)


def _places(maps: Tensor) -> Tensor:
    """Returns maps (n, c, h, w); vectors (n, c) become maps (n, c, 1, 1)."""
    return maps[:, :, None, None] if maps.ndim == 2 else maps


def _finite(seen: dict[str, SeenBatch], skipped: dict[int, str]) -> dict[str, SeenBatch]:
    """Drops pictures on which a layer has NaN or infinite values, which cannot be ranked, and records them as skipped."""
    first = next(iter(seen.values()))
    good = torch.ones(len(first.samples), dtype=torch.bool)
    for layer, one in seen.items():
        fine = (torch.isfinite(one.peak) & torch.isfinite(one.mean)).all(1)
        for sample in one.samples[good & ~fine].tolist():
            skipped[sample] = f"NaN or infinity at {layer}"
        good &= fine
    return seen if bool(good.all()) else {layer: one.rows(good) for layer, one in seen.items()}


@contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Adds the seconds that the block takes to the total of a kind of work."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[what] += time.perf_counter() - start
