"""`tapetum evaluate METHOD IMAGE...`: measures the maps of methods by metrics, in a table and in report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum.border.running import plain
from tapetum.border.texts import as_value, names_in
from tapetum.cli.batches import for_each, images_of, listed_refusals, status
from tapetum.cli.explaining import check_target
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import one_line, remark, say, say_file
from tapetum.data.images import read_image
from tapetum.families.metrics.evaluating import evaluate
from tapetum.files import shown
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher, watching
from tapetum.registry import Table, check_parameters, lookup, methods, parameters, places
from tapetum.reports.machine import write_json
from tapetum.reports.pictures import safe_name, unique
from tapetum.reports.provenance import of_model
from tapetum.store import save
from tapetum.types import Attribution, ImageError, MethodError, TapetumError
from tapetum.types.outcomes import REASONS
from tapetum.types.text import table

Settings = Mapping[str, Mapping[str, Any]]
"""{method or metric: its keywords}."""


def evaluate_files(
    *,
    method: str,
    images: Sequence[str],
    metrics: str,
    masks: Path | None,
    settings: Sequence[str] | None,
    target: str | None,
    model: ModelChoice,
    out: Path,
    as_json: bool,
    keywords: Mapping[str, Any],
) -> int:
    """Measures maps of every image; returns exit status 0, 1 if some images were refused, 2 if nothing was done."""
    names, measured = names_in("method", method), _metrics(metrics, masks)
    given = _settings(settings or (), [*names, *measured])
    for name in (*names, *measured):
        check_parameters(lookup(name), given.get(name, {}))
    folder = checked_folder(out)
    files, refused = images_of(images)
    if masks is not None and masks.is_file() and len(files) > 1:
        raise TapetumError(f"--masks names one mask for {len(files)} images: give a folder with a mask of each picture's name")
    if not files:
        return 2
    network, started = model.load(), now()
    check_target(network, as_target(target))
    taken, told = set[str](), dict[str, None]()

    with complete(folder) as work:

        def one(file: str, watcher: Watcher) -> dict[str, Any]:
            stem = unique(safe_name(Path(file).stem), taken)
            with watching(watcher):
                mask = None if masks is None else mask_of(network, file, masks)
                maps = _measured(network, file, mask, names, measured, given, target, work / stem, told)
                return {"file": file, "maps": maps}

        done, failed = for_each(files, one, "evaluate ")
        if not done:
            raise SystemExit(2)
        facts = {**of_model(network), "methods": names, "metrics": measured, "started": started}
        parameters_ = {name: {key: plain(value) for key, value in some.items()} for name, some in given.items()}
        content = {**facts, "parameters": parameters_, "images": done, "refused": listed_refusals(refused + failed)}
        write_json(work / "report.json", content)
    for reason in told:
        remark(reason)
    if as_json:
        say_file(out / "report.json")
    else:
        say("\n\n".join(map(_words, done)))
        say(f"\nreport: {out / 'report.json'}")
    return status(done, refused + failed)


def _metrics(text: str, masks: Path | None) -> list[str]:
    """Returns the names of metrics; without masks, "all" are those that need none."""
    every: Table = methods(kind="metric")
    if masks is not None and not masks.exists():
        raise TapetumError(f"no file or folder {shown(masks)}: --masks takes pictures that are white on the object")
    if text.strip() == "all":
        return [row.name for row in every if masks is not None or "masks" not in places(row)]
    names = names_in("metrics", text)
    for name in names:
        row = lookup(name)
        if row.kind != "metric":
            raise MethodError(f"{name} is no metric; there are {', '.join(one.name for one in every)}")
        if masks is None and "masks" in places(row):
            raise MethodError(f"{name} needs masks of the objects: --masks FILE, or a folder with a mask for every picture")
    return names


def mask_of(network: VisionModel, file: str, masks: Path) -> Tensor:
    """Returns where a picture's mask is lighter than mid-grey, (1, h, w) bool, cut and resized as the network's pictures are.

    masks: the mask, or a folder with one of the picture's name, whatever its ending.
    """
    found = [masks] if masks.is_file() else [one for one in sorted(masks.iterdir()) if one.stem == Path(file).stem]
    if len(found) != 1:
        many = "no mask" if not found else f"{len(found)} masks ({', '.join(one.name for one in found)})"
        raise ImageError(f"{many} for it in {shown(masks)}: give one picture of the same name, white on the object")
    own = found[0]
    of_mask, of_picture = (tuple(read_image(one).shape[-2:]) for one in (own, file))
    if of_mask != of_picture:
        raise ImageError(f"its mask has {of_mask[1]} x {of_mask[0]} px, the picture {of_picture[1]} x {of_picture[0]}")
    return network.denormalize(network.preprocess(own)).mean(1) > 0.5


def _settings(texts: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Reads texts such as "road.noise=0" into {"road": {"noise": 0}}; a name without a dot is for all that have it."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        of, dot, key = left.strip().rpartition(".")
        if not equals or not key or (dot and of not in names):
            raise TapetumError(f"--set takes name=value or METHOD.name=value, of {', '.join(names)}; not '{text}'")
        known = {name: one for name in ([of] if of else names) for one in parameters(lookup(name)) if one.name == key}
        if not known:
            raise MethodError(f"no parameter '{key}' of {of or ', '.join(names)}")
        for name, one in known.items():
            found.setdefault(name, {})[key] = as_value(one, value.strip())
    return found


def _measured(
    network: VisionModel,
    file: str,
    mask: Tensor | None,
    names: Sequence[str],
    metrics: Sequence[str],
    given: Settings,
    target: str | None,
    folder: Path,
    told: dict[str, None],
) -> list[dict[str, Any]]:
    """Measures the maps of one image and saves the results; reasons why a metric refuses a map go to `told`."""
    ready, rows = network.preprocess(file), list[dict[str, Any]]()
    for name in names:
        made: Attribution = lookup(name).function(network, ready, as_target(target), **given.get(name, {}))
        results: dict[str, Any] = {}
        for metric in metrics:
            try:
                results |= evaluate(network, ready, made, {metric: given.get(metric, {})}, mask)
            except MethodError as error:
                told[f"{metric} of {name}: {error}"] = None
        if not results:
            raise MethodError(f"no metric can measure {name}: {next(iter(told))}")
        save(results, folder.with_name(f"{folder.name}-{name}"))
        numbers = [_row(metric, result) for metric, result in results.items()]
        about = {"method": name, "layer": made.layer, "target": made.target[0], "status": made.status[0]}
        rows.append({**about, "metrics": numbers, "result": f"{folder.name}-{name}"})
    return rows


def _row(metric: str, result: Any) -> dict[str, Any]:
    value: Tensor = result.value
    number, said = float(value[0]), result.status[0] if result.status else "ok"
    better = getattr(result, "better", "higher")
    return {"metric": metric, "value": None if math.isnan(number) else number, "better": better, "status": said}


def _words(image: Mapping[str, Any]) -> str:
    """Writes the numbers of one image as a table: a row per metric, a column per method."""
    maps: list[dict[str, Any]] = image["maps"]
    metrics = dict.fromkeys(row["metric"] for one in maps for row in one["metrics"])
    cells = {(one["method"], row["metric"]): row for one in maps for row in one["metrics"]}
    lines = [
        (metric, _better(cells, metric), *(_cell(cells.get((one["method"], metric))) for one in maps)) for metric in metrics
    ]
    head = f"{one_line(Path(image['file']).name)}: {maps[0]['target']}"
    return f"{head}\n{table(('metric', 'better', *(one['method'] for one in maps)), lines)}"


def _better(cells: Mapping[tuple[str, str], dict[str, Any]], metric: str) -> str:
    return next(row["better"] for (_, name), row in cells.items() if name == metric)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "refused"
    return REASONS.get(row["status"], "no number") if row["value"] is None else f"{row['value']:.4g}"
