"""`tapetum render`, `invert`, `dream`, ...: pictures one after the other into a folder, each there as soon as it is made.

What is there already with the same settings stays, so a whole layer can be made in several goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.border.running import intended, run
from tapetum.cli.batches import Refused, images_of, status
from tapetum.cli.folders import GOES_ON, writing
from tapetum.cli.models import ModelChoice
from tapetum.cli.pages import Job, finish
from tapetum.cli.results import Task, say_kept
from tapetum.cli.resumable import earlier, parts, resumable_folder, write
from tapetum.cli.terminal import bar, debugging, note, one_line, unexpected
from tapetum.engines.render.objectives import as_objectives
from tapetum.engines.render.objectives.reading import units_in
from tapetum.figures.film import WRITERS
from tapetum.progress import Progress, Watcher
from tapetum.registry import check_parameters, lookup, parameters
from tapetum.reports.pictures import safe, unique
from tapetum.types import MethodError, TapetumError, UnwritableError

AT_ONCE = 16
"""Units made in one go: a batch is quicker, and what is done should be on disk before long."""

FRAMES = 25  # of an animation

SEPARATE = "separate"
"""The law of methods whose pictures can be made one by one."""


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
    """Makes the pictures of units or images; 0, or 1 if some were refused, or 2 if nothing could be done."""
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
    job = Job(method, model.load(), folder, keywords, refused=refused)
    tasks = _tasks(job, subjects)
    if not tasks:
        return 2
    todo = _left(job, tasks) if resume else tasks
    _make(job, todo)
    if not job.done:
        return 2
    order = {task.stem: i for i, task in enumerate(tasks)}
    job.done.sort(key=lambda pair: order[pair[0].stem])
    with writing(out, GOES_ON):
        finish(job, suffixes, out)
    return status(job.done, job.refused)


def _suffixes(text: str | None) -> list[str]:
    found = [f".{word.strip().lower().lstrip('.')}" for word in (text or "").split(",") if word.strip()]
    wrong = [suffix for suffix in found if suffix not in WRITERS]
    if wrong:
        kinds = ", ".join(suffix.lstrip(".") for suffix in WRITERS)
        raise MethodError(f"--animate is one of {kinds}, or several with commas between, not '{wrong[0].lstrip('.')}'")
    return found


# --- what is to be made


def _tasks(job: Job, subjects: Sequence[str]) -> list[Task]:
    """One for each unit or image; a method that needs its units together has one."""
    taken: set[str] = set()
    if job.method.takes != "units":
        return [_task(job, (file,), safe(Path(file).stem), taken) for file in subjects]
    units = [unit for text in subjects for unit in _units(job, text)]
    if SEPARATE in job.method.laws:
        return [_task(job, (unit,), safe(unit), taken) for unit in dict.fromkeys(units)]
    return [_task(job, tuple(units), job.method.name, taken)] if units and not job.refused else []


def _task(job: Job, subject: tuple[str, ...], stem: str, taken: set[str]) -> Task:
    return Task(subject, unique(stem, taken), intended(job.method.name, job.network, list(subject), **job.keywords))


def _units(job: Job, text: str) -> list[str]:
    """The units that a text means, each as a text of its own; nothing, and a refusal, where it means none."""
    subject: Any = int(text) if text.isdecimal() else text
    try:
        as_objectives(job.network, subject)
        return [str(unit) for unit in units_in(job.network, text)] or [text]
    except TapetumError as error:
        job.refuse(text, str(error))
        return []


def _left(job: Job, tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose pictures are not there."""
    there = {task.stem for task in tasks if job.folder.is_dir() and earlier(job.folder, task) is not None}
    job.done += [(task, True) for task in tasks if task.stem in there]
    say_kept(len(there), len(tasks))
    return [task for task in tasks if task.stem not in there]


# --- making


def _make(job: Job, todo: Sequence[Task]) -> None:
    """Chunk after chunk; Ctrl-C keeps what is done."""
    size = AT_ONCE if SEPARATE in job.method.laws else 1
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    with bar(job.method.name) as watcher:
        for i, chunk in enumerate(chunks):
            try:
                _try(job, chunk, _share(watcher, i * size, len(chunk), len(todo)))
            except KeyboardInterrupt:
                if not job.done:
                    raise
                note(f"stopped: {len(job.done)} of {len(job.done) + len(todo) - i * size} are done; the same command goes on")
                job.refused += [(task.title, "not done: stopped before its turn") for task in todo[i * size :]]
                return


def _share(watcher: Watcher, before: int, size: int, total: int) -> Watcher:
    """A chunk's own progress as that of the whole job, in thousandths of a picture."""

    def watch(event: Progress) -> bool | None:
        inside = 1000 * size * event.done / max(1, event.total)
        return watcher(Progress(1000 * before + round(inside), 1000 * total, "thousandths of a picture", event.value))

    return watch


def _try(job: Job, chunk: Sequence[Task], watcher: Watcher) -> None:
    """A chunk; one by one where it was refused, since only some of it may be wrong."""
    try:
        _run(job, chunk, watcher)
    except UnwritableError:
        raise
    except (TapetumError, OSError) as error:
        if len(chunk) > 1:
            for task in chunk:
                _try(job, [task], watcher)
        else:
            job.refuse(chunk[0].title, str(error) if isinstance(error, TapetumError) else error.strerror or one_line(error))
    except Exception as error:
        if debugging.get():
            raise
        for task in chunk:
            job.refuse(task.title, unexpected(error))


def _run(job: Job, chunk: Sequence[Task], watcher: Watcher) -> None:
    subject = [_asked(job, text) for task in chunk for text in task.subject]
    made = run(job.method.name, job.network, subject, progress=watcher, **job.keywords)
    for words in dict.fromkeys(made.value.notes):
        note(words)
    for task, part in zip(chunk, parts(made, chunk), strict=True):
        with writing(job.folder, GOES_ON):
            job.folder.mkdir(parents=True, exist_ok=True)
            write(job.folder, task, part)
        job.done.append((task, False))


def _asked(job: Job, text: str) -> Any:
    """A class's index is a number."""
    return int(text) if job.method.takes == "units" and text.isdecimal() else text
