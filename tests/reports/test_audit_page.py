"""The page of an audit: the verdict first, every suspicion with its pictures, what to do, and the errors of the method."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cheats import accused
from test_page import Reader

from tapetum.reports.audits import content_of, write_audit
from tapetum.reports.audits.words import ADVICE, GIVEN, MOVED, NAMES, headline, listing, pts, reliance, same_cue
from tapetum.types import Audit, MistakeConcept, Property, Receipt, RelevanceCluster
from tapetum.types.audits import CUE_WORDS

MADE = {
    "method": "audit",
    "model": "net.py:build",
    "parameters": {"data": "my pictures", "masks": None, "twins": 0, "level": 0.05, "n": 500, "seed": 3},
    "versions": {"torch": "2"},
    "started": "now",
}
EVIL = '<script>alert("1")</script>'


def page(folder: Path, found: Audit) -> str:
    return write_audit(folder / "report.html", found, MADE, {"Model": "tiny"}).read_text("utf-8")


def said(folder: Path, found: Audit) -> str:
    return re.sub(r"\s+", " ", Reader(page(folder, found)).words)


def test_the_verdict_comes_first_and_the_strongest_suspicion_next(tmp_path):
    words = said(tmp_path, accused())
    order = ("The answers follow the frame", "100 % of other classes' pictures", "What was found", "1. ", "2. ", "What to do")
    places = [words.index(one) for one in order]
    assert places == sorted(places)
    assert "Cut 5 % off each side of every picture" in words


def test_every_pair_says_whose_cue_it_has_and_what_the_answer_was(tmp_path):
    found = accused()
    text = page(tmp_path, found)
    pairs = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(pairs) == 6 + 3  # the second suspicion of a kind is shown with half as many
    one = found.suspicions[0]
    before, after = one.chances[0].tolist()
    assert f"{100 * before:.0f} % → {100 * after:.0f} %" in pairs[0]
    assert one.examples[0] in pairs[0]
    assert one.givers[0] in pairs[0]
    assert all(pair.count("<img ") == pair.count("alt=") == 3 for pair in pairs)


def test_the_page_stands_alone_and_escapes_names(tmp_path):
    found = accused()
    evil = replace(found.suspicions[0], label=EVIL, examples=(EVIL,) * len(found.suspicions[0].examples))
    text = page(tmp_path, replace(found, suspicions=(evil,), skipped={EVIL: EVIL}, model=EVIL))
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    Reader(text)


def test_groups_and_mistakes_are_shown_with_pictures_and_outlines(tmp_path):
    found, four = accused(), torch.rand(4, 3, 14, 14)
    names = ("one", "two", "three", "four")
    grid = torch.zeros(7, 7)
    grid[0] = torch.arange(7.0, 0, -1)
    group = RelevanceCluster("dark", 9, (0.2, 0.3, 0.5), grid, 0.3, (0.2, 0.4), 0.01, names, four, grid > 0)
    wrong = MistakeConcept(
        "dark",
        {"bright": 8},
        (0.2, 0.3, 0.5),
        0.4,
        (0.3, 0.5),
        0.01,
        (0.75, 0.1),
        names,
        four,
        four,
        torch.tensor([[0.9, 0.2]] * 4),
    )
    text = page(tmp_path, replace(found, clusters=(group, replace(group, p_value=0.4)), mistakes=(wrong,)))
    words = re.sub(r"\s+", " ", Reader(text).words)
    assert "8 pictures are wrongly answered 'dark' (8 of 'bright')" in words
    assert "puts 75 % of them right, against 10 %" in words
    assert text.count("<figure>") == 6 + 3 + 3
    (outline,) = set(re.findall(r'<path d="([^"]*)"></path>', text)) - {""}
    # the first row's seven cells: seven sides above, seven below, one at either end
    assert sorted(outline.split(" M")) == sorted(
        [*(f"{x} 0h1" for x in range(1, 7)), *(f"{x} 1h1" for x in range(7)), "M0 0h1", "0 0v1", "7 0v1"]
    )
    assert len(re.findall('class="marked"', text)) == 4
    assert "hiding where most of it lies costs" in words


def test_a_clean_model_is_told_what_would_have_been_seen(tmp_path):
    found = accused()
    clean = replace(found, suspicions=(), smallest={kind: 0.04 + 0.01 * i for i, kind in enumerate(found.smallest)})
    words = said(tmp_path, clean)
    assert "No shortcut was found" in words
    assert "an effect of 4.0 to 10 points, depending on the cue, would have been seen" in words
    assert "What to do" not in words
    assert "5 % are accused by chance at most" in words


def test_a_receipt_is_printed_by_kind(tmp_path):
    kinds = {"background": (6, 6), "watermark": (4, 6), "gain": (0, 6)}
    receipt = Receipt(28, 30, 2, 30, kinds, refused=3, setting="small networks")
    words = said(tmp_path, replace(accused(), receipt=receipt))
    assert "On 60 networks like yours we found 28 of 30 planted shortcuts and accused 2 of 30 clean ones." in words
    assert "the corners4 of 6" in words
    assert "a channel's gain (hardly to be seen)0 of 6" in words
    assert "3 more did not take the cue" in words
    assert "No receipt" not in words


def test_a_tint_that_comes_with_the_background_is_likely_the_same_cue(tmp_path):
    frame = accused().suspicions[0]
    ground, tint = replace(frame, kind="background"), replace(frame, kind="tint", effect=0.1)
    assert "Likely the same cue as the background" in (same_cue(tint, [ground, tint]) or "")
    assert same_cue(ground, [ground, tint]) is None
    assert same_cue(tint, [replace(ground, label="another"), tint]) is None
    both = replace(accused(), suspicions=(ground, tint))
    assert headline(both) == "The answers follow the background"
    assert ADVICE["tint"] not in said(tmp_path, both)


def test_what_the_answers_rest_on_is_said_with_its_sign():
    assert reliance("cat", [0.5, 0.1]).startswith("'cat' rests on the object: with another class's object it loses 50 points")
    assert reliance("cat", [0.1, 0.5]).startswith("'cat' rests on the surroundings")
    assert reliance("cat", [0.4, 0.3]).startswith("'cat' rests on both")
    assert "another class's surroundings it gains 20 points" in reliance("cat", [0.4, -0.2])
    assert "no object was found" in reliance("cat", [float("nan")] * 2)


def test_properties_are_listed_only_where_they_go_with_something(tmp_path):
    found = accused()
    some = Property("brightness", "0 to 1", {"dark": 0.2, "bright": 0.8}, 0.6, 0.001, 0.9, 0.02)
    none = replace(some, name="contrast", p_label=0.4, p_error=float("nan"))
    words = said(tmp_path, replace(found, properties=(some, none)))
    assert "It is least for 'dark', 0.2, and most for 'bright', 0.8." in words
    assert "0.9 standard deviations more" in words
    assert "Contrast" not in words
    assert "Nothing: neither the classes nor the mistakes" in said(tmp_path, replace(found, properties=(none,)))


@pytest.mark.parametrize("k", [2, 40])
def test_many_classes_are_cut_and_the_rest_is_said_to_be_elsewhere(tmp_path, k):
    found, names = accused(), tuple(f"class {i}" for i in range(k))
    many = {kind: torch.zeros(k, dtype=torch.float64) for kind in found.effects}
    wide = replace(found, suspicions=(), classes=names, effects=many, p_values=many, reliance=torch.rand(k, 2).double())
    words = said(tmp_path, wide)
    assert ("16 other classes are in audit.json" in words) == (k == 40)


def test_every_kind_of_cue_has_its_words():
    kinds = set(accused().effects)
    assert all(set(one) == kinds for one in (NAMES, GIVEN, MOVED, ADVICE))
    assert kinds == set(CUE_WORDS)


def test_numbers_are_json_and_hold_all_tests(tmp_path):
    found = accused()
    content = json.loads(json.dumps(content_of(found, MADE), allow_nan=False))
    assert content["verdict"] == "shortcut"
    assert [one["label"] for one in content["suspicions"]] == [one.label for one in found.suspicions]
    assert content["suspicions"][0]["examples"][0]["cue_from"] == found.suspicions[0].givers[0]
    for kind, effect in found.effects.items():
        assert list(content["tests"][kind]["effect"].values()) == effect.tolist()
        assert list(content["tests"][kind]["p_value"].values()) == found.p_values[kind].tolist()
        assert list(content["tests"][kind]["lost"].values()) == found.losses[kind].tolist()
    assert set(content["reliance"]) == set(found.classes)
    assert len(content["properties"]) == len(found.properties)


def test_the_command_that_makes_the_page_again_is_named(tmp_path):
    assert "tapetum audit 'my pictures' --model net.py:build --level 0.05 --n 500 --seed 3" in said(tmp_path, accused())


def test_words_for_numbers_and_lists():
    assert (pts(-0.0001), pts(-0.2), pts(0.04)) == ("0.0", "−20", "4.0")
    assert (listing([]), listing(["a"]), listing(["a", "b"]), listing(list("abcd"), 2)) == (
        "",
        "a",
        "a and b",
        "a, b and 2 more",
    )
