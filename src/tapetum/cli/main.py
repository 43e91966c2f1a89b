"""The app: every command, its errors as one line, and the exit status: 0 done, 1 in part, 2 wrong use or nothing done."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tapetum.cli.allocator import keep_large_blocks
from tapetum.cli.terminal import fail, say
from tapetum.types import TapetumError

app = typer.Typer(
    name="tapetum",
    help="What a vision network looks for, what it found, what mattered, and whether to trust it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its status; refusals are one line on stderr, never a traceback (unless --debug)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    keep_large_blocks()
    _add_commands()
    try:
        app(given, standalone_mode=True)
    except TapetumError as error:
        if debug:
            raise
        fail(str(error))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        fail("stopped")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has seen enough
        raise SystemExit(0) from None
    except Exception as error:
        if debug:
            raise
        fail(f"unexpected {type(error).__name__}: {_one_line(error)} (--debug shows where; please report it)")
        raise SystemExit(2) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _add_commands() -> None:
    """Commands that are made from the registry; importing them is what `tapetum --help` pays for."""
    if not any(group.name == "run" for group in app.registered_groups):
        from tapetum.cli.generated import run_group

        app.add_typer(run_group(), name="run")


# --- commands


@app.command()
def explain(
    images: Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")],
    model: Annotated[str, typer.Option(help="A name that `tapetum models` lists, or file.py:factory.")] = "efficientnet_lite0",
    weights: Annotated[str | None, typer.Option(help="A .safetensors or .pth file, or 'random'.")] = None,
    target: Annotated[str | None, typer.Option(help="Class index or name; the predicted class without it.")] = None,
    methods: Annotated[str, typer.Option(help="Names with commas between, or auto.")] = "auto",
    out: Annotated[str, typer.Option(help="The folder for report.html, report.json and the pictures.")] = "tapetum-report",
    json: Annotated[bool, typer.Option("--json", help="Print report.json to standard output as well.")] = False,
    evidence: Annotated[bool, typer.Option(help="Measure deletion and insertion of every map.")] = True,
    runner_up: Annotated[bool, typer.Option(help="Also explain the second class.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Why does the model see this? Predictions, what the layers found, what mattered, and how well each map stands up."""
    from tapetum.cli.explaining import explain_files

    names = "auto" if methods == "auto" else [name.strip() for name in methods.split(",") if name.strip()]
    settings: dict[str, Any] = {"evidence": evidence, "runner_up": runner_up, "seed": seed}
    raise SystemExit(explain_files(images, load_model(model, weights), as_target(target), names, out, json, settings))


@app.command()
def demo(
    photo: Annotated[str, typer.Option(help="cat, astronaut, coffee or rocket: photographs that scikit-image ships.")] = "cat",
    out: Annotated[str, typer.Option(help="The folder for the report.")] = "demo",
) -> None:
    """Explains a packaged photograph with the built-in network: no download, no files of your own needed."""
    from tapetum.cli.explaining import explain_files
    from tapetum.data.sources import packaged_photo

    settings: dict[str, Any] = {"evidence": True, "runner_up": True, "seed": 0}
    model = load_model("efficientnet_lite0", None)
    raise SystemExit(explain_files([str(packaged_photo(photo))], model, None, "auto", out, False, settings))


@app.command()
def predict(
    images: Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")],
    model: Annotated[str, typer.Option(help="A name that `tapetum models` lists, or file.py:factory.")] = "efficientnet_lite0",
    weights: Annotated[str | None, typer.Option(help="A .safetensors or .pth file, or 'random'.")] = None,
    k: Annotated[int, typer.Option(help="Classes an image.", min=1)] = 5,
) -> None:
    """The most probable classes of each image."""
    from tapetum.cli.explaining import predict_files

    raise SystemExit(predict_files(images, load_model(model, weights), k))


@app.command()
def models(pattern: Annotated[str | None, typer.Argument(help="Only names that contain this.")] = None) -> None:
    """The models that `--model` takes."""
    from tapetum.models.zoo import known_models

    for family, names in known_models().items():
        shown = [name for name in names if pattern is None or pattern.lower() in name.lower()]
        if shown:
            say(f"# {family} ({len(shown)})")
            say("\n".join(shown))


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="A name that `tapetum models` lists, or file.py:factory.")],
    pattern: Annotated[str, typer.Argument(help='A glob such as "layer*".')] = "*",
    weights: Annotated[str | None, typer.Option(help="A .safetensors or .pth file, or 'random'.")] = "random",
) -> None:
    """Every layer of a model: kind, output shape, parameters, theoretical receptive field and stride in pixels."""
    from tapetum.cli.tables import layer_table

    say(layer_table(load_model(model, weights), pattern))


@app.command()
def methods(family: Annotated[str | None, typer.Argument(help="Only this family.")] = None) -> None:
    """Every method, with what its picture shows."""
    import tapetum

    say(str(tapetum.methods(family=family)))


def load_model(name: str, weights: str | None) -> Any:
    """The model of a command's --model and --weights."""
    from tapetum.models.zoo import load

    if weights == "random":
        return load(name, weights=None)
    return load(name) if weights is None else load(name, weights=weights)


def as_target(text: str | None) -> int | str | None:
    """A number is a class index, anything else a class name."""
    return int(text) if text is not None and text.strip().isdigit() else text
