"""Finishes a run of renderings: writes sheets, steps, animations and report.json, and prints a line per picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum import store
from tapetum.cli.batches import Refused, listed_refusals, print_refusal
from tapetum.cli.results import RESULTS, Task
from tapetum.cli.resumable import clear_figures, names
from tapetum.cli.terminal import one_line, say
from tapetum.data.planes import viewable
from tapetum.figures.film import animate
from tapetum.figures.renderings import MAX_LINES, MAX_TILES, draw, joined_alike, sheet_of_several
from tapetum.figures.tiles import unit_words
from tapetum.keeping.provenance import versions
from tapetum.models.vision_model import VisionModel
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import with_checksum, write_figure
from tapetum.types import Method, Rendering, Run, TapetumError


@dataclass
class PageJob:
    """One call of a rendering command; `done` has its finished tasks, each with whether the pictures existed before."""

    method: Method
    network: VisionModel
    folder: Path
    keywords: Mapping[str, Any]
    done: list[tuple[Task, bool]] = field(default_factory=list[tuple[Task, bool]])
    refused: Refused = field(default_factory=list[tuple[str, str]])

    def refuse(self, subject: str, reason: str) -> None:
        """Prints that `subject` is refused and why, and adds it to the report."""
        self.refused.append(print_refusal(subject, reason))

    def result(self, task: Task) -> Run:
        """Opens a task's saved result, so that not all results are in memory at once."""
        return store.open(self.folder / RESULTS / task.stem)


def finish(job: PageJob, suffixes: Sequence[str], out: Path) -> None:
    """Writes sheets, steps, animations (one per suffix) and, last, report.json; prints the path of each file."""
    clear_figures(job.folder)
    rows: list[dict[str, Any]] = []
    films: list[str] = []
    for task, was_there in job.done:
        result = job.result(task)
        rows += _rows(task, result.value, was_there)
        films += _films(job, task, result, suffixes)
    figures = [*_sheets(job, rows), *_steps(job)]
    content = {
        "method": job.method.name,
        "model": job.network.source,
        "weights": job.network.weights,
        "settings": job.network.settings,
        "parameters": job.done[0][0].wanted["parameters"],
        "pictures": rows,
        "figures": figures,
        "animations": films,
        "refused": listed_refusals(job.refused, "subject"),
        "versions": versions(),
        "seed": job.keywords.get("seed"),
    }
    write_json(job.folder / "report.json", content)
    each = Counter(row["result"] for row in rows)
    for row in rows:
        what = f", {unit_words(row['objective'])}" if each[row["result"]] > 1 else ""
        score = "" if row["score"] is None else f", score {row['score']:.3g}"
        say(f"{one_line(row['subject'] + what)}: {row['status']}{score}, {out / row['file']}")
    for name in (*figures, *films):
        say(str(out / name))


def _rows(task: Task, made: Rendering, was_there: bool) -> list[dict[str, Any]]:
    """Returns one entry of report.json for each picture file of a task."""
    rows: list[dict[str, Any]] = []
    for name, row in names(task, made):
        entry: dict[str, Any] = {
            "subject": task.title,
            "objective": made.objectives[row or 0],
            "status": made.status[row] if row is not None else "ok" if "ok" in made.status else made.status[0],
            "score": None if row is None else nan_as_null(float(made.scores[row])),
            "file": name,
            "result": f"{RESULTS}/{task.stem}",
            "was_there": was_there,
        }
        if row is not None and made.numbers:
            entry["numbers"] = {key: nan_as_null(float(each[row])) for key, each in made.numbers.items() if each.ndim == 1}
        rows.append(entry)
    return rows


def _films(job: PageJob, task: Task, result: Run, suffixes: Sequence[str]) -> list[str]:
    found: list[str] = []
    for suffix in suffixes:
        try:
            file = animate(result, job.folder / f"{task.stem}{suffix}", note=with_checksum(asdict(result.provenance)))
            found.append(file.name)
        except TapetumError as error:
            job.refuse(task.title, str(error))
    return found


def _sheets(job: PageJob, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Writes all pictures into sheet.png, sheet-2.png, ... (those of one task together) and returns the file names."""
    found: list[str] = []
    for page in _pages(job, rows):
        files = [row["file"] for task in page for row in rows if row["result"] == f"{RESULTS}/{task.stem}"]
        photos = [_photo(job, task) for task in page] if job.method.takes != "units" else []
        title = f"{job.method.name}, {job.network.name}: {len(files)} picture{'s' if len(files) > 1 else ''}"
        name = f"sheet-{len(found) + 1}.png" if found else "sheet.png"
        _write_figure(job, name, sheet_of_several([job.result(task).value for task in page], title, photos), files)
        found.append(name)
    return found


def _pages(job: PageJob, rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Task]]:
    """Yields, page by page, as many tasks as have together at most MAX_TILES pictures."""
    page: list[Task] = []
    count = 0
    for task, _ in job.done:
        more = sum(row["result"] == f"{RESULTS}/{task.stem}" for row in rows)
        if page and count + more > MAX_TILES:
            yield page
            page, count = [], 0
        page.append(task)
        count += more
    yield page


def _photo(job: PageJob, task: Task) -> Tensor:
    """Returns the photograph (3, h, w) to show beside a task's pictures: as the network saw it, or whole."""
    if job.method.takes == "images":
        return job.network.denormalize(job.network.as_images(task.subject[0]))[0].cpu()
    return viewable(job.network.preprocessing.read(task.subject[0]))[0]


def _steps(job: PageJob) -> list[str]:
    """Writes intermediate steps of the first tasks' pictures into steps.png; returns its name, or [] if none were kept."""
    first = [(task, job.result(task).value) for task, _ in job.done[:MAX_LINES]]
    made = joined_alike([value for _, value in first])
    if made.frames is None:
        return []
    files = [name for task, value in first for name, _ in names(task, value)]
    _write_figure(job, "steps.png", draw(made, view="steps"), files)
    return ["steps.png"]


def _write_figure(job: PageJob, name: str, figure: Any, files: list[str]) -> None:
    """Writes a figure into the folder, with the names of the pictures that it shows in its metadata."""
    write_figure(job.folder / name, figure, {"method": job.method.name, "pictures": files, "versions": versions()})
