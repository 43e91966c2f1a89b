"""Reads command-line options from signatures: makes Typer's parameters, and converts their texts back to values."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tapetum.border.texts import FLAGS, as_value, kinds_of, type_of
from tapetum.registry import Parameter, keywords
from tapetum.types import ModelError, Outputs

T = TypeVar("T")

HIDDEN = ("generator", "run", "progress")
"""Keywords that are not command-line options, since only Python can give their values."""

USUAL = "efficientnet_lite0"
MODEL_HELP = "Model: a name that `tapetum models` lists, or file.py:factory."
WEIGHTS_HELP = "Weights: a .safetensors, .pth or .ckpt file, a patch of `tapetum suppress`, or 'random'."

SETTINGS: Mapping[str, tuple[Any, str]] = {
    "labels": (str | None, "Class names: a file with one per line, or names with commas between."),
    "size": (str | None, "Input size in px: a side, or height x width, such as 64x128."),
    "resize": (str | None, "Step before the center cut: crop, squash, or the shorter side in px."),
    "mean": (str | None, "Mean for pixels from 0 to 1: one number, or one per channel with commas between."),
    "std": (str | None, "Standard deviation, in the form of --mean."),
    "range": (str | None, "Raw values that stand for black and white, where pictures are not 8 or 16 bits: 0,4095."),
    "outputs": (str | None, f"Meaning of the network's numbers: {', '.join(typing.get_args(Outputs))}."),
    "head": (str | None, "Name or place of the output that is the answer, where there are several."),
    "extra": (list[str] | None, "Further input: name=number, name=several,numbers or name=FILE.npy; repeat for more."),
}
"""{setting: (type, help)} of a model that its name or factory leaves open; `models.zoo.settings` reads the values."""

PANEL = "The model"

IMAGES_HELP = "Files, folders or URLs."


# --- parameters for Typer


def plain_option(name: str, kind: Any, default: Any, help_: str, *flags: str, least: int | None = None) -> inspect.Parameter:
    """Makes an option from its name, type, default and help; it is required if `default` is `inspect.Parameter.empty`."""
    return _parameter(name, Annotated[kind, typer.Option(*flags, help=help_, min=least)], default)


def argument(
    name: str, metavar: str, help_: str, kind: Any = list[str], default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    """Makes a positional argument of one or, by default, several words; it is required unless it has a default."""
    return _parameter(name, Annotated[kind, typer.Argument(help=help_, metavar=metavar)], default)


def out_option(default: Any, earlier: str) -> inspect.Parameter:
    return plain_option("out", Path, default, f"Output folder: new, empty, or {earlier}.")


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def with_signature(command: Callable[..., T], signature: Sequence[inspect.Parameter]) -> Callable[..., T]:
    """Gives `command` a signature with these parameters, which Typer reads, and returns it."""
    vars(command)["__signature__"] = inspect.Signature(list(signature))
    command.__annotations__ = {one.name: one.annotation for one in signature}
    return command


def command_for(
    function: Callable[..., Any],
    work: Callable[..., int],
    *around: inspect.Parameter,
    without: Collection[str] = (),
    model: bool | inspect.Parameter = True,
) -> Callable[..., None]:
    """Makes a command whose options are the keywords of `function`, the parameters `around`, and those of the model.

    `work` gets the keywords as one dictionary, all other options as arguments of their names; it returns the exit status.
    `model` is a parameter in place of the usual --model, or False for a command without a model.
    """
    own = [one for one in keywords(function) if one.name not in (*HIDDEN, *without)]

    def public(**given: Any) -> None:
        values = {one.name: as_value(one, given.pop(one.name)) for one in own}
        chosen = {"model": model_choice(given)} if model else {}
        raise SystemExit(work(**chosen, keywords=values, **given))

    taken = [one.name for one in (*own, *around)]
    vars(public)["function"] = function
    chosen = model_options(None if model is True else model, taken=taken) if model else []
    return with_signature(public, [*around, *map(option, own), *chosen])


# --- the model


def model_options(
    model: inspect.Parameter | None = None, weights: str | None = None, taken: Collection[str] = ()
) -> list[inspect.Parameter]:
    """Makes the options --model, --weights, and those for the settings of a model.

    model     parameter to use in place of the usual --model
    weights   default of --weights
    taken     names of the command's own options: if `size` is among them, the model's size is `--input-size` alone
    """
    first = model or _model_option("model", str, USUAL, MODEL_HELP)
    settings = [_model_option(name, kind, None, help_, taken) for name, (kind, help_) in SETTINGS.items()]
    return [first, _model_option("weights", str | None, weights, WEIGHTS_HELP), *settings]


def _model_option(name: str, kind: Any, default: Any, help_: str, taken: Collection[str] = ()) -> inspect.Parameter:
    names = [f"--{name}"] if name not in taken else []
    names += ["--input-size"] if name == "size" else []
    own = name if name in ("model", "weights") else f"model_{name}"
    return _parameter(own, Annotated[kind, typer.Option(*names, help=help_, rich_help_panel=PANEL)], default)


def model_choice(given: dict[str, Any]) -> Any:
    """Removes the model's options from `given`; returns a `ModelChoice`, or None if there is no --model."""
    from tapetum.cli.models import ModelChoice

    name, weights = given.pop("model"), given.pop("weights")
    settings = {one: value for one in SETTINGS if (value := given.pop(f"model_{one}"))}
    if name is None and (weights or settings):
        first = "--weights are those" if weights else f"--{next(iter(settings))} is said"
        raise ModelError(f"{first} of --model; give both")
    return None if name is None else ModelChoice(name, weights, settings)


def asks_for_model(weights: str | None = None) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Replaces a command's parameter `model` by --model, --weights and the model's settings.

    The command gets a `ModelChoice`, or None if that is its default and no model is given.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(command, eval_str=True).parameters

        @functools.wraps(command)
        def public(**given: Any) -> T:
            return command(model=model_choice(given), **given)

        kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.values()]
        place = next(i for i, one in enumerate(kept) if one.name == "model")
        options = model_options(_as_text(kept[place]), weights, [one.name for one in kept])
        return with_signature(public, [*kept[:place], *options, *kept[place + 1 :]])

    return decorate


def _as_text(model: inspect.Parameter) -> inspect.Parameter:
    """Returns the parameter `model` with a text as its type, for Typer; the command itself gets a `ModelChoice`."""
    kind = str | None if model.default is None else str
    said = typing.get_args(model.annotation)[1:] or (typer.Option(help=MODEL_HELP, rich_help_panel=PANEL),)
    return model.replace(annotation=Annotated[kind, *said])


# --- keywords


def option(parameter: Parameter) -> inspect.Parameter:
    """Makes an option from a keyword, with its range and its choices in the help."""
    limits = "" if parameter.range is None else f" From {parameter.range.low} to {parameter.range.high}."
    or_number = ", or a number" if kinds_of(parameter) & {int, float} else ""
    choices = "" if not parameter.choices else f" One of {', '.join(parameter.choices)}{or_number}."
    kind, default = type_of(parameter), parameter.default
    if kind is str and default is not inspect.Parameter.empty:
        default = ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
    text = f"{sentence(parameter.help)}{limits}{choices}".strip()
    return plain_option(parameter.name, kind, default, text, *FLAGS.get(parameter.name, ()))


def sentence(text: str) -> str:
    """Returns the text with a capital first letter and a full stop."""
    return text[:1].upper() + text[1:] + ("." if text and not text.endswith(".") else "")
