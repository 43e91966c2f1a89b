"""Commands made from the registry: `tapetum run METHOD` for every attribution and rendering, and the renderings' own names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import tapetum
from tapetum.cli.options import HIDDEN, argument, converted, help_of, model_choice, model_options, option, plain_option, signed
from tapetum.registry import Parameter, parameters
from tapetum.types import Method, MethodError

TARGET_HELP = (
    'A class (index or name), "tabby rather than tiger cat", "probability of tabby", "output 0", "dog@x1,y1,x2,y2" (a box of a '
    'detector or a segmentation network, in px of the cut that it sees), "similarity to a photo of a cat", a unit '
    '"layer:channel"; without it, what the model answers.'
)
"""The forms that `engines.scores.texts` reads."""

HELP = "One method by name, with its own options: pictures with their provenance, and arrays, into a folder."

COMMANDS: Mapping[str, tuple[str, str]] = {
    "render": ("visualize", "Looks for: pictures of what units of the network would most like to see."),
    "invert": ("invert", "Pictures with the same activation at a layer: what it kept of a photograph."),
    "dream": ("deep_dream", "Photographs changed so that a layer finds more of what it finds."),
    "style": ("style_transfer", "A photograph in the style of another picture."),
    "caricature": ("caricature", "Pictures that have what a layer found in a photograph, only more of it."),
}
"""{command: (method, help in the list of commands)}: renderings under the names that people know."""

MADE = ("attribution", "inspection", "rendering")
"""The kinds of methods that make pictures."""

UNITS_HELP = 'Units: "layer:5", "layer:5@row,column", "layer:0-15", "layer:*"; or classes, by index or name.'


class CommandGroup(TyperGroup):
    """The app's own commands, and those of COMMANDS, whose options are read from the registry when one is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For the list of commands a line of help, without importing any method."""
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1], rich_markup_mode="markdown")
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            return args[0], rendering_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def rendering_command(name: str) -> Any:
    """A command of COMMANDS with its options."""
    return get_command(_typer({name: tapetum.lookup(COMMANDS[name][0])}))


class RunGroup(TyperGroup):
    """The registry as a group of commands; each is made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [method.name for kind in MADE for method in tapetum.methods(kind=kind)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a method; a `MethodError` names close ones."""
        method = tapetum.lookup(cmd_name.replace("-", "_"))
        if method.kind not in MADE:
            raise MethodError(f"{method.name} makes no map and no picture; {' '.join(self.list_commands(ctx))} do")
        return get_command(_typer({method.name: method}))


def run_group(kind: str) -> typer.Typer:
    """All commands of `run` for one kind at once, for documentation."""
    return _typer({method.name: method for method in tapetum.methods(kind=kind)})


def _typer(methods: Mapping[str, Method]) -> typer.Typer:
    group = typer.Typer(help=HELP, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    for name, method in methods.items():
        make = MAKERS[method.kind]
        group.command(name, help=help_of(method))(make(method))
    return group


def _own(method: Method, *hidden: str) -> list[Parameter]:
    return [parameter for parameter in parameters(method) if parameter.name not in (*HIDDEN, *hidden)]


def _attribution(method: Method) -> Callable[..., None]:
    own = _own(method)

    def command(**given: Any) -> None:
        from tapetum.cli.running import run_files

        keywords = {p.name: converted(p, given.pop(p.name)) for p in own}
        raise SystemExit(run_files(method.name, model=model_choice(given), keywords=keywords, **given))

    images = argument("images", "IMAGE...", "Files, folders or URLs.")
    target = plain_option("target", str | None, None, TARGET_HELP)
    on = plain_option("on", str, "crop", "Where the map is shown: crop, what the model saw, or photo, the whole photograph.")
    out = _out("tapetum-run", "an earlier report")
    return signed(command, [images, *_model(own), target, on, out, *map(option, own)])


def _rendering(method: Method) -> Callable[..., None]:
    """Pictures, one after the other into the folder, and again only those that are missing."""
    own = _own(method, "frames")
    keeps_frames = any(p.name == "frames" for p in parameters(method))

    def command(**given: Any) -> None:
        from tapetum.cli.rendering import render_subjects

        keywords = {p.name: converted(p, given.pop(p.name)) for p in own}
        raise SystemExit(render_subjects(method.name, model=model_choice(given), keywords=keywords, **given))

    units = method.takes == "units"
    subjects = argument("subjects", "UNIT..." if units else "IMAGE...", UNITS_HELP if units else "Files, folders or URLs.")
    again = "Leave pictures that are there already with the same settings as they are; else make all of them again."
    common = [
        _out("tapetum-pictures", "one with earlier pictures"),
        plain_option("resume", bool, True, again),
        plain_option("animate", str | None, None, "Also the way there, as gif, webp, html, or several with commas between."),
    ]
    if keeps_frames:
        common.append(plain_option("frames", int, 0, "Keep that many pictures on the way; 25 with --animate."))
    return signed(command, [subjects, *_model(own), *map(option, own), *common])


def _inspection(method: Method) -> Callable[..., None]:
    """One figure of all images together, and what it says in words."""
    own = _own(method)
    asks = has_target(method)

    def command(**given: Any) -> None:
        from tapetum.cli.inspecting import inspect_files

        keywords = {p.name: converted(p, given.pop(p.name)) for p in own}
        raise SystemExit(inspect_files(method.name, model=model_choice(given), keywords=keywords, **given))

    images = [] if method.takes == "model" else [argument("images", "IMAGE...", "Files, folders or URLs.")]
    target = [plain_option("target", str | None, None, TARGET_HELP)] if asks else []
    return signed(command, [*images, *_model(own), *target, _out("tapetum-run", "an earlier report"), *map(option, own)])


def has_target(method: Method) -> bool:
    """Whether an inspection is about an answer of the network."""
    return "target" in inspect.signature(method.function).parameters


MAKERS = {"attribution": _attribution, "inspection": _inspection, "rendering": _rendering}


def _out(default: str, earlier: str) -> inspect.Parameter:
    return plain_option("out", Path, Path(default), f"A new or empty folder, or {earlier}.")


def _model(own: Sequence[Parameter]) -> list[inspect.Parameter]:
    return model_options(taken=[parameter.name for parameter in own])
