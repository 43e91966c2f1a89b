"""`tapetum questions DATA --model M`: five questions answered by measuring: a page, its numbers as JSON, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import say_result
from tapetum.cli.terminal import bar, telling
from tapetum.data.streams import as_source
from tapetum.families.questions.asking import five_questions
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.answers import answers_json, write_answers
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model
from tapetum.store import save


def ask_folder(*, data: str, model: ModelChoice, out: Path, as_json: bool, keywords: Mapping[str, Any]) -> int:
    """Asks a network about the pictures of a folder; returns status 0, or 1 if pictures could not be read."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    with bar("questions") as drawn, watching(telling(drawn, "questions")):
        found = five_questions(network, source, **keywords)
    facts = {**of_model(network), "method": "five_questions", "parameters": {**keywords, "data": data}, "started": started}
    content = {**facts, "images": [{"files": [], "result": "answers"}], **answers_json(found)}
    about = {
        "model": network.name,
        "pictures": f"{found.pictures} of {found.data}",
        "classes": ", ".join(found.classes[:8]) + (", ..." if len(found.classes) > 8 else "") or "none",
        "depths": ", ".join(found.layers),
    }
    with complete(folder) as work:
        save(found, work / "answers")
        write_answers(work, found, words=_words(data, model, keywords), about=about)
        write_json(work / "report.json", content)
    words = [f"{one.question}\n{one.sentence}" for one in found.answers]
    say_result(found, "\n\n".join([*words, str(out / "report.html")]), folder / "report.json", as_json=as_json)
    return 1 if found.skipped else 0


def _words(data: str, model: ModelChoice, keywords: Mapping[str, Any]) -> list[str]:
    """Returns the words of the command that makes the page again."""
    weights = ["--weights", model.weights] if model.weights else []
    given = {name: value for name, value in keywords.items() if value is not None}
    texts = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in given.items()}
    options = [word for name, text in texts.items() for word in (f"--{name.replace('_', '-')}", text)]
    return ["tapetum", "questions", data, "--model", model.name, *weights, *model.words, *options]
