"""Ranks methods over the pictures of a data set: means with intervals, mean ranks, and track records of predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import OtherRunner, Resume, Seed, ShardFolder, Workers
from tapetum.data.streams import Source
from tapetum.data.streams.chosen import drawn
from tapetum.engines.ranks import critical_difference, friedman, interval, ranked, resamples
from tapetum.engines.scan.local import Threads
from tapetum.engines.scan.plan import Plan
from tapetum.engines.scan.scan import scan
from tapetum.engines.scan.scanning import ledger_of
from tapetum.engines.threads import usual_workers
from tapetum.families.exams.passed import PASSED
from tapetum.families.rankings.measuring import HIDDEN, MapNumbers, MapsJob, measured, refuse_masks
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import stage
from tapetum.registry import lookup
from tapetum.types import Better, Evaluation, MethodError, MethodRanking, Range, ScanResult, TapetumError
from tapetum.types.rankings import BINS, FEWEST, NEAR
from tapetum.types.text import split_names

USUAL = (
    "grad_cam", "hires_cam", "layer_cam", "integrated_gradients", "smooth_grad", "input_x_gradient",
    "random_attribution", "edge_attribution",
)  # fmt: skip
"""Methods that take less than a second or so on a picture, and two baselines that know nothing of the model's decision."""


WARM_S = 5.0
"""Seconds below which the trial is made twice, since the first pass of a model takes longer."""


@survey(cite="demsar2006statistical", question="trust")
def rank_methods(
    model: VisionModel,
    source: Source,
    *,
    methods: str | Sequence[str] = USUAL,
    metrics: str | Sequence[str] = ("insertion", "deletion"),
    n: Annotated[int, Range(1, 1_000_000)] | None = 50,
    seed: Seed = 0,
    workers: Workers = None,
    run: OtherRunner = None,
    out: ShardFolder = None,
    resume: Resume = True,
    batch: Annotated[int, Range(1, 1000)] = 4,
) -> MethodRanking:
    """Which attribution methods explain a model best on one's own pictures, with what cannot be told apart.

    Every method explains the predicted class of each picture, and metrics measure its map (deletion and insertion with squares
    of a 14 x 14 grid and a blurred picture, as reports do). mean (n, k) of n methods by k metrics over the pictures on which
    all methods have a number, with intervals of 95 % by resampling pictures; ranks (n, k), the mean rank, 1 is the best. Ranks
    that differ by less than `critical` = q sqrt(n (n + 1) / (12 pictures)) cannot be told apart (Nemenyi's test after
    Friedman's; q is the quantile of the range of n normal numbers). Track record: a map predicts that hiding the places
    with a share s of its positive evidence lowers the probability by the share s of it; `true` (n,) in [0, 1] is the share of
    predictions that came true to within .1, `calibration` the measured drop for predicted ones. `tp.show` draws the ranks, with
    view="record" the track records. Pictures that cannot be read are skipped and listed; progress says first what
    the work will cost.

    Args:
        methods: names, several with commas between or as a sequence.
        metrics: names of metrics that need no masks.
        n: pictures, drawn at random; None: all.
        seed: random seed of the drawn pictures, of sampled methods, and of the intervals.
        batch: pictures that a method explains at once, which decides the last bits.

    Example:
        >>> print(tp.rank_methods(model, folder, methods=["grad_cam", "random_attribution"], n=4))
    """
    names, measures = _names("methods", methods), _names("metrics", metrics)
    for name in names:
        if lookup(name).kind != "attribution":
            raise MethodError(f"{name} makes no maps of a prediction; rank_methods takes methods such as {USUAL[0]}")
    refuse_masks(measures)
    failed = [name for name in measures if name not in PASSED]
    if failed:
        note(f"{', '.join(failed)} did not pass the exam (docs/exam.md): do not choose a method by it")
    job = _job(model, drawn(source, n, seed), MapNumbers(names, measures, seed), out, batch)
    runner = run or Threads(workers)
    with stage("one picture first"):
        better, seconds = _tried(job)
    with stage(_cost(job, seconds, workers)):
        found = scan(job, runner, resume=resume)
    return _ranking(job, found, better)


def _names(what: str, given: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(split_names(given) if isinstance(given, str) else given))
    if not names:
        raise MethodError(f"{what} names nothing; give names with commas between")
    return names


def _job(model: VisionModel, source: Source, numbers: MapNumbers, out: ShardFolder, batch: int) -> MapsJob:
    """Returns the job; a shard is a batch, since explaining a picture takes as long as it takes a scan to read sixty."""
    layers = model.layers()
    if not layers:
        raise TapetumError(f"{model.name} has no layers: rank_methods needs a network of modules")
    return MapsJob(model, source, {layers[0].name: [numbers]}, Plan(len(source.ids), batch, batch), ledger=ledger_of(out))


def _tried(job: MapsJob) -> tuple[tuple[Better, ...], float]:
    """Measures the first readable picture: returns each metric's good direction, and the seconds that a picture takes.

    A method or a metric that refuses this network refuses here, in its own words.
    """
    singles = (job.read(range(i, i + 1), {"decoding": 0.0})[0] for i in range(job.plan.count))
    image = next((one for one in singles if len(one)), None)
    if image is None:  # the scan says so
        return (), 0.0
    ready = image.to(job.model.device, job.model.dtype)
    seconds, found = _timed(job, ready)
    if seconds < WARM_S:  # the first time a model also finds out about layers and memory
        seconds, found = _timed(job, ready)
    return tuple(found[name].better for name in job.numbers.metrics), seconds


def _timed(job: MapsJob, image: Tensor) -> tuple[float, dict[str, Evaluation]]:
    """Measures one picture by every method; returns the seconds, and the last method's results by metric."""
    begun = time.perf_counter()
    found = [measured(job.model, name, image, job.numbers)[1] for name in job.numbers.methods]
    return time.perf_counter() - begun, found[-1]


def _cost(job: MapsJob, seconds: float, workers: int | None) -> str:
    """Says what will be done, and about how long it takes."""
    pictures, numbers = job.plan.count, job.numbers
    spent = pictures * seconds * torch.get_num_threads() / (workers or usual_workers(job.model.device))
    time_ = f"{spent:.0f} s" if spent < 100 else f"{spent / 60:.0f} min" if spent < 6000 else f"{spent / 3600:.1f} h"
    what = f"{pictures} pictures x {len(numbers.methods)} methods x {len(numbers.metrics)} metrics"
    return f"{what}: about {time_} on this machine" if seconds else what


# --- the statistics


def _ranking(job: MapsJob, found: ScanResult, better: tuple[Better, ...]) -> MethodRanking:
    """Computes the ranking from the numbers of all pictures; without pictures, as on all ranks but the first, it is empty."""
    numbers, k = job.numbers, len(job.numbers.metrics)
    kept = [results[0] for results in found.results.values()]
    samples, table = kept[0] if kept else numbers.read(numbers.start())
    values = table[:, :, :k].permute(1, 2, 0)
    predicted, came = (one.permute(1, 0, 2) for one in table[:, :, k:].split(len(HIDDEN), 2))
    times = resamples(len(samples), numbers.seed)
    columns = [_column(values[:, i].T, better[i] == "higher", numbers.seed) for i in range(k)]
    return MethodRanking(
        numbers.methods,
        numbers.metrics,
        better,
        values,
        torch.stack([one[0] for one in columns], 1),
        torch.stack([one[1] for one in columns], 1),
        torch.stack([one[2] for one in columns], 1),
        tuple(one[3] for one in columns),
        tuple(critical_difference(len(numbers.methods), one[3]) for one in columns),
        tuple(one[4] for one in columns),
        predicted,
        came,
        *_record(predicted, came, times),
        tuple(found.ids[sample] for sample in samples.tolist()),
        dict(found.skipped),
        dict(found.seconds),
        job.model.name,
        job.source.name,
        (*found.notes, *_lost(numbers, values)),
    )


def _column(values: Tensor, higher: bool, seed: int) -> tuple[Tensor, Tensor, Tensor, int, float]:
    """Returns of one metric, from values (p, n): means (n,), intervals (n, 2), mean ranks (n,), pictures, Friedman's p."""
    whole = values[~values.isnan().any(1)]
    n = len(whole)
    ones = torch.ones_like(whole)
    if n == 0:
        nothing = torch.full((values.shape[1],), torch.nan, dtype=torch.float64)
        return nothing, nothing[:, None].repeat(1, 2), nothing, 0, 1.0
    ranks = ranked(whole, higher).double()
    return whole.mean(0), interval(whole, ones, resamples(n, seed)), ranks.mean(0), n, friedman(ranks)


def _record(predicted: Tensor, measured: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the shares (n,) of predictions (n, p, 3) that came true, their intervals, and the curves (n, 5, 4)."""
    there = ~predicted.isnan()
    came = ((predicted - measured).abs() <= NEAR) & there
    shares = came.sum((1, 2)) / there.sum((1, 2))
    if not predicted.shape[1]:
        nothing = torch.full((len(predicted), BINS, 4), torch.nan, dtype=torch.float64)
        return shares.double(), nothing[:, 0, :2], nothing
    spans = interval(came.sum(2).T, there.sum(2).T, times)
    curve = torch.stack([_curve(a, b, times) for a, b in zip(predicted, measured, strict=True)])
    return shares.double(), spans, curve


def _curve(predicted: Tensor, measured: Tensor, times: Tensor) -> Tensor:
    """Returns (5, 4): of each bin of predicted drops (p, 3) the mean predicted, the mean measured, and its interval.

    NaN for bins with predictions of too few pictures, whose interval would be too narrow.
    """
    place = (predicted * BINS).floor().clamp(0, BINS - 1).nan_to_num(nan=-1)
    inside = place[:, None] == torch.arange(BINS)[None, :, None]  # (p, 5, 3)
    counts = inside.sum(2)
    sums = [torch.where(inside, one[:, None], 0.0).sum(2) for one in (predicted, measured)]
    means = [one.sum(0) / counts.sum(0) for one in sums]
    found = torch.cat([torch.stack(means, 1), interval(sums[1], counts, times)], 1)
    return found.masked_fill(((counts > 0).sum(0) < FEWEST)[:, None], torch.nan)


def _lost(numbers: MapNumbers, values: Tensor) -> list[str]:
    """Names methods that have no number on some pictures, which then count for none."""
    missing = values.isnan().any(1).sum(1).tolist()
    return [
        f"{name} has no number on {count} of {values.shape[2]} pictures, which count for no method"
        for name, count in zip(numbers.methods, missing, strict=True)
        if count
    ]
