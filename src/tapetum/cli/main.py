"""The program: all commands, one-line errors, and the exit status: 0 done, 1 done in part, 2 wrong use or nothing done."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from tapetum.cli.atlas import atlas
from tapetum.cli.generated import HELP, LazyGroup, RunGroup
from tapetum.cli.options import MODEL_HELP, USUAL, asks_for_model
from tapetum.cli.terminal import STOPPED, debugging, fail, remark, say, unexpected
from tapetum.runners.allocator import keep_large_blocks
from tapetum.switches import during
from tapetum.types import MethodError, ModelError, TapetumError, TapetumWarning

app = typer.Typer(
    name="tapetum",
    cls=LazyGroup,
    help="What a vision network looks for, what it found, what mattered, and whether to trust it.",
    epilog="Every command takes --help, and --debug, which shows the traceback of an error.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(typer.Typer(cls=RunGroup), name="run", help=HELP)
app.add_typer(atlas, name="atlas", help="Builds and shows a microscope for a model: what each unit looks for in a data set.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its status; refusals are one line on stderr, never a traceback (unless --debug).

    Without `arguments` it reads sys.argv and may configure the whole process, such as signals and output.
    """
    if arguments is None:
        keep_large_blocks()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job queue's time limit acts like Ctrl-C
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be text
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]
    with during(debugging, words != given):
        status = _status(words)
    raise SystemExit(status)


def _status(words: Sequence[str]) -> int:
    """Runs the command line `words`, prints an error in one line, and returns the exit status."""
    try:
        command = get_command(app)  # not by Typer's `main`, which frames errors and installs global hooks
        with _warnings_as_notes(), command.make_context("tapetum", list(words) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    except typer.Exit as end:
        return end.exit_code if words else 2  # without a command: prints the help
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
def _warnings_as_notes() -> Iterator[None]:
    """Prints tapetum's warnings inside the block as one-line remarks, without the line of code that Python adds."""

    def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TapetumWarning):
            remark(f"caution: {message}")
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", TapetumWarning)
        show, warnings.showwarning = warnings.showwarning, tell
        yield


def _words_for(error: Exception) -> str:
    if isinstance(error, TapetumError):
        return str(error)
    format_message = getattr(error, "format_message", None)  # wrong usage, as Typer puts it
    if format_message is None:
        return unexpected(error)
    context = getattr(error, "ctx", None)
    message = format_message().rstrip(".").replace("Value error, ", "")
    return f"{message}; see {context.command_path if context else 'tapetum'} --help"


def _close_output() -> None:
    """Redirects standard output to nowhere after its reader has closed it, so that Python does not complain on exit."""
    with contextlib.suppress(OSError, ValueError):  # standard output is not a file
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


PICTURES_HELP = "Photographs like those of the training: files, folders or URLs; without any, some checks are left out."

DEMO = ("cat", "coffee")
"""One photograph on which the network hesitates between three kinds of cat, and one on which it is sure."""

PHOTO_HELP = "Photograph: cat, coffee, astronaut or rocket, from scikit-image; repeat for more; by default cat and coffee."


@app.command()
def demo(
    photo: Annotated[list[str] | None, typer.Option(help=PHOTO_HELP)] = None,
    out: Annotated[str, typer.Option(help="Output folder for the report.")] = "demo",
) -> None:
    """Explains packaged photographs with the built-in network: no download, no files of your own needed."""
    from tapetum.cli.explaining import explain_files
    from tapetum.cli.models import ModelChoice
    from tapetum.data.sources import packaged_photo

    photos = [str(packaged_photo(name)) for name in photo or DEMO]
    raise SystemExit(explain_files(photos, model=ModelChoice(USUAL), out=out, resume=False))


@app.command()
def models(pattern: Annotated[str | None, typer.Argument(help="Part of the names to list.")] = None) -> None:
    """Lists the models that `--model` takes."""
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
    pattern: Annotated[str, typer.Argument(help='Glob of layer names, such as "layer*".')] = "*",
) -> None:
    """Lists the layers of a model: kind, output shape, parameters, theoretical receptive field and stride in pixels."""
    from tapetum.types import Layers

    network = model.load()
    say(str(Layers(network.survey[name] for name in network.find_layers(pattern))))


@app.command()
@asks_for_model()
def doctor(
    model: Annotated[Any, typer.Argument(help=MODEL_HELP)],
    images: Annotated[list[str] | None, typer.Argument(help=PICTURES_HELP, metavar="[IMAGE...]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON in place of words.")] = False,
) -> None:
    """Examines a model for faults that spoil explanations: what was found, what tapetum does about it, what you should do.

    Exit status: 0 healthy or only notes, 1 an error or a warning was found or an image was refused, 2 nothing was examined.
    """
    from tapetum.cli.examining import examine

    raise SystemExit(examine(model=model, images=images or [], as_json=as_json))


@app.command("near-classes")
@asks_for_model()
def near_classes(
    model: Annotated[Any, typer.Argument(help=MODEL_HELP)],
    of: Annotated[str, typer.Argument(help="Class, by its label or index.", metavar="CLASS")],
    images: Annotated[list[str] | None, typer.Argument(help="Photographs whose answers decide.", metavar="[IMAGE...]")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of classes.")] = 5,
) -> None:
    """Lists the classes that a model hardly tells apart from one, by its class weights or by its answers to pictures."""
    from tapetum.cli.examining import list_near

    raise SystemExit(list_near(model=model, of=of, images=images or [], k=k))


@app.command()
def methods(family: Annotated[str | None, typer.Argument(help="Family of methods to list.")] = None) -> None:
    """Lists the methods, with what their pictures show."""
    import tapetum

    families = dict.fromkeys(method.family for method in tapetum.methods())
    if family is not None and family not in families:
        raise MethodError(f"no family '{family}'; there are {', '.join(families)}")
    say(str(tapetum.methods(family=family)))


@app.command()
@asks_for_model()
def lesson(
    number: Annotated[int | None, typer.Argument(help="Lesson number; omit to list all.", metavar="N", min=1)] = None,
    model: Annotated[Any, typer.Option(help="Your model in place of the lesson's: a name, or file.py:factory.")] = None,
    image: Annotated[str | None, typer.Option(help="Your picture in place of the lesson's main one: a file or URL.")] = None,
    data: Annotated[str | None, typer.Option(help="Your folder of class folders, for a lesson that trains on one.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Use smaller numbers, for a first look.")] = False,
    out: Annotated[Path, typer.Option(help="Output folder for the lesson's page.")] = Path("tapetum-lessons"),
) -> None:
    """Runs a lesson on your own model and picture: text, checks and pictures as one page. Without a number, lists lessons."""
    from tapetum.cli.lessons import list_lessons, run_lesson

    if number is None:
        raise SystemExit(list_lessons())
    raise SystemExit(run_lesson(number, model=model, image=image, data=data, quick=quick, out=out))


@app.command()
@asks_for_model()
def studio(
    model: Annotated[Any, typer.Argument(help=MODEL_HELP + " By default the built-in one.", metavar="[MODEL]")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Further model to choose on the page; repeat for more.")] = None,
    atlas: Annotated[Path | None, typer.Option(help="Folder of a built atlas that the page links to.")] = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="Folder of a report, such as an audit's, that the page links to; repeat for more.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this computer's own asks visitors for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.", min=0, max=65535)] = 7860,
    address: Annotated[
        str | None, typer.Option(help="Address under which a proxy shows the studio; a token is needed.")
    ] = None,
    embed_in: Annotated[
        list[str] | None, typer.Option(help="Origin of a page that may show the studio in a frame; repeat for more.")
    ] = None,
) -> None:
    """Opens a page on which to look into a model by hand: answers, maps with verdicts, units, comparisons. Ctrl-C ends it."""
    from tapetum.cli.studio import serve_studio

    serve_studio(
        model=model, also=also or [], atlas=atlas, reports=report or [], host=host, port=port, address=address,
        embedders=embed_in or [],
    )  # fmt: skip
