"""`tapetum concepts`: the library's words, a figure, the arrays, JSON, and a folder that keeps the passes."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp


def test_concepts_are_written_with_their_words_and_go_on(tapetum: CommandLine, place: Path) -> None:
    (place / "photos").mkdir()
    for i in range(11):
        photo(seed=i).save(place / "photos" / f"{i:02d}.png")
    (place / "photos" / "bad.jpg").write_text("no picture")
    command = ("concepts", "photos", "--model", "net.py:build", "--layer", "features.1.2", "--n", "2", "--k", "2")
    answer = tapetum(*command, "--kept", "kept", "--out", "out")
    assert answer.status == 0
    assert "1 pictures were left out" in answer.err
    found = tp.open(place / "out" / "concepts")
    assert answer.out.startswith(str(found))
    report = json.loads((place / "out" / "report.json").read_text())
    assert (report["verdict"], report["pictures"], len(report["concepts"])) == (found.verdict, 11, 2)
    assert (place / "out" / "concepts.png").exists()
    assert len(list((place / "kept" / "places" / "shards").iterdir())) == 1
    assert json.loads(tapetum(*command, "--kept", "kept", "--out", "out", "--json").out)["numbers"] == report["numbers"]
    wrong = tapetum("concepts", "photos", "--model", "net.py:build", "--layer", "features.9", "--out", "other")
    assert (wrong.status, (place / "other").exists()) == (2, False)
