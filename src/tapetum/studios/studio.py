"""`Studio`: everything behind the page except HTTP: pictures, networks, jobs, answers."""

from __future__ import annotations

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tapetum.data.images import to_uint8
from tapetum.figures.overlay import picture as drawn
from tapetum.files import closed
from tapetum.models.vision_model import VisionModel
from tapetum.notes import noting
from tapetum.processor import processor
from tapetum.progress import Progress
from tapetum.reports.pictures import safe_name
from tapetum.reports.provenance import write_picture
from tapetum.store import save
from tapetum.studios import site_files
from tapetum.studios.asking import Asked, ModelBody, RunBody
from tapetum.studios.code import command_of, python_of
from tapetum.studios.jobs import Job, Jobs
from tapetum.studios.listening import Event
from tapetum.studios.networks import Given, Networks, facts_of
from tapetum.studios.pictures import Picture, Pictures
from tapetum.studios.results import Results
from tapetum.studios.values import as_json, live_maps, live_pictures
from tapetum.types import Attribution, Run

RANKS = {"prediction": 0, "attribution": 1, "inspection": 1}
"""{kind of method: rank of its jobs}; others, which take longer, come after these."""
LATER = 2


class Studio:
    """Answers what clients ask, each of them apart from the others.

    given    {name: network} beside those of the zoo
    atlas    folder of an atlas's site, or None
    reports  report pages to link to
    """

    def __init__(
        self,
        given: Mapping[str, Given],
        *,
        atlas: Path | None = None,
        reports: Sequence[Path] = (),
        slots: int | None = None,
    ) -> None:
        self.pictures, self.networks, self.results = Pictures(), Networks(given), Results()
        self.jobs = Jobs(slots or max(1, torch.get_num_threads() // 4))
        self.atlas, self._reports = atlas, list(reports)
        self._seconds: dict[tuple[str, str], float] = {}

    def warm(self) -> None:
        """Begins to load the first network and to look at its layers, so that the first visitor need not wait for it."""
        name, picture = self.networks.first, next(iter(self.pictures.samples))
        for method in ("predict", "grad_cam"):
            job = self.run_job("", RunBody(model=name, method=method, pictures=[picture]))
            if isinstance(job, Job):
                self.jobs.begin(job)
        self.jobs.begin(self.model_job("", ModelBody(name=name)))

    def close(self) -> None:
        self.jobs.close()

    # --- jobs

    def model_job(self, owner: str, body: ModelBody) -> Job:
        def work(job: Job) -> bytes:
            return _dumped(facts_of(body.name, body.weights, self._model(job, body.name, body.weights)))

        return Job(owner, f"{owner} model {body.name} {body.weights}", 0, work)

    def run_job(self, owner: str, body: RunBody) -> Job | bytes:
        """Returns the job that answers a question, or the answer if it is known."""
        asked = Asked.of(body, self.pictures.of(owner))
        self.networks.check(body.model, body.weights)
        model = self.networks.there(body.model, body.weights)
        if model is not None and (answer := self.results.answer(asked.key(model))) is not None:
            return answer

        def work(job: Job) -> bytes:
            return self._answer(job, asked)

        about = body.model_dump_json(exclude={"pictures_every_s"})
        job = Job(owner, f"{owner} run {about}", RANKS.get(asked.method.kind, LATER), work)
        if body.pictures_every_s is not None:
            job.every_s, job.shows = body.pictures_every_s, _shows(asked)
        return job

    def export_job(self, owner: str, body: RunBody) -> Job:
        asked = Asked.of(body, self.pictures.of(owner))
        self.networks.check(body.model, body.weights)

        def work(job: Job) -> bytes:
            model = self._model(job, body.model, body.weights)
            with noting():
                with closed():
                    result = asked.answer(model, self.results)
                return _zipped(asked, result, model, self._code(asked, model))

        return Job(owner, f"{owner} export {body.model_dump_json()}", LATER, work)

    def _answer(self, job: Job, asked: Asked) -> bytes:
        body, begun = asked.body, time.perf_counter()
        job.tell("started", {"seconds": self._seconds.get((body.model, body.method))})
        model = self._model(job, body.model, body.weights)
        with closed():
            key = asked.key(model)
            if (answer := self.results.answer(key)) is not None:
                return answer
            with noting() as said:
                result = asked.answer(model, self.results)
            seconds = time.perf_counter() - begun
            value = result.value if isinstance(result, Run) else result
            answer = _dumped(
                {
                    "key": key, "method": body.method, "question": asked.method.question, "seconds": round(seconds, 3),
                    "value": as_json(value), "notes": list(dict.fromkeys((*_notes(value), *said))),
                    "code": self._code(asked, model), "processor": processor(),
                }
            )  # fmt: skip
        self._seconds[body.model, body.method] = seconds
        self.results.keep(key, answer, value)
        return answer

    def _model(self, job: Job, name: str, weights: str) -> VisionModel:
        """Returns a network; while it is loaded, others have the processor."""
        found = self.networks.there(name, weights)
        if found is not None:
            return found
        with job.aside():
            return self.networks.model(name, weights, job.check)

    def _code(self, asked: Asked, model: VisionModel) -> dict[str, str | None]:
        source = self.networks.source(asked.body.model, asked.body.weights)
        return {"python": python_of(asked, source, model.labels), "command": command_of(asked, source)}

    # --- pictures and files

    def seen_job(self, owner: str, name: str, model: str, weights: str) -> Job | bytes:
        """Returns the part of a picture that a network saw, as PNG, or, where the network has to be loaded, the job for it."""
        picture = self.pictures.get(owner, name)
        self.networks.check(model, weights)
        if (network := self.networks.there(model, weights)) is not None:
            return self._seen(network, picture)

        def work(job: Job) -> bytes:
            return self._seen(self._model(job, model, weights), picture)

        return Job(owner, f"seen {name} {model} {weights}", 0, work)

    def _seen(self, network: VisionModel, picture: Picture) -> bytes:
        with self.pictures.decoding:
            pixels = network.denormalize(network.preprocess(picture.data))
        file = io.BytesIO()
        Image.fromarray(to_uint8(pixels)).save(file, "PNG")
        return file.getvalue()

    def reports(self, key: str = "") -> list[dict[str, str]]:
        """Returns titles and addresses of the reports; `key` is part of the addresses."""
        return [{"title": one.parent.name, "address": f"reports/{key}{i}"} for i, one in enumerate(self._reports)]

    def file(self, path: str, site: Path) -> site_files.Answer | None:
        """Returns a file of the page, of the atlas or a report."""
        return site_files.found(path, site, self.atlas, self._reports)


def _dumped(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _notes(value: Any) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return [note for one in many for note in getattr(one, "notes", ())]


def _shows(asked: Asked) -> Callable[[Progress], Event | None] | None:
    """Returns what makes an event of the pictures, or the maps, of a job that goes on."""
    if asked.method.kind not in ("rendering", "attribution"):
        return None

    def shown(event: Progress) -> Event | None:
        if event.so_far is None:
            return None
        values, at = event.so_far(), {"done": event.done, "total": event.total, "rows": list(event.rows)}
        if asked.method.kind == "rendering":
            return Event("picture", {**at, "pictures": live_pictures(values), "value": event.value})
        return Event("map", {**at, "maps": live_maps(values, asked.method.reduce)})

    return shown


# --- export


def _zipped(asked: Asked, result: Any, model: VisionModel, code: Mapping[str, str | None]) -> bytes:
    """Returns a zip file with the arrays, the pictures with their provenance, and the code that makes them again."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="tapetum-studio-") as place, zipfile.ZipFile(content, "w") as archive:
        folder = Path(place)
        save(result, folder / "result")
        _write_pictures(folder, asked, result, model)
        (folder / "code.py").write_text(code["python"] or "", "utf-8")
        if code["command"]:
            (folder / "command.txt").write_text(code["command"] + "\n", "utf-8")
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return content.getvalue()


def _write_pictures(folder: Path, asked: Asked, result: Any, model: VisionModel) -> None:
    from tapetum.figures.draw import has_figure, png

    if not isinstance(result, Run):
        if has_figure(result):
            (folder / "figure.png").write_bytes(png(result))
        return
    names = [one.name for one in asked.pictures]
    origin = replace(result.provenance, subject=tuple(names)) if names else result.provenance
    if isinstance(result.value, Attribution):
        seen = model.denormalize(model.preprocess([one.data for one in asked.pictures]))
        for row, name in enumerate(names):
            pixels = drawn(result.value, seen[row].cpu(), row)
            write_picture(folder / f"{row + 1}-{safe_name(Path(name).stem)}.png", pixels, origin, file=name, row=row, on="crop")
    else:
        (folder / "figure.png").write_bytes(png(result))
