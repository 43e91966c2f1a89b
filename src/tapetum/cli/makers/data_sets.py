"""Makers of the commands that work on a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import tapetum
from tapetum.cli.makers.shared import DATA, DATA_HELP, RAY_HELP, REQUIRED, TARGET, Command
from tapetum.cli.options import argument, command_for, out_option, plain_option


def units(name: str) -> Command:
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


def scan(name: str) -> Command:
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


def concepts(name: str) -> Command:
    from tapetum.cli.concepts import find_concepts

    around = [
        DATA,
        plain_option("layer", str, REQUIRED, "Layer, as `tapetum layers` names it."),
        out_option(Path("tapetum-concepts"), "an earlier report"),
        plain_option("kept", Path | None, None, "Folder that keeps the passes, so that a stopped run goes on there."),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(getattr(tapetum, name), find_concepts, *around, without=("out",))


def rank(name: str) -> Command:
    from tapetum.cli.ranking import rank_folder

    around = [
        DATA,
        out_option(Path("tapetum-ranking"), "an earlier report"),
        plain_option("kept", Path | None, None, "Folder that keeps finished pictures, so that a stopped run goes on there."),
        plain_option("ray", str | None, None, RAY_HELP),
    ]
    return command_for(getattr(tapetum, name), rank_folder, *around, without=("out",))


def questions(name: str) -> Command:
    from tapetum.cli.questions import ask_folder

    around = [
        DATA,
        out_option(Path("tapetum-questions"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(getattr(tapetum, name), ask_folder, *around)


def cues(name: str) -> Command:
    from tapetum.cli.cues import answer_cues

    data = argument("data", "DATA", "Folder of pictures called SHAPEn-TEXTUREm.png.", str)
    around = [data, out_option(Path("tapetum-shape-texture"), "an earlier report")]
    return command_for(getattr(tapetum, name), answer_cues, *around, without=("categories",))


def concept_tests(_: str) -> Command:
    from tapetum.cli.testing_concepts import ask_about_concepts

    around = [
        argument("concepts", "CONCEPT...", "Folders of pictures that show a concept, one folder each."),
        plain_option("random", str, REQUIRED, "Folder of pictures like those of the concepts, but without them."),
        plain_option(
            "images", str | None, None, "Folder of pictures on which the effect is measured; by default that of --random."
        ),
        TARGET,
        plain_option("layer", str | None, None, "Layer, by name; by default the last that combines several places."),
        out_option(Path("tapetum-tcav"), "an earlier report"),
    ]
    return command_for(tapetum.tcav, ask_about_concepts, *around, without=("images",))


def craft(_: str) -> Command:
    from tapetum.cli.crafting import take_apart

    of = 'Class, by its label or index, or several as "tabby or tiger cat"; any other target with --keep all.'
    around = [
        argument("data", "DATA", "Pictures, of which those of the class are used: a folder, .tar shards, or hf:NAME.", str),
        plain_option("target", str, REQUIRED, of),
        plain_option("layer", str | None, None, "Layer, by name; by default the first without negative values at the end."),
        out_option(Path("tapetum-craft"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(tapetum.craft, take_apart, *around)


def prototypes(_: str) -> Command:
    from tapetum.cli.decisions import judge_files

    data = "Ordinary pictures to learn from: a folder, .tar shards, hf:NAME, or the prototypes of an earlier report."
    around = [
        argument("data", "DATA", data, str),
        argument(
            "images", "[IMAGE...]", "Pictures whose decisions are judged: files, folders or URLs.", list[str] | None, None
        ),
        plain_option("layer", str | None, None, "Layer, by name; by default the last that combines several places."),
        out_option(Path("tapetum-prototypes"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(tapetum.prototypes, judge_files, *around)


def naming(name: str) -> Command:
    from tapetum.cli.naming import name_layer

    around = [
        DATA,
        plain_option("layer", str | None, None, "Layer whose units are named, such as blocks.5."),
        plain_option("concepts", Path | None, None, "Folder of `tapetum concepts`: its concepts get names, not units."),
        out_option(Path("tapetum-names"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(getattr(tapetum, name), name_layer, *around, without=("out", "groups", "masks"))


def compare(_: str) -> Command:
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


def audit(name: str) -> Command:
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


def suppress(name: str) -> Command:
    from tapetum.cli.suppressing import suppress_cue

    cues = "Cue of the suspicion: background, watermark, border, color, texture, ...; by default that of the strongest."
    around = [
        DATA,
        plain_option("cue", str | None, None, cues),
        plain_option("label", str | None, None, "Class of the suspicion, several with commas between, or all; by default one."),
        out_option(Path("tapetum-repair"), "an earlier report"),
    ]
    return command_for(getattr(tapetum, name), suppress_cue, *around, without=("source",))


def atlas(_: str) -> Command:
    from tapetum.atlas.build import build
    from tapetum.cli.atlas_build import build_atlas

    around = [
        DATA,
        out_option(Path("tapetum-atlas"), "of an earlier run, which goes on"),
        plain_option("ray", str | None, None, f"{RAY_HELP[:-1]}; all its machines must see --out."),
    ]
    return command_for(build, build_atlas, *around)


def training(name: str) -> Command:
    from tapetum.cli.training import train_folder

    around = [
        argument("data", "DATA", "Folder of class folders, imagenette:160, digits, or planted:objects.", str),
        out_option(REQUIRED, "of an earlier run, which goes on"),
    ]
    arch = "Architecture: simple_cnn, simple_cnn_wide, or a name that `tapetum models` lists."
    around += [plain_option("arch", str, "simple_cnn", arch)] if name == "train" else []
    function = getattr(tapetum, name)
    return command_for(function, partial(train_folder, function), *around, without=("out",), model=name != "train")
