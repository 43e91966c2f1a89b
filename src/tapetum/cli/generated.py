"""Commands whose options are read from signatures: `tapetum run METHOD`, renderings, surveys of data sets, training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import tapetum
from tapetum.cli.options import IMAGES_HELP, argument, command_for, out_option, plain_option
from tapetum.registry import keywords
from tapetum.types import Method, MethodError

REQUIRED = inspect.Parameter.empty

TARGET_HELP = (
    'Target: a class (index or name), "tabby rather than tiger cat", "probability of tabby", "output 0", "dog@x1,y1,x2,y2" (a '
    'box of a detector or a segmentation network, in px of the cut that it sees), "similarity to a photo of a cat", or a unit '
    '"layer:channel"; by default the answer of the model.'
)
"""The forms that `engines.scores.texts` reads."""

HELP = "Runs one method, with its own options: writes pictures with their provenance, and arrays, into a folder."

DATA_HELP = "Data set: a folder of pictures, .tar shards, imagenette, or hf:NAME."
RAY_HELP = "Ray cluster to scan on: auto, local, or an address."

Command = Callable[..., None]
IMAGES = argument("images", "IMAGE...", IMAGES_HELP)
DATA = argument("data", "DATA", DATA_HELP, str)
TARGET = plain_option("target", str | None, None, TARGET_HELP)
OUT = out_option(Path("tapetum-run"), "an earlier report")


# --- methods


def _attribution(method: Method) -> Command:
    """Makes the command of an attribution method: one map per image."""
    from tapetum.cli.running import run_files

    background = "Background of the map: the crop that the model saw, or the whole photograph."
    on = plain_option("on", Literal["crop", "photo"], "crop", background)
    return command_for(method.function, partial(run_files, method.name), IMAGES, TARGET, on, OUT)


def _inspection(method: Method) -> Command:
    """Makes the command of an inspection: one figure of all images, and its numbers in words."""
    from tapetum.cli.inspecting import inspect_files

    images = [] if method.takes == "model" else [IMAGES]
    target = [TARGET] if "target" in inspect.signature(method.function).parameters else []
    return command_for(method.function, partial(inspect_files, method.name), *images, *target, OUT)


def _rendering(method: Method) -> Command:
    """Makes the command of a rendering: saves each picture when it is done; run again, it makes only missing ones."""
    from tapetum.cli.rendering import render_subjects

    units = 'Units: "layer:5", "layer:5@row,column", "layer:0-15", "layer:*"; or classes, by index or name.'
    subject = ("UNIT...", units) if method.takes == "units" else ("IMAGE...", IMAGES_HELP)
    around = [
        argument("subjects", *subject),
        out_option(Path("tapetum-pictures"), "with earlier pictures"),
        plain_option("resume", bool, True, "Keep pictures that were made with the same settings, or make all of them again."),
        plain_option("animate", str | None, None, "Animation of the steps: gif, webp, html, or several with commas between."),
    ]
    if any(one.name == "frames" for one in keywords(method.function)):
        around.append(plain_option("frames", int, 0, "Number of intermediate pictures to keep; 25 with --animate."))
    return command_for(method.function, partial(render_subjects, method.name), *around, without=("frames",))


MAKERS = {"attribution": _attribution, "inspection": _inspection, "rendering": _rendering}
"""{kind: maker of the command} of the methods that make pictures."""


def _of_method(name: str) -> Command:
    method = tapetum.lookup(name)
    return MAKERS[method.kind](method)


# --- data sets


def _units(name: str) -> Command:
    """Makes the command `spectrum` or `examples`: pictures of a data set to which units respond."""
    from tapetum.cli.spectra import show_units

    folder = Path(f"tapetum-{name.split('_')[1]}")
    around = [
        argument("units", "UNIT...", 'Units: "layer:5", "layer:0-15", "layer:3,5,7", "layer:*".'),
        plain_option("data", str, REQUIRED, DATA_HELP),
        out_option(folder, "an earlier report"),
        plain_option("scan", Path | None, None, "Folder that keeps the scan, so that a stopped run goes on there."),
    ]
    return command_for(getattr(tapetum, name), partial(show_units, name), *around, without=("out",))


def _scan(name: str) -> Command:
    from tapetum.cli.scanning import scan_folder

    around = [
        DATA,
        out_option(REQUIRED, "of an earlier scan, which goes on"),
        plain_option("layers", str | None, None, "Names or globs with commas between; by default every block's output."),
        plain_option("trackers", str, "spectrum", "Trackers with commas between: spectrum, topk, counts, moments, ..."),
        plain_option("k", int, 9, "Pictures per ranking."),
        plain_option("score", Literal["max", "mean"], "max", "Score of a unit on a picture, over the places of its map."),
        plain_option("ray", str | None, None, RAY_HELP),
        plain_option("shards", str | None, None, "URL for finished shards, such as s3://bucket/name, instead of --out."),
        plain_option("log", str, "jsonl", "Loggers with commas between: jsonl, wandb, trackio, tensorboard, none."),
        plain_option("as_json", bool, False, "Print scan.json to standard output as well.", "--json"),
    ]
    return command_for(getattr(tapetum, name), scan_folder, *around, without=("out", "shard"))


def _rank(name: str) -> Command:
    from tapetum.cli.ranking import rank_folder

    around = [
        DATA,
        out_option(Path("tapetum-ranking"), "an earlier report"),
        plain_option("kept", Path | None, None, "Folder that keeps finished pictures, so that a stopped run goes on there."),
        plain_option("ray", str | None, None, RAY_HELP),
    ]
    return command_for(getattr(tapetum, name), rank_folder, *around, without=("out",))


def _questions(name: str) -> Command:
    from tapetum.cli.questions import ask_folder

    around = [
        DATA,
        out_option(Path("tapetum-questions"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(getattr(tapetum, name), ask_folder, *around)


def _cues(name: str) -> Command:
    from tapetum.cli.cues import answer_cues

    data = argument("data", "DATA", "Folder of pictures called SHAPEn-TEXTUREm.png.", str)
    around = [data, out_option(Path("tapetum-shape-texture"), "an earlier report")]
    return command_for(getattr(tapetum, name), answer_cues, *around, without=("categories",))


def _audit(name: str) -> Command:
    from tapetum.cli.auditing import audit_folder

    masks = "Folder of pictures of the same names, white on the object; by default the object is what stands out."
    around = [
        DATA,
        out_option(Path("tapetum-audit"), "an earlier report"),
        plain_option("masks", str | None, None, masks),
        plain_option("fail_if_shortcut", bool, False, "End with status 1 if a shortcut was found.", "--fail-if-shortcut"),
        plain_option("as_json", bool, False, "Print audit.json to standard output as well.", "--json"),
    ]
    return command_for(getattr(tapetum, name), audit_folder, *around, without=("masks",))


def _suppress(name: str) -> Command:
    from tapetum.cli.suppressing import suppress_cue

    cues = "Cue of the suspicion: background, watermark, border, color, texture, ...; by default that of the strongest."
    around = [
        DATA,
        plain_option("cue", str | None, None, cues),
        plain_option("label", str | None, None, "Class of the suspicion, several with commas between, or all; by default one."),
        out_option(Path("tapetum-repair"), "an earlier report"),
    ]
    return command_for(getattr(tapetum, name), suppress_cue, *around, without=("source",))


def _atlas(_: str) -> Command:
    from tapetum.atlas.build import build
    from tapetum.cli.atlas_build import build_atlas

    around = [
        DATA,
        out_option(Path("tapetum-atlas"), "of an earlier run, which goes on"),
        plain_option("ray", str | None, None, f"{RAY_HELP[:-1]}; all its machines must see --out."),
    ]
    return command_for(build, build_atlas, *around)


def _training(name: str) -> Command:
    from tapetum.cli.training import train_folder

    around = [
        argument("data", "DATA", "Folder of class folders, imagenette:160, digits, or planted:objects.", str),
        out_option(REQUIRED, "of an earlier run, which goes on"),
    ]
    arch = "Architecture: simple_cnn, simple_cnn_wide, or a name that `tapetum models` lists."
    around += [plain_option("arch", str, "simple_cnn", arch)] if name == "train" else []
    function = getattr(tapetum, name)
    return command_for(function, partial(train_folder, function), *around, without=("out",), model=name != "train")


# --- photographs


def _explain(_: str) -> Command:
    from tapetum.cli.explaining import explain_files

    around = [
        IMAGES,
        TARGET,
        out_option(Path("tapetum-report"), "an earlier report, which goes on"),
        plain_option("resume", bool, True, "Continue with what is in --out, or explain all images again."),
        plain_option("as_json", bool, False, "Print report.json to standard output as well.", "--json"),
    ]
    return command_for(tapetum.explain, explain_files, *around, without=("target", "parameters"))


def _evaluate(_: str) -> Command:
    from tapetum.cli.evaluating import evaluate_files

    settings = "Parameter: name=value for all that have it, or METHOD.name=value, such as road.noise=0; repeat for more."
    around = [
        argument("method", "METHOD", "Method whose maps are measured, or several with commas between.", str),
        IMAGES,
        plain_option("metrics", str, "deletion,insertion", "Metrics with commas between, or all."),
        plain_option("masks", Path | None, None, "Picture that is white on the object, or a folder with one per image."),
        plain_option("settings", list[str] | None, None, settings, "--set"),
        TARGET,
        out_option(Path("tapetum-evaluation"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output as well.", "--json"),
    ]
    return command_for(tapetum.evaluate, evaluate_files, *around)


def _sanity(_: str) -> Command:
    from tapetum.cli.sanity import check_files

    around = [
        IMAGES,
        plain_option("methods", str, "saliency,guided_backprop,grad_cam", "Methods with commas between."),
        TARGET,
        out_option(Path("tapetum-sanity"), "an earlier report"),
    ]
    return command_for(tapetum.sanity_check, check_files, *around, without=("target",))


def _attack(name: str) -> Command:
    from tapetum.cli.attacking import attack_files

    methods = Literal["pgd", "fgsm", "deep_fool", "noise_attack"]
    goal = "Class to lead to, by index or name; by default away from the answer, to any other class."
    around = [
        IMAGES,
        plain_option("method", methods, name, "Attack; the options below are those of pgd, of which others take some."),
        plain_option("target", str | None, None, goal),
        out_option(Path("tapetum-attack"), "an earlier report"),
    ]
    return command_for(getattr(tapetum, name), attack_files, *around)


def _compare(_: str) -> Command:
    from tapetum.cli.comparing import compare_folder

    what = "Network: a name, the folder of a training, file.py:factory, or with --model a file of weights."
    status = "Exit with status 1 if the agreement of maps is below this: auto (the bar of other seeds), or a number."
    seeds = "Network of the first one's recipe with another seed, for the bar; repeat for more, at least three."
    around = [
        argument("a", "A", what, str),
        argument("b", "B", what, str),
        DATA,
        out_option(Path("tapetum-comparison"), "an earlier report"),
        plain_option("null", list[str] | None, None, seeds),
        plain_option("fail_below", str | None, None, status, "--fail-if-agreement-below"),
        plain_option("junit", Path | None, None, "File for a JUnit report of the agreement, for a CI server."),
        plain_option("as_json_", bool, False, "Print report.json to standard output as well.", "--json"),
    ]
    model = plain_option("model", str | None, None, "Architecture of networks that are files of weights.")
    return command_for(tapetum.compare, compare_folder, *around, without=("null", "below"), model=model)


def _predict(_: str) -> Command:
    from tapetum.cli.explaining import predict_files

    return command_for(tapetum.predict, predict_files, IMAGES, plain_option("k", int, 5, "Classes per image.", least=1))


def _reproduce(_: str) -> Command:
    from tapetum.cli.reproducing import reproduce_file

    text = "Model in place of the one that the file names; file.py:factory has to be given."
    around = [
        argument("file", "FILE", "PNG file that tapetum saved.", str),
        plain_option("out", Path | None, None, "File for the new picture; by default it is only compared."),
        plain_option("image", list[str] | None, None, "Photograph, if it has moved; repeat for more."),
    ]
    model = plain_option("model", str | None, None, text)
    return command_for(tapetum.reproduce, reproduce_file, *around, without=("model", "images"), model=model)


# --- the commands


class Named(NamedTuple):
    """A command: the name of its function, its line in the list of commands, and the function that makes its options."""

    function: str
    help: str
    make: Callable[[str], Command] = _of_method


COMMANDS: Mapping[str, Named] = {
    "explain": Named(
        "explain", "Explains images: predictions, what was found, what mattered, and tests of every map.", _explain
    ),
    "predict": Named("predict", "Lists the most probable classes of each image.", _predict),
    "evaluate": Named("evaluate", "Measures how far the maps of methods can be trusted, by metrics.", _evaluate),
    "sanity-check": Named(
        "sanity_check", "Checks whether the maps of methods depend on the model's weights, the class, the picture.", _sanity
    ),
    "attack": Named("pgd", "Changes photographs a little so that the answer changes, and shows what breaks inside.", _attack),
    "reproduce": Named(
        "reproduce", "Makes a saved picture again. Exit status: 0 same pixels, 1 others, 2 refused.", _reproduce
    ),
    "render": Named("visualize", "Renders pictures of what units of the network would most like to see."),
    "invert": Named("invert", "Renders pictures with a photograph's activation at a layer: the part of it that was kept."),
    "dream": Named("deep_dream", "Changes photographs so that a layer finds more of what it finds."),
    "style": Named("style_transfer", "Renders a photograph in the style of another picture."),
    "caricature": Named("caricature", "Renders pictures that exaggerate what a layer found in a photograph."),
    "scan": Named("scan", "Records what every unit responds to in a data set; shared out under torchrun or SLURM.", _scan),
    "spectrum": Named("activation_spectrum", "Shows what units answer to in a data set, from least to most.", _units),
    "examples": Named("top_examples", "Shows the pictures of a data set on which units answer most, and where.", _units),
    "rank": Named("rank_methods", "Ranks methods on your pictures, and says what cannot be told apart.", _rank),
    "questions": Named(
        "five_questions", "Answers five questions about a network by measuring it on your pictures.", _questions
    ),
    "shape-texture": Named(
        "shape_or_texture", "Tells whether a network answers shapes or textures, where they disagree.", _cues
    ),
    "compare": Named(
        "compare", "Compares two networks: answers, maps, layers. Exit status 1: maps agree less than other seeds do.", _compare
    ),
    "audit": Named(
        "audit", "Finds out whether a classifier cheats: cues that its answers follow, shown by experiments; a report.", _audit
    ),
    "suppress": Named(
        "suppress", "Edits a copy of a model so that a cue moves its answers no longer: a small patch.", _suppress
    ),
    "train": Named("train", "Trains a network from nothing on pictures with classes; the folder is then a model.", _training),
    "fine-tune": Named("fine_tune", "Teaches a trained network your classes: a new last layer, or all of it.", _training),
}
"""Commands whose options are read from a function's signature, only when the command is called."""

ATLAS = {"build": Named("build", "Builds a site with what every unit of a model looks for in a data set.", _atlas)}


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
        return [method.name for kind in MAKERS for method in tapetum.methods(kind=kind)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command of a method; raises a `MethodError` for a method without pictures or an unknown name."""
        method = tapetum.lookup(cmd_name.replace("-", "_"))
        if method.kind not in MAKERS:
            raise MethodError(f"{method.name} makes no map and no picture; {' '.join(self.list_commands(ctx))} do")
        return click_command(method.name, help_of(method.function), MAKERS[method.kind](method))


def help_of(function: Callable[..., Any]) -> str:
    """Returns a function's docstring without its `Args:` and `Example:`."""
    text = inspect.cleandoc(function.__doc__ or "")
    return text.partition("\nArgs:")[0].partition("\nExample:")[0].strip()


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
