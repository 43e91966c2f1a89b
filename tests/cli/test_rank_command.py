"""`tapetum rank`: the library's numbers, two figures, a folder that keeps finished pictures, and names of what was skipped."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp


def test_a_ranking_is_written_with_its_words_and_goes_on(tapetum: CommandLine, place: Path) -> None:
    (place / "photos").mkdir()
    for i in range(5):
        photo(seed=i).save(place / "photos" / f"{i}.png")
    (place / "photos" / "bad.jpg").write_text("no picture")
    command = ("rank", "photos", "--model", "net.py:build", "--methods", "saliency,random_attribution", "--kept", "kept")
    answer = tapetum(*command, "--out", "out")
    assert answer.status == 1
    assert "6 pictures x 2 methods x 2 metrics: about" in answer.err
    assert "bad.jpg" in answer.err
    found = tp.open(place / "out" / "ranking")
    assert answer.out.startswith(str(found))
    about = json.loads((place / "out" / "report.json").read_text())
    assert about["said"] == {metric: found.said(metric) for metric in ("insertion", "deletion")}
    assert (place / "out" / "ranks.png").exists()
    assert (place / "out" / "record.png").exists()
    assert len(list((place / "kept" / "shards").iterdir())) == 2
    assert tapetum(*command, "--out", "out").status == 1  # the same folders again
