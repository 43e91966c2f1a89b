"""`tapetum run METHOD`: one command for every attribution of the registry, its options read from the signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

import tapetum
from tapetum.registry import Parameter, parameters
from tapetum.types import Method, MethodError

HIDDEN = ("generator",)
"""Keywords that only Python can give."""


TARGET_HELP = (
    'A class (index or name), "tabby rather than tiger cat", "probability of tabby", "output 0", "dog@x1,y1,x2,y2" (a box of a '
    'detector or a segmentation network, in px of the cut that it sees), "similarity to a photo of a cat", a unit '
    '"layer:channel"; without it, what the model answers.'
)
"""The forms that `engines.scores.texts` reads."""

HELP = "One method by name, with its own options: overlays and arrays into a folder."


class RunGroup(TyperGroup):
    """The registry as a group of commands; each is made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [method.name for method in tapetum.methods(kind="attribution")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a method; a `MethodError` names close ones."""
        method = tapetum.lookup(cmd_name.replace("-", "_"))
        if method.kind != "attribution":
            raise MethodError(f"{method.name} makes no map of what mattered; {' '.join(self.list_commands(ctx))} do")
        return get_command(_typer([method]))


def run_group() -> typer.Typer:
    """All of these commands at once, for documentation."""
    return _typer(tapetum.methods(kind="attribution"))


def _typer(methods: Sequence[Method]) -> typer.Typer:
    group = typer.Typer(help=HELP, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    for method in methods:
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
    model_help = "A name that `tapetum models` lists, or file.py:factory."
    options: dict[str, tuple[Any, Any]] = {
        "model": (Annotated[str, typer.Option(help=model_help)], "efficientnet_lite0"),
        "weights": (Annotated[str | None, typer.Option(help="A .safetensors or .pth file, or 'random'.")], None),
        "target": (Annotated[str | None, typer.Option(help=TARGET_HELP)], None),
        "out": (Annotated[Path, typer.Option(help="A new or empty folder, or an earlier report.")], Path("tapetum-run")),
    }
    images = Annotated[list[str], typer.Argument(help="Files, folders or URLs.", metavar="IMAGE...")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    first = inspect.Parameter("images", keyword, annotation=images)
    return [first, *(inspect.Parameter(name, keyword, default=d, annotation=kind) for name, (kind, d) in options.items())]


def _option(parameter: Parameter) -> inspect.Parameter:
    limits = "" if parameter.range is None else f" From {parameter.range.low} to {parameter.range.high}."
    choices = "" if not parameter.choices else f" One of {', '.join(parameter.choices)}{_or_number(parameter)}."
    kind = _cli_type(parameter)
    default = str(parameter.default) if kind is str else parameter.default
    annotation = Annotated[kind, typer.Option(help=f"{parameter.help}{limits}{choices}".strip())]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _kinds(parameter: Parameter) -> set[Any]:
    return set(typing.get_args(parameter.type)) or {parameter.type}


def _or_number(parameter: Parameter) -> str:
    return ", or a number" if _kinds(parameter) & {int, float} else ""


def _cli_type(parameter: Parameter) -> Any:
    """int, float, bool and text as such, also when None is allowed; unions of them are read as text."""
    kinds = _kinds(parameter)
    for kind in (bool, int, float):
        if kinds - {type(None)} == {kind}:
            return kind | None if type(None) in kinds else kind
    return str | None if parameter.default is None else str


def _converted(parameter: Parameter, value: Any) -> Any:
    """Text of a union such as `float | "blur"` becomes the number that it spells; a layer called "4" stays text."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        if _kinds(parameter) & {int, float}:
            try:
                return kind(value)
            except ValueError:
                continue
    return value
