"""`tapetum run METHOD`: one command for every attribution of the registry, its options read from the signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import tapetum
from tapetum.registry import Parameter, parameters
from tapetum.types import Method

HIDDEN = ("generator",)
"""Keywords that only Python can give."""


def run_group() -> typer.Typer:
    """A Typer group with a command for each attribution method."""
    group = typer.Typer(
        help="One method by name, with its own options: overlays and arrays into a folder.", no_args_is_help=True
    )
    for method in tapetum.methods(kind="attribution"):
        group.command(method.name, help=_help(method))(_command(method))
    return group


def _help(method: Method) -> str:
    text = inspect.cleandoc(method.function.__doc__ or "")
    return text.partition("\nArgs:")[0].partition("\nExample:")[0].strip()


def _command(method: Method) -> Callable[..., None]:
    own = [parameter for parameter in parameters(method) if parameter.name not in HIDDEN]

    def command(**given: Any) -> None:
        from tapetum.cli.running import run_files

        keywords = {p.name: _converted(p, given.pop(p.name)) for p in own}
        raise SystemExit(run_files(method.name, keywords=keywords, **given))

    signature = [*_common(), *(_option(parameter) for parameter in own)]
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature}
    return command


def _common() -> list[inspect.Parameter]:
    def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    model_help = "A name that `tapetum models` lists, or file.py:factory."
    return [
        keyword("images", Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")]),
        keyword("model", Annotated[str, typer.Option(help=model_help)], "efficientnet_lite0"),
        keyword("weights", Annotated[str | None, typer.Option(help="A .safetensors or .pth file, or 'random'.")], None),
        keyword("target", Annotated[str | None, typer.Option(help="Class index or name.")], None),
        keyword("out", Annotated[Path, typer.Option(help="A new or empty folder.")], Path("tapetum-run")),
    ]


def _option(parameter: Parameter) -> inspect.Parameter:
    limits = "" if parameter.range is None else f" From {parameter.range.low:g} to {parameter.range.high:g}."
    choices = "" if not parameter.choices else f" One of {', '.join(parameter.choices)}, or as Python takes it."
    option = typer.Option(help=f"{parameter.help}{limits}{choices}".strip())
    annotation = Annotated[_cli_type(parameter), option]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default, annotation=annotation)


def _cli_type(parameter: Parameter) -> Any:
    """int, float, bool and text as such, also when None is allowed; unions of them are read as text."""
    kinds = set(typing.get_args(parameter.type)) or {parameter.type}
    for kind in (bool, int, float):
        if kinds - {type(None)} == {kind}:
            return kind | None if type(None) in kinds else kind
    return str | None if parameter.default is None else str


def _converted(parameter: Parameter, value: Any) -> Any:
    """Text of a union such as `float | "blur"` becomes the number that it spells."""
    if not isinstance(value, str):
        return value
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value
