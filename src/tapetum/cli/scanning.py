"""`tapetum scan DATA`: every picture looked at once, into a folder that the same command fills further after any interruption.

plan.json, shards/     what is scanned with what, and the shards that are done
results/LAYER/0-spectrum/   what `tapetum.open` reads, a folder for each tracker
scan.json              counts, what was skipped, where the time went; written last        scan.jsonl   the way there
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from tapetum import store
from tapetum.cli.folders import checked_folder
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, fail, note, one_line, say
from tapetum.data.streams import Source, as_source
from tapetum.engines.scan import Runner, Threads, trackers
from tapetum.families.scanning import scan
from tapetum.keeping.provenance import versions
from tapetum.loggers import Logger, Throughput, closing, open_logger
from tapetum.models.blocks import block_layers
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, Watcher, watching
from tapetum.reports.machine import write_json
from tapetum.types import Cancelled, ScanResult, TapetumError, UnwritableError

SUMMARY = "scan.json"
RESULTS = "results"
OWN = re.compile(
    r"plan\.json|scan\.jsonl?|shards/\d+\.npz|(shards/)?\.[0-9a-f]{32}\.part"
    r"|(results|\.results-[0-9a-f]{32})/[^/]+/\.?\d+-[^/]+/(arrays\.npz|manifest\.json)|(tensorboard|wandb)/.*"
)
"""Files of a scan's folder, relative to it."""

CHOICES = {"score": ("max", "mean"), "precision": ("exact", "fast")}

NAMED = 10
"""Skipped pictures that are named in the terminal; scan.json has all."""


@dataclass
class Asked:
    """What the command line asks for."""

    data: str
    model: ModelChoice
    out: Path
    layers: str | None
    trackers: str
    log: str
    as_json: bool
    run: Runner
    first: bool = True
    shards: str | None = None
    tracker_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def scan_folder(asked: Asked) -> int:
    """Scans and saves; 0, or 1 if pictures were skipped. Only the first of several ranks saves."""
    for name, values in CHOICES.items():
        given = {**asked.settings, **asked.tracker_settings}.get(name)
        if given not in (None, *values):
            raise TapetumError(f"--{name} is {' or '.join(values)}, not {given}")
    folder = _tidy(checked_folder(asked.out, _ours)) if asked.first else Path(os.path.realpath(asked.out))
    network, source = _placed(asked.model.load(), asked.run), as_source(asked.data)
    layers = _layers(network, asked.layers)
    many = made_trackers(asked.trackers, asked.tracker_settings)
    about = {"data": source.name, "model": network.source, "layers": ",".join(layers), "trackers": asked.trackers}
    loggers = _loggers(asked.log, folder, about) if asked.first else []
    with closing(loggers):
        throughput = Throughput(loggers)
        result = _scanned(asked, network, source, dict.fromkeys(layers, many), folder, throughput)
        if not result:
            return 0  # another rank's
        summary = _summary(asked, network, source, result, many)
        throughput.log({"skipped": len(result.skipped), **_seconds(result)}, len(result.ids))
    _save(folder, result, many)
    write_json(folder / SUMMARY, summary)
    _tell(asked, folder, result, summary)
    crash = getattr(asked.run, "launcher", None) == "torchrun"  # what any status but 0 is to it: it would stop or restart all
    return 1 if result.skipped and not crash else 0


# --- what is asked for


def runner(ray: str | None, workers: int | None) -> tuple[Runner, bool]:
    """Where the work is done, and whether this process is the one that saves: Ray, ranks if a launcher began us, or threads."""
    from tapetum.runners.ranks import Ranks, found_launcher

    if ray is not None:
        from tapetum.runners.ray_actors import Ray

        return Ray(ray, workers), True
    if found_launcher() is not None:
        ranks = Ranks(workers)
        return ranks, ranks.collects
    return Threads(workers), True


def _placed(network: VisionModel, run: Runner) -> VisionModel:
    """On the accelerator of this rank."""
    device = getattr(run, "device", "cpu")
    if device != "cpu":
        network.module.to(device)
    return network


def _layers(network: VisionModel, text: str | None) -> list[str]:
    if text is None:
        return list(block_layers(network.survey))
    return network.find_layers([name.strip() for name in text.split(",") if name.strip()])


def tracker_classes() -> dict[str, type]:
    """name -> tracker: every frozen dataclass of the trackers' package that can give a result."""
    found = (one for one in vars(trackers).values() if isinstance(one, type) and is_dataclass(one) and hasattr(one, "result"))
    return {one.__name__.lower(): one for one in found}


def made_trackers(text: str, settings: Mapping[str, Any]) -> list[Any]:
    """The trackers of a text such as "spectrum,topk", each with those of the settings that it has."""
    known, found = tracker_classes(), []
    for name in (word.strip().lower() for word in text.split(",") if word.strip()):
        if name not in known:
            raise TapetumError(f"no tracker '{name}'; there are {', '.join(known)}")
        wanted = {one.name for one in fields(known[name])} & set(settings)
        found.append(known[name](**{key: settings[key] for key in wanted}))
    if not found:
        raise TapetumError(f"--trackers names none; there are {', '.join(known)}")
    return found


def _loggers(text: str, folder: Path, about: Mapping[str, Any]) -> list[Logger]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [open_logger(name, folder, about) for name in dict.fromkeys(names) if name != "none"]


# --- the scan


def _scanned(
    asked: Asked, network: VisionModel, source: Source, wanted: Mapping[str, Any], folder: Path, throughput: Throughput
) -> ScanResult:
    last = Progress(0, len(source.ids), "pictures")

    def watch(event: Progress) -> bool | None:
        nonlocal last
        last = event
        throughput(event)
        return drawn(event)

    drawn: Watcher
    settings = {"out": asked.shards or folder, **asked.settings}
    try:
        with bar(source.name) as drawn, watching(watch):
            return scan(network, source, wanted, run=asked.run, **settings)
    except (KeyboardInterrupt, Cancelled):
        fail(f"stopped: {last.done} of {last.total} pictures are done; the same command goes on")
        raise SystemExit(130) from None


# --- the folder


def _ours(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if OWN.fullmatch(path.relative_to(folder).as_posix())}


def _tidy(folder: Path) -> Path:
    """Takes away what a run left that was killed while it saved."""
    for path in folder.glob(f".{RESULTS}-*") if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
    return folder


def _save(folder: Path, result: ScanResult, many: Sequence[Any]) -> None:
    """All results, under their names when all are written; those of an earlier run are replaced."""
    work, target = folder / f".{RESULTS}-{uuid.uuid4().hex}", folder / RESULTS
    try:
        for layer, of_layer in result.items():
            for name, one in zip(_names(many), of_layer, strict=True):
                store.save(one, work / safe(layer) / name)
        (folder / SUMMARY).unlink(missing_ok=True)  # it says that the results are complete
        if target.exists():
            shutil.rmtree(target)
        work.replace(target)
    except OSError as error:
        raise UnwritableError(
            f"{target} cannot be written ({error.strerror}); once it can, the same command goes on"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _names(many: Sequence[Any]) -> list[str]:
    return [f"{i}-{type(one).__name__.lower()}" for i, one in enumerate(many)]


def safe(layer: str) -> str:
    """A layer's name as that of a folder; those of modules are, but for odd characters."""
    return re.sub(r"[^\w.\-]", lambda found: f"%{ord(found[0]):02x}", layer)


# --- what is said


def _summary(asked: Asked, network: VisionModel, source: Source, result: ScanResult, many: Sequence[Any]) -> dict[str, Any]:
    """scan.json. `seconds` are summed over workers and over all runs, but for "in all": this run's, from start to end."""
    new = len(result.ids) - result.resumed
    in_all = result.seconds["in all"]
    return {
        "schema": 1,
        "data": {"name": source.name, "given": asked.data, "pictures": len(result.ids), "fingerprint": source.fingerprint()},
        "model": {"name": network.name, "source": network.source, "weights": network.weights, "sha256": network.weights_sha256},
        "preprocessing": repr(network.preprocessing),
        "told": network.settings,
        "layers": {
            layer: {
                "channels": network.survey[layer].channels,
                "grid": network.survey[layer].grid,
                "tap": result.taps[layer],
                "results": [f"{RESULTS}/{safe(layer)}/{name}" for name in _names(many)],
            }
            for layer in result
        },
        "trackers": [repr(one) for one in many],
        "settings": {key: value for key, value in asked.settings.items() if key != "resume"},
        "images": result.images,
        "resumed": result.resumed,
        "skipped_count": len(result.skipped),
        "skipped": dict(result.skipped),
        "seconds": {key: round(value, 3) for key, value in result.seconds.items()},
        "images_per_s": round(new / in_all, 3) if new else None,
        "notes": list(result.notes),
        "key": result.key,
        "versions": versions(),
    }


def _seconds(result: ScanResult) -> dict[str, float]:
    return {f"seconds/{what.replace(' ', '_')}": spent for what, spent in result.seconds.items()}


def _tell(asked: Asked, folder: Path, result: ScanResult, summary: Mapping[str, Any]) -> None:
    for line in _skipped(result):
        fail(line)
    for words in result.notes:
        note(words)
    if asked.as_json:
        say(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    units = sum(layer["channels"] for layer in summary["layers"].values())
    rate = f", {summary['images_per_s']:.3g} a second" if summary["images_per_s"] else ""
    again = f"; {result.resumed} were done before" if result.resumed else ""
    layers = f"{len(result)} layers" if len(result) > 1 else next(iter(result))
    say(f"{result.images} pictures{rate}, {units} units of {layers}, {len(result.skipped)} skipped{again}")
    say(str(folder / SUMMARY))


def _skipped(result: ScanResult) -> Iterator[str]:
    """At most so many lines."""
    rows = list(result.skipped.items())
    shown = rows if len(rows) <= NAMED else rows[: NAMED - 1]
    for name, reason in shown:
        yield reason if name in reason else f"{one_line(name)}: {reason}"
    if len(rows) > len(shown):
        yield f"and {len(rows) - len(shown)} other pictures were skipped; {SUMMARY} lists all"
