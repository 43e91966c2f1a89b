"""`tapetum scan DATA`: one pass over a data set; after an interruption, the same command continues it in the same folder.

plan.json, shards/          the plan of the scan, and the finished shards
results/LAYER/0-spectrum/   a folder per layer and tracker, for `tapetum.open`
scan.json                   counts, skipped pictures, times; written last        scan.jsonl   progress
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from tapetum import store
from tapetum.border.texts import names_in
from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import checked_folder
from tapetum.cli.models import ModelChoice
from tapetum.cli.results import RESULTS
from tapetum.cli.terminal import STOPPED, bar, fail, remark, say
from tapetum.data.streams import Source, as_source
from tapetum.engines.scan import Runner, Threads
from tapetum.engines.scan import trackers as known_trackers
from tapetum.families.scanning import scan
from tapetum.keeping.places import writable
from tapetum.keeping.provenance import versions
from tapetum.keeping.whole import whole_folder
from tapetum.loggers import Throughput, closing, open_logger
from tapetum.models.blocks import block_layers
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, Watcher, watching
from tapetum.reports.machine import write_json
from tapetum.runners.ranks import Ranks, found_launcher
from tapetum.types import Cancelled, ScanResult, TapetumError

SUMMARY = "scan.json"
OWN = re.compile(
    r"plan\.json|scan\.jsonl?|shards/\d+\.npz|results/[^/]+/\d+-[^/]+/(arrays\.npz|manifest\.json)|(tensorboard|wandb)/.*"
)
"""Files of a scan's folder, relative to it."""


def scan_folder(
    *,
    data: str,
    model: ModelChoice,
    out: Path,
    layers: str | None,
    trackers: str,
    k: int,
    score: str,
    ray: str | None,
    shards: str | None,
    log: str,
    as_json: bool,
    keywords: dict[str, Any],
) -> int:
    """Runs and saves a scan (of several ranks only the first saves); returns exit status 0, or 1 if pictures were skipped."""
    many = made_trackers(trackers, {"k": k, "score": score})
    run, first = runner(ray, keywords.pop("workers"))
    folder = checked_folder(out, _ours) if first else Path(os.path.realpath(out))
    network, source = model.load(), as_source(data)
    if (device := getattr(run, "device", "cpu")) != "cpu":  # the accelerator of this rank
        network.module.to(device)
    names = list(block_layers(network.survey)) if layers is None else network.find_layers(names_in("layers", layers))
    about = {"data": source.name, "model": network.source, "layers": ",".join(names), "trackers": trackers}
    kinds = [kind for kind in dict.fromkeys(names_in("log", log)) if first and kind != "none"]
    with closing([open_logger(kind, folder, about) for kind in kinds]) as loggers:
        throughput = Throughput(loggers)
        settings = {"out": shards or folder, "run": run, **keywords}
        result = _scanned(network, source, dict.fromkeys(names, many), throughput, settings)
        if not result:
            return 0  # another rank saves
        seconds = {f"seconds/{what.replace(' ', '_')}": spent for what, spent in result.seconds.items()}
        throughput.log({"skipped": len(result.skipped), **seconds}, len(result.ids))
    of_scan = {"settings": {key: value for key, value in keywords.items() if key != "resume"}, "versions": versions()}
    summary = {**_about(data, source, network), **_counts(network, result, many), **of_scan}
    _save(folder, result, many)
    write_json(folder / SUMMARY, summary)
    _tell(folder, result, summary, as_json)
    crash = found_launcher() == "torchrun"  # torchrun would stop or restart all ranks for any status but 0
    return 1 if result.skipped and not crash else 0


# --- values of the options


def runner(ray: str | None, workers: int | None) -> tuple[Runner, bool]:
    """Chooses Ray, ranks (if a launcher started this process) or threads; also returns whether this process saves results."""
    if ray is not None:
        from tapetum.runners.ray_actors import Ray

        return Ray(ray, workers), True
    if found_launcher() is not None:
        ranks = Ranks(workers)
        return ranks, ranks.collects
    return Threads(workers), True


def tracker_classes() -> dict[str, type]:
    """Returns {lower-case name: class} of all trackers: the dataclasses of their package that have a `result`."""
    kinds = (one for one in vars(known_trackers).values() if isinstance(one, type))
    return {one.__name__.lower(): one for one in kinds if is_dataclass(one) and hasattr(one, "result")}


def made_trackers(text: str, settings: Mapping[str, Any]) -> list[Any]:
    """Makes the trackers named in a text such as "spectrum,topk", each with those `settings` that are its fields."""
    known, found = tracker_classes(), []
    for name in map(str.lower, names_in("trackers", text)):
        if name not in known:
            raise TapetumError(f"no tracker '{name}'; there are {', '.join(known)}")
        wanted = {one.name for one in fields(known[name])} & set(settings)
        found.append(known[name](**{key: settings[key] for key in wanted}))
    return found


# --- the scan


def _scanned(
    network: VisionModel, source: Source, wanted: Mapping[str, Any], throughput: Throughput, keywords: Mapping[str, Any]
) -> ScanResult:
    last = Progress(0, len(source.ids), "pictures")

    def watch(event: Progress) -> bool | None:
        nonlocal last
        last = event
        throughput(event)
        return drawn(event)

    drawn: Watcher
    try:
        with bar(source.name) as drawn, watching(watch):
            return scan(network, source, wanted, **keywords)
    except (KeyboardInterrupt, Cancelled):
        fail(f"stopped: {last.done} of {last.total} pictures are done; the same command goes on")
        raise SystemExit(STOPPED) from None


# --- the folder


def _ours(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if OWN.fullmatch(path.relative_to(folder).as_posix())}


def _save(folder: Path, result: ScanResult, many: Sequence[Any]) -> None:
    """Saves all results; they replace those of an earlier run only after all are written."""
    target = folder / RESULTS
    with writable(target), whole_folder(target, replaces=True) as work:
        for layer, of_layer in result.items():
            for name, one in zip(_names(many), of_layer, strict=True):
                store.save(one, work / folder_name(layer) / name)
        (folder / SUMMARY).unlink(missing_ok=True)  # since it would claim that the results are complete


def _names(many: Sequence[Any]) -> list[str]:
    return [f"{i}-{type(one).__name__.lower()}" for i, one in enumerate(many)]


def folder_name(layer: str) -> str:
    """Turns a layer name into a folder name: characters other than letters, digits, "_", ".", "-" become codes such as %2f."""
    return re.sub(r"[^\w.\-]", lambda found: f"%{ord(found[0]):02x}", layer)


# --- the summary


def _about(data: str, source: Source, network: VisionModel) -> dict[str, Any]:
    """Returns the part of scan.json that describes the data and the model."""
    pictures, fingerprint = len(source.ids), source.fingerprint()
    return {
        "schema": 1,
        "data": {"name": source.name, "given": data, "pictures": pictures, "fingerprint": fingerprint},
        "model": {"name": network.name, "source": network.source, "weights": network.weights, "sha256": network.weights_sha256},
        "preprocessing": repr(network.preprocessing),
        "told": network.settings,
    }


def _counts(network: VisionModel, result: ScanResult, many: Sequence[Any]) -> dict[str, Any]:
    """Returns the part of scan.json about the result; seconds are sums over workers and runs, only "in all" is for this run."""
    new, in_all = len(result.ids) - result.resumed, result.seconds["in all"]
    return {
        "layers": {
            layer: {
                "channels": network.survey[layer].channels,
                "grid": network.survey[layer].grid,
                "tap": result.taps[layer],
                "results": [f"{RESULTS}/{folder_name(layer)}/{name}" for name in _names(many)],
            }
            for layer in result
        },
        "trackers": [repr(one) for one in many],
        "images": result.images,
        "resumed": result.resumed,
        "skipped_count": len(result.skipped),
        "skipped": dict(result.skipped),
        "seconds": {key: round(value, 3) for key, value in result.seconds.items()},
        "images_per_s": round(new / in_all, 3) if new else None,
        "notes": list(result.notes),
        "key": result.key,
    }


def _tell(folder: Path, result: ScanResult, summary: Mapping[str, Any], as_json: bool) -> None:
    say_skipped(result.skipped.items(), SUMMARY)
    for words in result.notes:
        remark(words)
    if as_json:
        say(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    units = sum(layer["channels"] for layer in summary["layers"].values())
    rate = f", {summary['images_per_s']:.3g} per second" if summary["images_per_s"] else ""
    again = f"; {result.resumed} were done before" if result.resumed else ""
    layers = f"{len(result)} layers" if len(result) > 1 else next(iter(result))
    say(f"{result.images} pictures{rate}, {units} units of {layers}, {len(result.skipped)} skipped{again}")
    say(str(folder / SUMMARY))
