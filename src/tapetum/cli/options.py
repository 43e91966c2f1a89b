"""Options read from signatures: a method's keywords as Typer's parameters, and their texts as values again."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tapetum.registry import Parameter
from tapetum.types import Method

HIDDEN = ("generator",)
"""Keywords that only Python can give."""

ALIASES = {"n_steps": ("--n-steps", "--steps")}
"""Options with a second name."""

SEVERAL = (Sequence, list, tuple)

MODEL_HELP = "A name that `tapetum models` lists, or file.py:factory."
WEIGHTS_HELP = "A .safetensors or .pth file, or 'random'."


def help_of(method: Method) -> str:
    """The docstring without its `Args:` and `Example:`."""
    text = inspect.cleandoc(method.function.__doc__ or "")
    return text.partition("\nArgs:")[0].partition("\nExample:")[0].strip()


def plain_option(name: str, kind: Any, default: Any, help_: str) -> inspect.Parameter:
    """An option that is no keyword of a method."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typer.Option(help=help_)]
    )


def model_options() -> list[inspect.Parameter]:
    """--model and --weights."""
    return [
        plain_option("model", str, "efficientnet_lite0", MODEL_HELP),
        plain_option("weights", str | None, None, WEIGHTS_HELP),
    ]


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
