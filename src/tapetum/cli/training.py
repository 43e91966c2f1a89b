"""`tapetum train DATA` and `tapetum fine-tune DATA`: train a network and save it as a folder that --model accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import tapetum
from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import checked_folder, writing
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import STOPPED, bar, fail, remark, say
from tapetum.figures import png
from tapetum.keeping.places import GOES_ON
from tapetum.keeping.whole import write_whole
from tapetum.progress import watching
from tapetum.training.checkpoints import OWN
from tapetum.types import Cancelled, History

PICTURES = {"curves": "curves.png", "filters": "filters.png", "predictions": "predictions.png", "mistakes": "mistakes.png"}


def train_folder(
    function: Callable[..., History],
    *,
    data: str,
    out: Path,
    arch: str | None = None,
    model: ModelChoice | None = None,
    keywords: dict[str, Any],
) -> int:
    """Trains `arch` or fine-tunes `model`, and draws the history; returns exit status 0, or 1 if pictures were left out."""
    with suppress(ValueError):
        keywords["validation"] = float(keywords["validation"])  # a number is a share of the data, a text a data set

    def ours(folder: Path) -> set[Path]:
        return {path for path in folder.iterdir() if OWN.fullmatch(path.name) or path.name in PICTURES.values()}

    folder = checked_folder(out, ours)
    subject = (data, arch) if model is None else (model.load(), data)
    try:
        with bar(data) as watcher, watching(watcher):
            history = function(*subject, out=folder, **keywords)
    except (KeyboardInterrupt, Cancelled):
        done = folder.is_dir() and any(folder.glob("epoch_*.safetensors"))
        fail("stopped; the same command goes on after the last finished epoch" if done else "stopped before an epoch was done")
        raise SystemExit(STOPPED) from None
    with writing(out, GOES_ON):
        _draw(history, data, folder, keywords)
    say(str(history))
    say_skipped(history.skipped)
    for words in history.notes:
        remark(words)
    say(f"{out}: a model like any other, as in `tapetum explain photo.jpg --model {out}`")
    return 1 if history.skipped else 0


def _draw(history: History, data: str, folder: Path, keywords: Mapping[str, Any]) -> None:
    """Writes the figures of a training; filters only if the first convolution was trained."""
    held = {name: keywords[name] for name in ("validation", "seed")}
    check = tapetum.check_predictions(history.model, data, **held)
    wrong = tapetum.check_predictions(history.model, data, shows="wrong", **held)
    pictures = {"curves": png(history), "predictions": png(check), "mistakes": png(wrong)}
    if len(history.snapshots):
        pictures["filters"] = png(history, view="filters")
    for name, content in pictures.items():
        write_whole(folder / PICTURES[name], content)
