"""Options read from signatures: a method's keywords as Typer's parameters, and their texts as values again."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from tapetum.registry import Parameter
from tapetum.types import Method, ModelError, Outputs

T = TypeVar("T")

HIDDEN = ("generator",)
"""Keywords that only Python can give."""

ALIASES = {"n_steps": ("--n-steps", "--steps")}
"""Options with a second name."""

SEVERAL = (Sequence, list, tuple)

MODEL_HELP = "A name that `tapetum models` lists, or file.py:factory."
WEIGHTS_HELP = "A .safetensors, .pth or .ckpt file, or 'random'."

SETTINGS: Mapping[str, tuple[Any, str]] = {
    "labels": (str | None, "Class names: a file with one per line, or names with commas between."),
    "size": (str | None, "Of the input in px: a side, or height x width, 64x128."),
    "resize": (str | None, "Before the cut: crop, squash, or the shorter side in px."),
    "mean": (str | None, "One number, or one per channel with commas between, for pixels from 0 to 1."),
    "std": (str | None, "Like --mean."),
    "range": (str | None, "Raw values that stand for black and white, where pictures are no 8 or 16 bits: 0,4095."),
    "outputs": (str | None, f"What the network's numbers are: {', '.join(typing.get_args(Outputs))}."),
    "head": (str | None, "Which of several outputs is the answer: its name or place."),
    "extra": (list[str] | None, "A further input: name=number, name=several,numbers or name=FILE.npy; again for more."),
}
"""What can be said of a model whose name or factory does not say it, as `models.zoo.settings` reads it."""

PANEL = "The model"


def help_of(method: Method) -> str:
    """The docstring without its `Args:` and `Example:`."""
    text = inspect.cleandoc(method.function.__doc__ or "")
    return text.partition("\nArgs:")[0].partition("\nExample:")[0].strip()


def plain_option(name: str, kind: Any, default: Any, help_: str) -> inspect.Parameter:
    """An option that is no keyword of a method."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typer.Option(help=help_)]
    )


def model_options(
    model: inspect.Parameter | None = None, weights: str | None = None, taken: Collection[str] = ()
) -> list[inspect.Parameter]:
    """--model, --weights, and what else can be said of a model.

    model     --model, where it is not an option of the usual kind
    taken     options that the command has itself: `--size` of made pictures leaves `--input-size` for the model's
    """
    first = model or _said("model", str, "efficientnet_lite0", MODEL_HELP)
    more = [_said(name, kind, None, help_, taken) for name, (kind, help_) in SETTINGS.items()]
    return [first, _said("weights", str | None, weights, WEIGHTS_HELP), *more]


def _said(name: str, kind: Any, default: Any, help_: str, taken: Collection[str] = ()) -> inspect.Parameter:
    names = [f"--{name}"] if name not in taken else []
    names += ["--input-size"] if name == "size" else []
    hint = Annotated[kind, typer.Option(*names, help=help_, rich_help_panel=PANEL)]
    own = name if name in ("model", "weights") else f"model_{name}"
    return inspect.Parameter(own, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def model_choice(given: dict[str, Any]) -> Any:
    """The model of a command's options, which are taken out of `given`; None where none is asked for."""
    from tapetum.cli.models import ModelChoice

    name, weights = given.pop("model"), given.pop("weights")
    said = {one: value for one in SETTINGS if (value := given.pop(f"model_{one}"))}
    if name is None and (weights or said):
        first = "--weights are those" if weights else f"--{next(iter(said))} is said"
        raise ModelError(f"{first} of --model; give both")
    return None if name is None else ModelChoice(name, weights, said)


def asks_for_model(weights: str | None = None) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A command with a parameter `model`: in its place stand --model and all that can be said of a model; it gets one
    `ModelChoice`, or None where it has no usual model and none is given."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(command, eval_str=True).parameters

        @functools.wraps(command)
        def public(**given: Any) -> T:
            return command(model=model_choice(given), **given)

        kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.values()]
        place = next(i for i, one in enumerate(kept) if one.name == "model")
        first = kept[place].replace(annotation=_as_text(kept[place]))
        options = model_options(first, weights, [one.name for one in kept])
        return signed(public, [*kept[:place], *options, *kept[place + 1 :]])

    return decorate


def _as_text(model: inspect.Parameter) -> Any:
    """What Typer reads is a name; what the command gets is a `ModelChoice`."""
    kind = str | None if model.default is None else str
    return Annotated[kind, *typing.get_args(model.annotation)[1:]]


def signed(command: Callable[..., T], signature: Sequence[inspect.Parameter]) -> Callable[..., T]:
    """The function with the signature that Typer reads."""
    vars(command)["__signature__"] = inspect.Signature(list(signature))
    command.__annotations__ = {one.name: one.annotation for one in signature}
    return command


def argument(name: str, metavar: str, help_: str) -> inspect.Parameter:
    """One or more words without an option before them."""
    hint = Annotated[list[str], typer.Argument(help=help_, metavar=metavar)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint)


def option(parameter: Parameter) -> inspect.Parameter:
    """A method's keyword as an option, with its range and its choices in the help."""
    limits = "" if parameter.range is None else f" From {parameter.range.low} to {parameter.range.high}."
    choices = "" if not parameter.choices else f" One of {', '.join(parameter.choices)}{_or_number(parameter)}."
    kind = _cli_type(parameter)
    default = parameter.default if kind is not str or _is_required(parameter) else _default(parameter)
    names = ALIASES.get(parameter.name, ())
    annotation = Annotated[kind, typer.Option(*names, help=f"{parameter.help}{limits}{choices}".strip())]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _default(parameter: Parameter) -> str:
    value = parameter.default
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _kinds(parameter: Parameter) -> set[Any]:
    """The members of a union; a sequence of something is one kind."""
    hint = parameter.type
    united = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return set(typing.get_args(hint)) if united else {hint}


def _or_number(parameter: Parameter) -> str:
    return ", or a number" if _kinds(parameter) & {int, float} else ""


def _cli_type(parameter: Parameter) -> Any:
    """int, float, bool and text as such, also when None is allowed; unions of them are read as text."""
    kinds = _kinds(parameter)
    for kind in (bool, int, float):
        if kinds - {type(None)} == {kind}:
            return kind | None if type(None) in kinds else kind
    return str | None if parameter.default is None else str


def converted(parameter: Parameter, value: Any) -> Any:
    """Text of a union such as `float | "blur"` becomes the number that it spells; a layer called "4" stays text.

    Commas separate the members of a sequence, also where one text alone would do ("layer1,layer4").
    """
    if not isinstance(value, str):
        return value
    kinds = _kinds(parameter)
    number = _number(value, kinds)
    inside = {one for kind in kinds if typing.get_origin(kind) in SEVERAL for one in typing.get_args(kind)}
    if number is not None or Any in kinds or (str in kinds and not (str in inside and "," in value)):
        return value if number is None else number
    if not inside:
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    numbers = [_number(part, inside) for part in parts]
    return [part if found is None else found for part, found in zip(parts, numbers, strict=True)]


def _number(text: str, kinds: set[Any]) -> int | float | None:
    for kind in (int, float) if kinds & {int, float} else ():
        try:
            return kind(text)
        except ValueError:
            continue
    return None
