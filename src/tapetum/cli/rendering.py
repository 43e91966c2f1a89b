"""`tapetum render`, `invert`, `dream`, ...: makes pictures into a folder, each saved as soon as it is made.

Pictures made earlier with the same settings stay, so that a whole layer can be rendered in several runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.border.running import intended, run
from tapetum.border.texts import names_in
from tapetum.cli.batches import NOT_DONE, Refused, images_of, reason_of, status
from tapetum.cli.folders import writing
from tapetum.cli.models import ModelChoice
from tapetum.cli.pages import PageJob, finish
from tapetum.cli.results import Task, say_kept
from tapetum.cli.resumable import earlier, parts, resumable_folder, write
from tapetum.cli.terminal import bar, remark
from tapetum.engines.render.objectives import as_objectives
from tapetum.engines.render.objectives.reading import units_in
from tapetum.figures.film import WRITERS
from tapetum.keeping.locks import alone
from tapetum.keeping.places import GOES_ON
from tapetum.progress import Progress, Watcher
from tapetum.registry import check_parameters, lookup, parameters
from tapetum.reports.pictures import safe_name, unique
from tapetum.types import MethodError, TapetumError

AT_ONCE = 16
"""Units rendered together: batches are faster, but small ones are saved sooner."""

FRAMES = 25  # of an animation

SEPARATE = "separate"
"""Law (property) of methods whose pictures do not depend on each other, so that each can be made alone."""


def render_subjects(
    name: str,
    *,
    subjects: Sequence[str],
    model: ModelChoice,
    out: Path,
    resume: bool,
    animate: str | None,
    keywords: Mapping[str, Any],
    frames: int = 0,
) -> int:
    """Renders the pictures of units or images; returns exit status 0, 1 if some were refused, 2 if nothing was done."""
    method = lookup(name)
    suffixes = _suffixes(animate)
    if any(parameter.name == "frames" for parameter in parameters(method)):
        keywords = {**keywords, "frames": frames or (FRAMES if suffixes else 0)}
    check_parameters(method, keywords)
    folder = resumable_folder(out)
    refused: Refused = []
    if method.takes != "units":
        subjects, refused = images_of(subjects)
        if not subjects:
            return 2
    job = PageJob(method, model.load(), folder, keywords, refused=refused)
    tasks = _tasks(job, subjects)
    if not tasks:
        return 2
    there = [task for task in tasks if resume and folder.is_dir() and earlier(folder, task) is not None]
    say_kept(len(there), len(tasks))
    job.done += [(task, True) for task in there]
    with alone(folder):
        _make(job, [task for task in tasks if task not in there])
        if not job.done:
            return 2
        job.done.sort(key=lambda pair: tasks.index(pair[0]))
        with writing(out, GOES_ON):
            finish(job, suffixes, out)
    return status(job.done, job.refused)


def _suffixes(animate: str | None) -> list[str]:
    found = [] if animate is None else [f".{word.lower().lstrip('.')}" for word in names_in("animate", animate)]
    for suffix in found:
        if suffix not in WRITERS:
            kinds = ", ".join(one[1:] for one in WRITERS)
            raise MethodError(f"--animate is one of {kinds}, or several with commas between, not '{suffix[1:]}'")
    return found


# --- tasks


def _tasks(job: PageJob, subjects: Sequence[str]) -> list[Task]:
    """Returns one task per unit or image, or a single task if the method needs all units together."""
    taken: set[str] = set()

    def task(stem: str, *subject: str) -> Task:
        return Task(subject, unique(stem, taken), intended(job.method.name, job.network, list(subject), **job.keywords))

    if job.method.takes != "units":
        return [task(safe_name(Path(file).stem), file) for file in subjects]
    units = [unit for text in subjects for unit in _units(job, text)]
    if SEPARATE in job.method.laws:
        return [task(safe_name(unit), unit) for unit in dict.fromkeys(units)]
    return [task(job.method.name, *units)] if units and not job.refused else []


def _units(job: PageJob, text: str) -> list[str]:
    """Expands a text such as "layer:0-3" into one text per unit; records a refusal and returns [] if it names none."""
    try:
        as_objectives(job.network, int(text) if text.isdecimal() else text)
        return [str(unit) for unit in units_in(job.network, text)] or [text]
    except TapetumError as error:
        job.refuse(text, str(error))
        return []


# --- making


def _make(job: PageJob, todo: Sequence[Task]) -> None:
    """Renders the tasks in chunks; after Ctrl-C, finished ones are kept and the others listed as not done."""
    size = AT_ONCE if SEPARATE in job.method.laws else 1
    with bar(job.method.name) as watcher:
        for start in range(0, len(todo), size):
            chunk, left = todo[start : start + size], todo[start:]
            try:
                _try(job, chunk, _share(watcher, start, len(chunk), len(todo)))
            except KeyboardInterrupt:
                if not job.done:
                    raise
                remark(f"stopped: {len(job.done)} of {len(job.done) + len(left)} are done; the same command goes on")
                job.refused += [(task.title, NOT_DONE) for task in left]
                return


def _share(watcher: Watcher, before: int, size: int, total: int) -> Watcher:
    """Returns a watcher that converts the progress of one chunk to that of the whole job, in thousandths of a picture.

    before   pictures in earlier chunks
    size     pictures in this chunk
    total    pictures in all chunks
    """

    def watch(event: Progress) -> bool | None:
        inside = 1000 * size * event.done / max(1, event.total)
        return watcher(Progress(1000 * before + round(inside), 1000 * total, "thousandths of a picture", event.value))

    return watch


def _try(job: PageJob, chunk: Sequence[Task], watcher: Watcher) -> None:
    """Renders a chunk; if that fails, renders its tasks one by one, since only some of them may be wrong."""
    try:
        _run(job, chunk, watcher)
    except Exception as error:
        reason = reason_of(error)
        if len(chunk) == 1:
            return job.refuse(chunk[0].title, reason)
        for task in chunk:
            _try(job, [task], watcher)


def _run(job: PageJob, chunk: Sequence[Task], watcher: Watcher) -> None:
    are_units = job.method.takes == "units"
    texts = [text for task in chunk for text in task.subject]
    subject = [int(text) if are_units and text.isdecimal() else text for text in texts]  # "281" is class 281
    made = run(job.method.name, job.network, subject, progress=watcher, **job.keywords)
    for words in dict.fromkeys(made.value.notes):
        remark(words)
    for task, part in zip(chunk, parts(made, chunk), strict=True):
        with writing(job.folder, GOES_ON):
            job.folder.mkdir(parents=True, exist_ok=True)
            write(job.folder, task, part)
        job.done.append((task, False))
