"""`tapetum prototypes`: usual decisions are learned, kept and used again; pictures are judged in words, a figure and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp

COMMAND = ("--model", "net.py:build", "--layer", "features.1.2")


def test_pictures_are_judged_by_what_was_learned_and_by_what_was_kept(tapetum: CommandLine, place: Path) -> None:
    for i in range(16):
        (place / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        photo(seed=i).save(place / "photos" / "ab"[i % 2] / f"{i}.png")
    answer = tapetum("prototypes", "photos", "cat.png", "text.jpg", *COMMAND, "--out", "out")
    assert answer.status == 1  # text.jpg is no picture
    assert re.search(r"usual decisions from 16 pictures, by gradient; then 1 are judged; about \d+ s", answer.err)
    usual, judged = tp.open(place / "out" / "prototypes"), tp.open(place / "out" / "decisions")
    assert answer.out.startswith(f"{usual}\n{judged}\n")
    report = json.loads((place / "out" / "report.json").read_text())
    assert (report["false_alarms"], report["tested"]) == (None, 0)  # too few pictures to try it
    assert [one["label"] for one in report["classes"]] == [one.label for one in usual]
    (one,) = report["decisions"]
    assert (one["file"], one["p"], one["unusual"]) == ("cat.png", float(judged.p[0]), judged.unusual[0])
    assert [one["file"] for one in report["refused"]] == ["text.jpg"]
    assert {"prototypes.png", "decisions.png"} <= {one.name for one in (place / "out").iterdir()}
    later = tapetum("prototypes", "out/prototypes", "cat.png", *COMMAND, "--out", "later", "--json")
    assert (later.status, json.loads(later.out)["decisions"]) == (0, report["decisions"])
    assert "as they were learned at features.1.2" in later.err
    alone = tapetum("prototypes", "photos", *COMMAND, "--out", "alone")
    assert (alone.status, (place / "alone" / "decisions").exists()) == (0, False)


def test_what_cannot_be_learned_from_is_refused_in_one_line(tapetum: CommandLine, place: Path) -> None:
    (place / "few").mkdir()
    photo().save(place / "few" / "a.png")
    tp.save(tp.mask_overlap({"a": [True]}, {"a": [True]}), place / "kept")
    for data, said in (("few", "no class has 12 decisions"), ("kept", "holds a MaskOverlap, no prototypes")):
        answer = tapetum("prototypes", data, "cat.png", *COMMAND, "--out", "out")
        assert (answer.status, (place / "out").exists()) == (2, False)
        assert said in answer.err.splitlines()[-1]
