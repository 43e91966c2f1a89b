"""report.json holds what the contract says, its numbers are right, and its files exist."""

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, odd_pictures, png_text

import tapetum as tp
from tapetum.engines.scores import as_probability
from tapetum.families.verdicts import Trials, ask
from tapetum.reports.plan import AUTO, BASELINES

QUICK = ("explain", "--model", "net.py:build", "--methods", "grad_cam,saliency", "--out", "out")


@pytest.fixture
def report(tapetum, place):
    answer = tapetum("explain", "cat.png", "dog.png", "--model", "net.py:build", "--out", "out", "--json", "--seed", "7")
    assert answer.status == 0
    assert answer.err == ""
    assert answer.out == (place / "out" / "report.json").read_text("utf-8")
    return json.loads(answer.out)


def test_the_report_holds_what_the_contract_says(report: Any, place: Path) -> None:
    assert {"model", "images", "versions", "seed"} <= set(report)
    assert report["model"] == "net.py:build"
    assert report["seed"] == 7
    assert report["versions"]["torch"] == version("torch")
    for image, file in zip(report["images"], ("cat.png", "dog.png"), strict=True):
        assert image["file"] == file
        assert image["target"] == image["predictions"][0]["label"]
        assert image["findings"]
        predicted = [one for one in image["attributions"] if one["role"] == "predicted"]
        assert {one["method"] for one in predicted} == {*AUTO, *BASELINES}
        for one in image["attributions"]:
            assert {"method", "layer", "status", "seconds", "evidence", "file"} <= set(one)
            assert (place / "out" / one["file"]).is_file()
            assert one["seconds"] >= 0
            if one["status"] == "ok":
                assert {"deletion", "insertion"} <= set(one["evidence"])
        assert {one["layer"] for one in predicted if one["method"] == "grad_cam"} == {"features.2.2"}


def test_every_file_of_the_folder_is_named_in_the_report(report: Any, place: Path) -> None:
    named = {one["file"] for image in report["images"] for one in image["attributions"]}
    named |= {f"{image['result']}/{name}" for image in report["images"] for name in ("arrays.npz", "manifest.json")}
    there = {path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*") if path.is_file()}
    assert there == named | {"report.html", "report.json"}


def test_the_probabilities_are_those_of_a_direct_forward_pass(report: Any, place: Path) -> None:
    model = tp.load("net.py:build")
    for image in report["images"]:
        with torch.no_grad():
            direct = model.module(model.preprocess(tp.read_image(image["file"]))).softmax(1)[0]
        assert [one["index"] for one in image["predictions"]] == direct.argsort(descending=True).tolist()
        for one in image["predictions"]:
            assert one["probability"] == pytest.approx(float(direct[one["index"]]), abs=1e-6)
            assert one["label"] == model.labels[one["index"]]


def test_evidence_and_verdict_are_those_of_the_map_alone(report: Any, place: Path) -> None:
    model = tp.load("net.py:build")
    images = model.preprocess(tp.read_image("cat.png"))
    (one,) = [a for a in report["images"][0]["attributions"] if (a["method"], a["role"]) == ("occlusion", "predicted")]
    attribution = tp.occlusion(model, images)
    trials = Trials(model, images, [as_probability(model, images, attribution.explains)])
    first, curves = trials.evidence(attribution.ranking(trials.size)[0], 0)
    for name, curve in curves.items():
        assert one["evidence"][name] == pytest.approx(float(curve.value), abs=1e-5)
    assert one["evidence"].get("faithfulness") == (None if math.isnan(first) else pytest.approx(first, abs=1e-4))
    judged = ask(trials, [attribution], [0], 0.05)[0]
    assert one["verdict"]["outcome"] in (judged.outcome, "random")  # the report corrects for all methods
    hidden = report["images"][0]["hidden"][0]
    assert hidden["hidden"] == pytest.approx(judged.hidden, abs=1e-5)


def test_every_picture_carries_its_provenance(report: Any, place: Path) -> None:
    for one in report["images"][0]["attributions"]:
        provenance = json.loads(png_text(place / "out" / one["file"])["tapetum"])
        assert provenance["method"] == one["method"]
        assert provenance["target"] == [one["target"]]
        assert provenance["model"] == "net.py:build"
        assert provenance["weights_sha256"]
        assert provenance["versions"]["tapetum"]
        if "seed" in one["parameters"]:
            assert provenance["seed"] == 7


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key != "seconds"}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def test_two_runs_of_one_seed_give_one_report(tapetum: CommandLine, place: Path) -> None:
    words = ["explain", "cat.png", "--model", "net.py:build", "--methods", "smooth_grad", "--json", "--out"]
    first, second, other = (
        without_times(json.loads(tapetum(*words, f"out{i}", "--seed", seed).out)) for i, seed in enumerate((3, 3, 4))
    )
    assert first == second
    assert first["images"] != other["images"]


def test_the_switches_switch(tapetum: CommandLine, place: Path) -> None:
    assert tapetum(*QUICK, "cat.png", "--no-evidence", "--no-runner-up").status == 0
    (image,) = json.loads((place / "out" / "report.json").read_text())["images"]
    assert {one["method"] for one in image["attributions"]} == {"grad_cam", "saliency", *BASELINES}
    assert all(one["evidence"] == {} for one in image["attributions"])
    assert {one["role"] for one in image["attributions"]} == {"predicted"}
    assert not any("stands up" in finding or "baseline" in finding for finding in image["findings"])


@pytest.mark.parametrize(("target", "label"), [("2", "dog"), ("tabby", "tabby"), ("Tiger_Cat", "tiger cat")])
def test_a_target_is_an_index_or_a_name(tapetum: CommandLine, place: Path, target: str, label: str) -> None:
    assert tapetum(*QUICK, "cat.png", "--no-evidence", "--target", target).status == 0
    (image,) = json.loads((place / "out" / "report.json").read_text())["images"]
    assert image["target"] == label
    assert {one["role"] for one in image["attributions"]} == {"asked"}


def test_pictures_that_are_odd_but_fine_all_give_a_report(tapetum: CommandLine, place: Path) -> None:
    (place / "odd").mkdir()
    names = odd_pictures(place / "odd")
    answer = tapetum(*QUICK, *(place / "odd" / name for name in names), "--no-evidence", "--no-runner-up")
    assert (answer.status, answer.err) == (0, "")
    report = json.loads((place / "out" / "report.json").read_text("utf-8"))
    assert [image["file"].rpartition("odd/")[2] for image in report["images"]] == names
    assert all((place / "out" / one["file"]).is_file() for image in report["images"] for one in image["attributions"])
    page = (place / "out" / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page


def test_a_name_that_is_no_text_is_kept_in_the_report(tapetum: CommandLine, place: Path) -> None:
    name = "caf\udce9.png"  # the byte E9, as Latin-1 wrote it
    try:
        (place / name).write_bytes((place / "cat.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes only text")
    assert tapetum(*QUICK, name, "--no-evidence", "--json").status == 0
    assert json.loads((place / "out" / "report.json").read_text("utf-8"))["images"][0]["file"] == name


def test_what_people_read_ends_with_the_place_of_the_report(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*QUICK, "cat.png")
    assert answer.err == ""
    assert answer.out.startswith("cat.png\n  ")
    assert "\n  The model answers '" in answer.out
    assert answer.out.endswith("\nreport: out/report.html\n")


def test_predict_prints_the_most_probable_classes(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("predict", "cat.png", "white.png", "--model", "net.py:build", "--k", "2")
    model = tp.load("net.py:build")
    for line, file in zip(answer.out.splitlines(), ("cat.png", "white.png"), strict=True):
        best = tp.predict(model, model.preprocess(tp.read_image(file)), k=2)[0]
        assert line == f"{file}: " + "  ".join(f"{p.label} {p.probability:.3f}" for p in best)


@pytest.mark.weights
def test_the_built_in_network_knows_the_cat(tapetum: CommandLine, place: Path) -> None:
    from tapetum.data.sources import packaged_photo

    answer = tapetum("predict", packaged_photo("cat"), "--k", "1")
    assert "cat" in answer.out.rpartition(": ")[2]
