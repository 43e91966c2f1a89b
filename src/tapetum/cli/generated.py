"""Commands whose options are read from signatures: `tapetum run METHOD`, renderings, surveys of data sets, training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import tapetum
from tapetum.cli.makers import data_sets, methods, photographs
from tapetum.cli.makers.shared import Command
from tapetum.registry import help_of
from tapetum.types import MethodError

HELP = "Runs one method, with its own options: writes pictures with their provenance, and arrays, into a folder."


class Named(NamedTuple):
    """A command: the name of its function, its line in the list of commands, and the function that makes its options."""

    function: str
    help: str
    make: Callable[[str], Command] = methods.of_method


COMMANDS: Mapping[str, Named] = {
    "explain": Named(
        "explain", "Explains images: predictions, what was found, what mattered, and tests of every map.", photographs.explain
    ),
    "predict": Named("predict", "Lists the most probable classes of each image.", photographs.predict),
    "evaluate": Named("evaluate", "Measures how far the maps of methods can be trusted, by metrics.", photographs.evaluate),
    "sanity-check": Named(
        "sanity_check",
        "Checks whether the maps of methods depend on the model's weights, the class, the picture.",
        photographs.sanity,
    ),
    "attack": Named(
        "pgd", "Changes photographs a little so that the answer changes, and shows what breaks inside.", photographs.attack
    ),
    "circuit": Named(
        "circuit",
        "Finds how a class or a unit is made from other units, each edge tested; a page to click.",
        photographs.circuit,
    ),
    "reproduce": Named(
        "reproduce", "Makes a saved picture again. Exit status: 0 same pixels, 1 others, 2 refused.", photographs.reproduce
    ),
    "render": Named("visualize", "Renders pictures of what units of the network would most like to see."),
    "invert": Named("invert", "Renders pictures with a photograph's activation at a layer: the part of it that was kept."),
    "dream": Named("deep_dream", "Changes photographs so that a layer finds more of what it finds."),
    "style": Named("style_transfer", "Renders a photograph in the style of another picture."),
    "caricature": Named("caricature", "Renders pictures that exaggerate what a layer found in a photograph."),
    "scan": Named(
        "scan", "Records what every unit responds to in a data set; shared out under torchrun or SLURM.", data_sets.scan
    ),
    "spectrum": Named("activation_spectrum", "Shows what units answer to in a data set, from least to most.", data_sets.units),
    "examples": Named(
        "top_examples", "Shows the pictures of a data set on which units answer most, and where.", data_sets.units
    ),
    "concepts": Named(
        "concepts", "Finds the concepts of a layer in a data set, beside what chance would have found.", data_sets.concepts
    ),
    "rank": Named("rank_methods", "Ranks methods on your pictures, and says what cannot be told apart.", data_sets.rank),
    "questions": Named(
        "five_questions", "Answers five questions about a network by measuring it on your pictures.", data_sets.questions
    ),
    "shape-texture": Named(
        "shape_or_texture", "Tells whether a network answers shapes or textures, where they disagree.", data_sets.cues
    ),
    "tcav": Named(
        "tcav",
        "Tells whether an answer depends on concepts that folders of pictures show, beside chance.",
        data_sets.concept_tests,
    ),
    "craft": Named(
        "craft", "Finds what the pictures of a class are made of, and how much each part matters to it.", data_sets.craft
    ),
    "prototypes": Named(
        "prototypes",
        "Tells which decisions are unusual for their class, and learns from pictures what is usual.",
        data_sets.prototypes,
    ),
    "subnetwork": Named(
        "mask_faithfulness",
        "Keeps the units that carry an answer, and measures what they keep of it alone, beside random ones.",
        photographs.subnetwork,
    ),
    "name": Named(
        "name_units", "Names the units of a layer by what their pictures have in common, with AUC and p.", data_sets.naming
    ),
    "compare": Named(
        "compare",
        "Compares two networks: answers, maps, layers. Exit status 1: maps agree less than other seeds do.",
        data_sets.compare,
    ),
    "audit": Named(
        "audit",
        "Finds out whether a classifier cheats: cues that its answers follow, shown by experiments; a report.",
        data_sets.audit,
    ),
    "suppress": Named(
        "suppress", "Edits a copy of a model so that a cue moves its answers no longer: a small patch.", data_sets.suppress
    ),
    "train": Named(
        "train", "Trains a network from nothing on pictures with classes; the folder is then a model.", data_sets.training
    ),
    "fine-tune": Named(
        "fine_tune", "Teaches a trained network your classes: a new last layer, or all of it.", data_sets.training
    ),
}
"""Commands whose options are read from a function's signature, only when the command is called."""

ATLAS = {"build": Named("build", "Builds a site with what every unit of a model looks for in a data set.", data_sets.atlas)}


class LazyGroup(TyperGroup):
    """Group of hand-written commands and of those in `table`, whose options are read from signatures only when needed."""

    table: ClassVar[Mapping[str, Named]] = COMMANDS

    def list_commands(self, ctx: Any) -> list[str]:
        return [*self.table, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command with only its line of help, enough for the list of commands; imports no method."""
        if cmd_name in self.table:
            return TyperCommand(cmd_name, help=self.table[cmd_name].help, rich_markup_mode="markdown")
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in self.table:
            return args[0], self.complete(args[0]), args[1:]
        return super().resolve_command(ctx, args)

    def complete(self, name: str) -> Any:
        """Returns the command of that name with all its options and full help."""
        if name not in self.table:
            return self.commands[name]
        command = self.table[name].make(self.table[name].function)
        paragraphs = [self.table[name].help, *help_of(vars(command)["function"]).split("\n\n")[1:]]
        return click_command(name, "\n\n".join(paragraphs), command)


class AtlasGroup(LazyGroup):
    table = ATLAS


class RunGroup(TyperGroup):
    """Group with one command per method of the registry, made when it is looked up."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [method.name for kind in methods.MAKERS for method in tapetum.methods(kind=kind)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command of a method; raises a `MethodError` for a method without pictures or an unknown name."""
        method = tapetum.lookup(cmd_name.replace("-", "_"))
        if method.kind not in methods.MAKERS:
            raise MethodError(f"{method.name} makes no map and no picture; {' '.join(self.list_commands(ctx))} do")
        return click_command(method.name, help_of(method.function), methods.MAKERS[method.kind](method))


def click_command(name: str, help_: str, command: Command) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.command(name, help=help_)(command)
    return get_command(app)


def every_command(group: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (words, command) for every command of a group and its subgroups; words such as "explain" or "atlas build"."""
    for name in group.list_commands(None):
        command = group.complete(name) if isinstance(group, LazyGroup) else group.get_command(None, name)
        if isinstance(command, TyperGroup):
            yield from every_command(command, f"{words}{name} ")
        else:
            yield f"{words}{name}", command
