"""The app: every command, its errors as one line, and the exit status: 0 done, 1 in part, 2 wrong use or nothing done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from tapetum.cli import training
from tapetum.cli.atlas import atlas
from tapetum.cli.generated import HELP, TARGET_HELP, CommandGroup, RunGroup
from tapetum.cli.options import MODEL_HELP, PANEL, asks_for_model
from tapetum.cli.terminal import bar, debugging, fail, note, one_line, say, unexpected
from tapetum.runners.allocator import keep_large_blocks
from tapetum.types import MethodError, ModelError, TapetumError, TapetumWarning

STOPPED = 130
"""The exit status of a program that Ctrl-C ended: 128 + SIGINT."""

app = typer.Typer(
    name="tapetum",
    cls=CommandGroup,
    help="What a vision network looks for, what it found, what mattered, and whether to trust it.",
    epilog="Every command takes --help, and --debug, which shows the traceback of an error.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(typer.Typer(cls=RunGroup), name="run", help=HELP)
app.command("train")(training.train)
app.command("fine-tune")(training.fine_tune)
app.add_typer(atlas, name="atlas", help="A microscope for a model: every unit with what it looks for in a data set.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its status; refusals are one line on stderr, never a traceback (unless --debug).

    With `arguments` it is a function like any other; without them it is the program, which may set the process up.
    """
    if arguments is None:
        _own_the_process()
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]
    token = debugging.set(words != given)
    try:
        status = _status(words)
    finally:
        debugging.reset(token)
    raise SystemExit(status)


def _own_the_process() -> None:
    keep_large_blocks()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a queue's end of time is like Ctrl-C: what is done is kept
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file's name may be no text


def _status(words: Sequence[str]) -> int:
    """Runs the command, tells what went wrong, returns the exit status."""
    try:
        with _told_in_a_line():
            _run(words)
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    except typer.Exit as end:
        return end.exit_code if words else 2  # no command: the help, and nothing done
    except (KeyboardInterrupt, typer.Abort):
        fail("stopped")
        return STOPPED
    except BrokenPipeError:
        _close_output()
        return 0
    except Exception as error:
        if debugging.get():
            raise
        fail(_words_for(error))
        return 2
    return 0


@contextlib.contextmanager
def _told_in_a_line() -> Iterator[None]:
    """Our own warnings are remarks like any other, without the lines of code that they point at."""

    def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TapetumWarning):
            note(f"caution: {message}")
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", TapetumWarning)
        show, warnings.showwarning = warnings.showwarning, tell
        yield


def _run(words: Sequence[str]) -> None:
    """Without Typer's own `main`, which prints errors in a box, and sets hooks that outlive the call."""
    command = get_command(app)
    with command.make_context("tapetum", list(words) or ["--help"]) as context:
        command.invoke(context)


def _words_for(error: Exception) -> str:
    if isinstance(error, TapetumError):
        return str(error)
    format_message = getattr(error, "format_message", None)  # wrong usage, as Typer puts it
    if format_message is None:
        return unexpected(error)
    context = getattr(error, "ctx", None)
    return f"{format_message().rstrip('.')}; see {context.command_path if context else 'tapetum'} --help"


def _close_output() -> None:
    """Whoever read our output has seen enough; without this Python would complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):  # no file behind it, so nobody to complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        say(f"tapetum {version('tapetum')}")
        raise typer.Exit
    return wanted


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


# --- commands

USUAL = "efficientnet_lite0"
Model = Annotated[Any, typer.Option(help=MODEL_HELP, rich_help_panel=PANEL)]


@app.command()
@asks_for_model()
def explain(
    images: Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")],
    model: Model = USUAL,
    target: Annotated[str | None, typer.Option(help=TARGET_HELP)] = None,
    methods: Annotated[str, typer.Option(help="Names with commas between, auto, or best (tried within --budget).")] = "auto",
    budget: Annotated[float, typer.Option(help="Seconds an image that --methods best may try methods for.")] = 60.0,
    out: Annotated[str, typer.Option(help="The folder for report.html, report.json and the pictures.")] = "tapetum-report",
    resume: Annotated[bool, typer.Option(help="Go on with what is in --out; else explain all images again.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print report.json to standard output as well.")] = False,
    evidence: Annotated[bool, typer.Option(help="Measure deletion and insertion of every map.")] = True,
    runner_up: Annotated[bool, typer.Option(help="Also explain the second class.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Why does the model see this? Predictions, what the layers found, what mattered, and how well each map stands up."""
    from tapetum.cli.explaining import explain_files
    from tapetum.cli.models import as_target

    status = explain_files(
        images,
        model=model,
        target=as_target(target),
        methods=methods if methods in ("auto", "best") else _names(methods),
        budget_s=budget,
        out=out,
        resume=resume,
        as_json_too=json,
        settings={"evidence": evidence, "runner_up": runner_up, "seed": seed},
    )
    raise SystemExit(status)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise MethodError("--methods names no method; give names with commas between, auto, or best")
    return names


DEMO = ("cat", "coffee")
"""One photograph on which the network hesitates between three kinds of cat, and one on which it is sure."""


@app.command()
def demo(
    photo: Annotated[
        list[str] | None,
        typer.Option(
            help="cat, coffee, astronaut or rocket, shipped by scikit-image; again for more; cat and coffee without it."
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="The folder for the report.")] = "demo",
) -> None:
    """Explains packaged photographs with the built-in network: no download, no files of your own needed."""
    from tapetum.cli.explaining import explain_files
    from tapetum.cli.models import ModelChoice
    from tapetum.data.sources import packaged_photo

    status = explain_files(
        [str(packaged_photo(name)) for name in photo or DEMO],
        model=ModelChoice("efficientnet_lite0"),
        target=None,
        methods="auto",
        out=out,
        resume=False,
        as_json_too=False,
        settings={},
    )
    raise SystemExit(status)


@app.command()
@asks_for_model()
def predict(
    images: Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")],
    model: Model = USUAL,
    k: Annotated[int, typer.Option(help="Classes an image.", min=1)] = 5,
) -> None:
    """The most probable classes of each image."""
    from tapetum.cli.explaining import predict_files

    raise SystemExit(predict_files(images, model=model, k=k))


@app.command()
def models(pattern: Annotated[str | None, typer.Argument(help="Only names that contain this.")] = None) -> None:
    """The models that `--model` takes."""
    from tapetum.models.zoo import known_models

    wanted = (pattern or "").lower()
    found = {family: [name for name in names if wanted in name.lower()] for family, names in known_models().items()}
    if not any(found.values()):
        raise ModelError(f"no model's name contains '{pattern}'; `tapetum models` lists all")
    for family, names in found.items():
        if names:
            say("\n".join([f"# {family} ({len(names)})", *names]))


@app.command()
@asks_for_model(weights="random")
def layers(
    model: Annotated[Any, typer.Argument(help=MODEL_HELP)],
    pattern: Annotated[str, typer.Argument(help='A glob such as "layer*".')] = "*",
) -> None:
    """Every layer of a model: kind, output shape, parameters, theoretical receptive field and stride in pixels."""
    from tapetum.types import Layers

    network = model.load()
    say(str(Layers(network.survey[name] for name in network.find_layers(pattern))))


@app.command()
def methods(family: Annotated[str | None, typer.Argument(help="Only this family.")] = None) -> None:
    """Every method, with what its picture shows."""
    import tapetum

    families = dict.fromkeys(method.family for method in tapetum.methods())
    if family is not None and family not in families:
        raise MethodError(f"no family '{family}'; there are {', '.join(families)}")
    say(str(tapetum.methods(family=family)))


UNIT_HELP = 'Units: "layer:5", "layer:0-15", "layer:3,5,7", "layer:*".'
DATA_HELP = "Pictures: a folder, .tar shards, imagenette, hf:NAME."
SCAN_HELP = "A folder that keeps what was looked at, so that a run that was stopped goes on there."


@app.command()
@asks_for_model()
def spectrum(
    units: Annotated[list[str], typer.Argument(help=UNIT_HELP, metavar="UNIT...")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    model: Model = USUAL,
    out: Annotated[Path, typer.Option(help="A new or empty folder, or an earlier report.")] = Path("tapetum-spectrum"),
    k: Annotated[int, typer.Option(help="Pictures at each of the four places.", min=1)] = 9,
    score: Annotated[str, typer.Option(help="Of a unit on a picture: max or mean over its map.")] = "max",
    optimize: Annotated[bool, typer.Option(help="Also make the pictures that the unit answers least and most to.")] = True,
    size: Annotated[str | None, typer.Option(help="Of made pictures, in px.")] = None,
    n_steps: Annotated[int | None, typer.Option("--n-steps", "--steps", help="Of made pictures.", min=1)] = None,
    preset: Annotated[str, typer.Option(help="Of made pictures, as for `render`.")] = "best",
    seed: Annotated[int, typer.Option(help="Of made pictures.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Passes side by side; one a core without it.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many pictures of the data, from the start.", min=1)] = None,
    scan: Annotated[Path | None, typer.Option(help=SCAN_HELP)] = None,
) -> None:
    """What units answer to, from least to most: pictures made against and for them, and the true examples between."""
    from tapetum.cli.spectra import show_units

    made = {"optimize": optimize, "size": size, "n_steps": n_steps, "preset": preset, "seed": seed}
    keywords = {"k": k, "score": _score(score), **made, "workers": workers, "limit": limit, "out": scan}
    raise SystemExit(show_units("activation_spectrum", units, data=data, model=model, out=out, keywords=keywords))


@app.command()
@asks_for_model()
def examples(
    units: Annotated[list[str], typer.Argument(help=UNIT_HELP, metavar="UNIT...")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    model: Model = USUAL,
    out: Annotated[Path, typer.Option(help="A new or empty folder, or an earlier report.")] = Path("tapetum-examples"),
    k: Annotated[int, typer.Option(help="Pictures of each unit.", min=1)] = 9,
    score: Annotated[str, typer.Option(help="Of a unit on a picture: max or mean over its map.")] = "max",
    crop_px: Annotated[int | None, typer.Option(help="The side of the crops around the strongest places.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Passes side by side; one a core without it.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many pictures of the data, from the start.", min=1)] = None,
    scan: Annotated[Path | None, typer.Option(help=SCAN_HELP)] = None,
) -> None:
    """The pictures of a data set on which units answer most, and where in them."""
    from tapetum.cli.spectra import show_units

    keywords = {"k": k, "score": _score(score), "crop_px": crop_px, "workers": workers, "limit": limit, "out": scan}
    raise SystemExit(show_units("top_examples", units, data=data, model=model, out=out, keywords=keywords))


def _score(text: str) -> str:
    if text not in ("max", "mean"):
        raise MethodError(f"--score is max or mean, not '{text}'")
    return text


@app.command()
@asks_for_model()
def scan(
    data: Annotated[str, typer.Argument(help="A folder of pictures, tar shards, imagenette, hf:NAME.", metavar="DATA")],
    out: Annotated[Path, typer.Option(help="A new or empty folder, or that of an earlier scan, which goes on.")],
    model: Model = USUAL,
    layers: Annotated[
        str | None, typer.Option(help='Names or globs with commas between; "blocks.*"; else every block.')
    ] = None,
    trackers: Annotated[str, typer.Option(help="What is kept: spectrum, topk, counts, moments, ...")] = "spectrum",
    k: Annotated[int, typer.Option(help="Pictures of each ranking.", min=1)] = 9,
    score: Annotated[str, typer.Option(help="A unit's score on a picture: the max over its map, or the mean.")] = "max",
    pre_activation: Annotated[bool, typer.Option(help="Signed values, before the activation that ends a layer.")] = False,
    precision: Annotated[str, typer.Option(help="exact, or fast: bfloat16.")] = "exact",
    batch: Annotated[int, typer.Option(help="Pictures a pass; another number changes the last bits.", min=1)] = 16,
    limit: Annotated[int | None, typer.Option(help="Only so many pictures, from the start.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Threads, or Ray actors; one a core without it.", min=1)] = None,
    ray: Annotated[str | None, typer.Option(help="On a Ray cluster: auto, local, or an address.")] = None,
    shards: Annotated[str | None, typer.Option(help="Finished shards at a URL, s3://bucket/name, instead of --out.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with what is in --out; else make it again.")] = True,
    log: Annotated[str, typer.Option(help="jsonl, wandb, trackio, tensorboard, none; commas between.")] = "jsonl",
    json: Annotated[bool, typer.Option("--json", help="Print scan.json to standard output as well.")] = False,
) -> None:
    """Every picture of a data set seen once: what each unit of the network responds to. Under torchrun or SLURM shared out."""
    from tapetum.cli.scanning import Asked, runner, scan_folder

    run, first = runner(ray, workers)
    settings = {"pre_activation": pre_activation, "precision": precision, "batch": batch, "limit": limit, "resume": resume}
    asked = Asked(data, model, out, layers, trackers, log, json, run, first, shards, {"k": k, "score": score}, settings)
    raise SystemExit(scan_folder(asked))


@app.command()
@asks_for_model()
def reproduce(
    file: Annotated[str, typer.Argument(help="A PNG that tapetum saved.", metavar="FILE")],
    out: Annotated[Path | None, typer.Option(help="Where the new picture goes; without it, nowhere.")] = None,
    model: Annotated[Any, typer.Option(help="In place of the model that the file names; needed for file.py:factory.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="The photograph, where it has moved; again for more.")] = None,
) -> None:
    """Makes a saved picture again from the provenance inside its file: 0 the same pixels, 1 others (and why), 2 refused."""
    from tapetum.reports.reproducing import reproduce as made_again
    from tapetum.reports.reproducing import told_by

    with bar(Path(file).name) as watcher:
        network = None if model is None else model.load(told_by(file, model.settings))
        again = made_again(file, out, model=network, images=image or None, progress=watcher)
    say(f"{one_line(file)}: {again.words}")
    raise SystemExit(0 if again.same else 1)


@app.command()
@asks_for_model()
def lesson(
    number: Annotated[int | None, typer.Argument(help="Of the lesson; without it, the list.", metavar="N", min=1)] = None,
    model: Annotated[Any, typer.Option(help="Your own in place of the lesson's: a name, or file.py:factory.")] = None,
    image: Annotated[
        str | None, typer.Option(help="Your own picture in place of the lesson's main one: a file or URL.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Your own folder of class folders, for a lesson that trains on one.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller numbers: a first look.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for the lesson's page.")] = Path("tapetum-lessons"),
) -> None:
    """A lesson on your own model and picture: its text, checks and pictures as one page. Without a number, the list."""
    from tapetum.cli.lessons import list_lessons, run_lesson

    if number is None:
        raise SystemExit(list_lessons())
    raise SystemExit(run_lesson(number, model=model, image=image, data=data, quick=quick, out=out))
