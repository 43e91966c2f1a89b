"""`tapetum train DATA` and `tapetum fine-tune DATA`: a network of your own in a folder, which --model takes everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tapetum.cli.folders import checked_folder
from tapetum.cli.options import MODEL_HELP, asks_for_model
from tapetum.cli.terminal import bar, fail, note, one_line, say
from tapetum.types import Cancelled, History

STOPPED = 130
NAMED = 10  # pictures that were left out and are named in the terminal
PICTURES = {"curves": "curves.png", "filters": "filters.png", "predictions": "predictions.png", "mistakes": "mistakes.png"}

Data = Annotated[
    str, typer.Argument(help="A folder of class folders, imagenette:160, digits, planted:objects.", metavar="DATA")
]
Out = Annotated[Path, typer.Option(help="A new or empty folder, or that of an earlier run, which goes on.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training pictures.", min=1)]
BatchSize = Annotated[int, typer.Option(help="Pictures a step.", min=1)]
Schedule = Annotated[Literal["constant", "cosine"], typer.Option(help="Cosine: the learning rate falls to 0.")]
Size = Annotated[int | None, typer.Option(help="Side of what the network sees, in px; its own without it.", min=8)]
Augment = Annotated[Literal["none", "flip", "crop"], typer.Option(help="Mirrored at random; crop: also cut at random.")]
Validation = Annotated[str, typer.Option(help="The share of each class that is held out, or a data set of its own.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without a lower loss; keep the best.", min=1)]
Resume = Annotated[bool, typer.Option(help="Go on with what is in --out; else begin again.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...")]


def train(
    data: Data,
    out: Out,
    arch: Annotated[str, typer.Option(help="simple_cnn, simple_cnn_wide, or a name of `tapetum models`.")] = "simple_cnn",
    epochs: Epochs = 8,
    batch: BatchSize = 64,
    learning_rate: Annotated[float, typer.Option(help="The length of Adam's steps.")] = 1e-3,
    schedule: Schedule = "constant",
    size: Size = None,
    augment: Augment = "none",
    validation: Validation = "0.2",
    seed: Seed = 0,
    patience: Patience = None,
    resume: Resume = True,
    device: Device = None,
) -> None:
    """Trains a network from nothing on pictures with classes; the folder is then a model like any other."""
    import tapetum

    common = _common(epochs, batch, schedule, size, augment, validation, seed, patience, resume, device)
    keywords = {**common, "learning_rate": learning_rate}
    raise SystemExit(_run(lambda folder: tapetum.train(data, arch, out=folder, **keywords), data, out, keywords))


@asks_for_model()
def fine_tune(
    data: Data,
    out: Out,
    model: Annotated[Any, typer.Option(help=MODEL_HELP)] = "efficientnet_lite0",
    freeze: Annotated[str, typer.Option(help="features: all but the head; none; or the last layer that stays.")] = "features",
    epochs: Epochs = 8,
    batch: BatchSize = 64,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam; 1e-3 for the head alone, else 1e-4.")] = None,
    schedule: Schedule = "constant",
    size: Size = None,
    augment: Augment = "none",
    validation: Validation = "0.2",
    seed: Seed = 0,
    patience: Patience = None,
    resume: Resume = True,
    device: Device = None,
) -> None:
    """Teaches a trained network your classes: a new last layer, and with --freeze none the rest, too."""
    import tapetum

    common = _common(epochs, batch, schedule, size, augment, validation, seed, patience, resume, device)
    keywords = {**common, "learning_rate": learning_rate, "freeze": None if freeze == "none" else freeze}

    def work(folder: Path) -> History:
        return tapetum.fine_tune(model.load(), data, out=folder, **keywords)

    raise SystemExit(_run(work, data, out, keywords))


def _common(
    epochs: int,
    batch: int,
    schedule: str,
    size: int | None,
    augment: str,
    validation: str,
    seed: int,
    patience: int | None,
    resume: bool,
    device: str | None,
) -> dict[str, Any]:
    """What both commands hand on."""
    settings = {"epochs": epochs, "batch": batch, "schedule": schedule, "size": size, "augment": augment}
    held = _share(validation)
    return {**settings, "validation": held, "seed": seed, "patience": patience, "resume": resume, "device": device}


def _share(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _run(work: Callable[[Path], History], data: str, out: Path, keywords: Mapping[str, Any]) -> int:
    """Trains, draws, tells; 0, or 1 if pictures were left out."""
    from tapetum.progress import watching
    from tapetum.training.checkpoints import OWN

    def ours(folder: Path) -> set[Path]:
        return {path for path in folder.iterdir() if OWN.fullmatch(path.name) or path.name in PICTURES.values()}

    folder = checked_folder(out, ours)
    try:
        with bar(data) as watcher, watching(watcher):
            history = work(folder)
    except (KeyboardInterrupt, Cancelled):
        done = len(list(folder.glob("epoch_*.safetensors"))) if folder.is_dir() else 0
        fail("stopped; the same command goes on after the last finished epoch" if done else "stopped before an epoch was done")
        raise SystemExit(STOPPED) from None
    _draw(history, data, folder, keywords)
    _tell(history, out)
    return 1 if history.skipped else 0


def _draw(history: History, data: str, folder: Path, keywords: Mapping[str, Any]) -> None:
    """The figures of a run; without a first convolution that was trained there are no filters to show."""
    import tapetum
    from tapetum.figures import png
    from tapetum.models.zoo.trained import write_whole

    held = {"validation": keywords["validation"], "seed": keywords["seed"]}
    check = tapetum.check_predictions(history.model, data, **held)
    wrong = tapetum.check_predictions(history.model, data, shows="wrong", **held)
    pictures = {"curves": png(history), "predictions": png(check), "mistakes": png(wrong)}
    if len(history.snapshots):
        pictures["filters"] = png(history, view="filters")
    for name, content in pictures.items():
        write_whole(folder / PICTURES[name], lambda part, content=content: part.write_bytes(content))


def _tell(history: History, out: Path) -> None:
    say(str(history))
    for name, reason in history.skipped[:NAMED]:
        fail(reason if name in reason else f"{one_line(name)}: {reason}")
    if len(history.skipped) > NAMED:
        fail(f"and {len(history.skipped) - NAMED} other pictures were left out")
    for words in history.notes:
        note(words)
    say(f"{out}: a model like any other, as in `tapetum explain photo.jpg --model {out}`")
