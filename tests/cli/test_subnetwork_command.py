"""`tapetum subnetwork`: units chosen on some pictures and measured on others, as the library does; masks that go on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from command_line import CommandLine, photo

import tapetum as tp

COMMAND = ("--target", "dog", "--model", "net.py:build", "--layers", "features.1.2", "--share", "0.25", "--parts", "3")


def test_units_are_chosen_on_half_of_the_pictures_and_measured_on_the_others(tapetum: CommandLine, place: Path) -> None:
    (place / "photos").mkdir()
    for i in range(4):
        photo(seed=i).save(place / "photos" / f"{i}.png")
    answer = tapetum("subnetwork", "photos", *COMMAND, "--out", "out")
    assert answer.status == 0, answer.err
    assert re.search(
        r"the 25% of the units .* on 2 images, then what they keep of it on 2, beside 3 .*; about \d+ s", answer.err
    )
    files = [f"photos/{i}.png" for i in range(4)]
    masks = tp.unit_mask(tp.unit_scores("net.py:build", files[::2], "dog", "features.1.2"), 0.25)
    expected = tp.mask_faithfulness("net.py:build", masks, files[1::2], "dog", parts=3)
    found = tp.open(place / "out" / "subnetwork")
    assert str(found) == str(expected)
    assert f"features.1.2: {expected}\nunits chosen on 2 images, measured on the 2 others" in answer.out
    report = json.loads((place / "out" / "report.json").read_text())
    assert report["masks"] == {"features.1.2": masks["features.1.2"].nonzero()[:, 0].tolist()}
    assert (report["chosen_on"], report["measured_on"]) == (files[::2], files[1::2])
    kept = tp.open(place / "out" / "masks")
    assert torch.equal(kept["features.1.2"], masks["features.1.2"])
    assert tp.subnetwork("net.py:build", kept).name.startswith("tiny-part-")
    assert (place / "out" / "subnetwork.png").exists()


def test_other_pictures_measure_and_what_is_refused_is_named(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(
        "subnetwork", "cat.png", "text.jpg", "--on", "dog.png", *COMMAND, "--way", "relevance", "--out", "out", "--json"
    )
    assert answer.status == 1
    report = json.loads(answer.out)
    assert (report["chosen_on"], report["measured_on"]) == (["cat.png"], ["dog.png"])
    assert report["refused"][0]["file"] == "text.jpg"
    alone = tapetum("subnetwork", "cat.png", *COMMAND, "--out", "alone")
    assert "chosen and measured on the same image" in alone.out
    for words, said in ((["--share", "0"], "share is in (0, 1], not 0"), (["--layers", "nothing"], "nothing")):
        wrong = tapetum("subnetwork", "cat.png", *COMMAND, *words, "--out", "other")
        assert (wrong.status, (place / "other").exists()) == (2, False)
        assert said in wrong.err
