"""Makers of the commands that work on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tapetum
from tapetum.cli.makers.shared import IMAGES, TARGET, Command
from tapetum.cli.options import argument, command_for, out_option, plain_option


def explain(_: str) -> Command:
    from tapetum.cli.explaining import explain_files

    around = [
        IMAGES,
        TARGET,
        out_option(Path("tapetum-report"), "an earlier report, which goes on"),
        plain_option("resume", bool, True, "Continue with what is in --out, or explain all images again."),
        plain_option("as_json", bool, False, "Print report.json to standard output as well.", "--json"),
    ]
    return command_for(tapetum.explain, explain_files, *around, without=("target", "parameters"))


def evaluate(_: str) -> Command:
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


def sanity(_: str) -> Command:
    from tapetum.cli.sanity import check_files

    around = [
        IMAGES,
        plain_option("methods", str, "saliency,guided_backprop,grad_cam", "Methods with commas between."),
        TARGET,
        out_option(Path("tapetum-sanity"), "an earlier report"),
    ]
    return command_for(tapetum.sanity_check, check_files, *around, without=("target",))


def attack(name: str) -> Command:
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


def circuit(_: str) -> Command:
    from tapetum.cli.circuits import circuit_files

    others = "Pictures for mean and resample, such as those of other classes: a file or folder; repeat for more."
    around = [
        IMAGES,
        TARGET,
        plain_option("reference", list[str] | None, None, others),
        out_option(Path("tapetum-circuit"), "an earlier circuit"),
    ]
    return command_for(tapetum.circuit, circuit_files, *around, without=("target", "reference"))


def subnetwork(_: str) -> Command:
    from tapetum.cli.subnetworks import keep_units

    on = "Pictures on which it is measured; by default every second IMAGE, and the others choose the units; repeat for more."
    others = "Pictures for --fill mean, such as those of other classes: a file or folder; repeat for more."
    way = Literal["gradient", "relevance"]
    around = [
        IMAGES,
        TARGET,
        plain_option("layers", str | None, None, "Layers, by names or globs with commas between; by default the last map."),
        plain_option("share", float, 0.5, "Share of the units of each layer that is kept, above 0 and at most 1."),
        plain_option("way", way, "gradient", "Score by which units are kept: activation x gradient, or relevance."),
        plain_option("on", list[str] | None, None, on),
        plain_option("reference", list[str] | None, None, others),
        out_option(Path("tapetum-subnetwork"), "an earlier report"),
        plain_option("as_json", bool, False, "Print report.json to standard output in place of words.", "--json"),
    ]
    return command_for(tapetum.mask_faithfulness, keep_units, *around, without=("target", "reference"))


def predict(_: str) -> Command:
    from tapetum.cli.explaining import predict_files

    return command_for(tapetum.predict, predict_files, IMAGES, plain_option("k", int, 5, "Classes per image.", least=1))


def reproduce(_: str) -> Command:
    from tapetum.cli.reproducing import reproduce_file

    text = "Model in place of the one that the file names; file.py:factory has to be given."
    around = [
        argument("file", "FILE", "PNG file that tapetum saved.", str),
        plain_option("out", Path | None, None, "File for the new picture; by default it is only compared."),
        plain_option("image", list[str] | None, None, "Photograph, if it has moved; repeat for more."),
    ]
    model = plain_option("model", str | None, None, text)
    return command_for(tapetum.reproduce, reproduce_file, *around, without=("model", "images"), model=model)
